"""Is one better than the other? Differences of the same users, or of the same seeds, with intervals and p-values."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

RESAMPLES = 10_000
DRAWS = 200_000_000  # of all resamples together: of many users fewer resamples are taken, but never under 1,000
CHUNK = 1 << 18  # values drawn at a time


class PairedDifference(NamedTuple):
    """How much larger the second of two paired samples is.

    Attributes:
      mean: of second - first.
      low, high: the 95 % bootstrap interval of it (percentiles, Efron 1979); NaN of fewer than two pairs.
      p_value: of the Wilcoxon signed-rank test that differences are symmetric about 0; pairs without a difference are
        ranked, too (Pratt 1959). 1 where at most one has a difference.
      pairs: how many there are.
      higher, lower: how many differences are above and below 0.
    """

    mean: float
    low: float
    high: float
    p_value: float
    pairs: int
    higher: int
    lower: int


def paired_difference(first: np.ndarray, second: np.ndarray, seed: int = 0) -> PairedDifference:
    """Compares two samples float[n], of which the n-th values belong together; n >= 1.

    >>> found = paired_difference(np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.4, 0.6]))
    >>> round(found.mean, 6), found.higher, found.p_value
    (0.2, 3, 0.25)
    """
    difference = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    low, high = bootstrap_interval(difference, seed)
    higher, lower = int((difference > 0).sum()), int((difference < 0).sum())
    p_value = _signed_rank_p_value(difference) if higher + lower > 1 else 1.0
    return PairedDifference(float(difference.mean()), low, high, p_value, len(difference), higher, lower)


def _signed_rank_p_value(difference: np.ndarray) -> float:
    """Of at least two differences that are not 0."""
    with np.errstate(invalid="ignore"):  # of a normal approximation that few pairs do not need
        return float(scipy.stats.wilcoxon(difference, zero_method="pratt").pvalue)


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of float[n] values: percentiles of the means of samples drawn with replacement."""
    if len(values) < 2:
        return np.nan, np.nan
    random, size = np.random.default_rng(seed), len(values)
    count, at_once = max(1000, min(RESAMPLES, DRAWS // size)), -(-CHUNK // size)
    chunks = (min(at_once, count - done) for done in range(0, count, at_once))
    means = np.concatenate([values[random.integers(0, size, (chunk, size))].mean(1) for chunk in chunks])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for how many there are (Holm 1979): who rejects those below 5 % errs in 5 % of all families.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return corrected.tolist()
