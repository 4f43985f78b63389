"""Metrics of all recommended lists together, from how often each item stands in one; on the host, in float64."""

import numpy as np

NAMES = ("coverage", "novelty", "average_popularity", "gini")


def exposure_metrics(exposure: np.ndarray, popularity: np.ndarray, num_users: int) -> dict[str, float]:
    """Every metric of NAMES.

    Args:
      exposure: int[num_items], in how many lists each item stands.
      popularity: int[num_items], how many users have each item in the train part.
      num_users: of the data set.
    """
    return {
        "coverage": coverage(exposure),
        "novelty": novelty(exposure, popularity, num_users),
        "average_popularity": average_popularity(exposure, popularity),
        "gini": gini(exposure),
    }


def coverage(exposure: np.ndarray) -> float:
    """The share of all items that stand in at least one list (Herlocker et al. 2004, section 4.2)."""
    return float((exposure > 0).mean())


def novelty(exposure: np.ndarray, popularity: np.ndarray, num_users: int) -> float:
    """The mean self-information in bits, -log2(popularity / num_users), of all recommendations.

    Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", 2010. An item that no user
    has counts as one that a single user has, log2(num_users): its self-information would be infinite.
    """
    return _mean_over_exposure(-np.log2(np.maximum(popularity, 1) / num_users), exposure)


def average_popularity(exposure: np.ndarray, popularity: np.ndarray) -> float:
    """The mean number of users who have the item, of all recommendations (Yin et al. 2012)."""
    return _mean_over_exposure(popularity, exposure)


def gini(exposure: np.ndarray) -> float:
    """The Gini coefficient of the exposure of all items: 0 where all have the same, near 1 where one has all.

    sum_i (2 i - n - 1) x_i / (n sum_i x_i), x ascending, i = 1..n, over all n items, those in no list included; NaN
    where nothing is recommended.
    """
    n, total = len(exposure), exposure.sum(dtype=np.float64)
    if not total:
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ np.sort(exposure).astype(np.float64) / (n * total))


def _mean_over_exposure(values: np.ndarray, exposure: np.ndarray) -> float:
    """The mean of items' values over all recommendations; NaN where there is none."""
    total = exposure.sum(dtype=np.float64)
    return float(values.astype(np.float64) @ exposure.astype(np.float64) / total) if total else float("nan")
