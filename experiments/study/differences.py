"""Runs of one file of results, paired by seed or by user: means, differences, intervals, corrected p-values."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from portraits import DIGITS

from lgcn_jax.evaluation.paired import bootstrap_interval, holm, paired_difference

LEVEL = 0.05  # of corrected p-values and, both sides together, of intervals


@dataclasses.dataclass(frozen=True)
class Results:
    """A file of results: `records.read`."""

    found: dict[str, Any]

    @property
    def name(self) -> str:
        return self.found["name"]

    @property
    def conditions(self) -> list[str]:
        """Those with a run."""
        return [name for name in self.found["conditions"] if self.seeds(name)]

    def runs(self, condition: str) -> dict[int, dict[str, Any]]:
        """The runs of a condition with its present settings, by seed."""
        settings = self.found["conditions"].get(condition)
        own = (run for run in self.found["runs"] if run["condition"] == condition and run["settings"] == settings)
        return {run["seed"]: run for run in own}

    def seeds(self, *conditions: str) -> list[int]:
        """Those that all of these conditions have."""
        return sorted(set.intersection(*(set(self.runs(condition)) for condition in conditions)))

    def chosen(self, condition: str, protocol: str, what: str, seeds: Sequence[int] | None = None) -> np.ndarray:
        """float64[seeds]: a metric of the test part, or the epoch, where a protocol chooses; see `records.chosen`."""
        runs = self.runs(condition)
        return np.array([runs[seed]["chosen"][protocol][what] for seed in (seeds or sorted(runs))], np.float64)

    def has(self, protocol: str) -> bool:
        """Whether the runs know what this protocol chooses."""
        return all(protocol in run["chosen"] for run in self.found["runs"])

    def curves(self, condition: str, split: str, metric: str, seeds: Sequence[int] | None = None) -> np.ndarray:
        """float64[seeds, evaluations]."""
        runs = self.runs(condition)
        return np.array([runs[seed]["curve"][split][metric] for seed in (seeds or sorted(runs))], np.float64)

    def epochs(self, condition: str) -> list[int]:
        """Those of its evaluations."""
        return next(iter(self.runs(condition).values()))["curve"]["epoch"]

    def user_recall(self, condition: str, seeds: Sequence[int], of: str = "portrait") -> np.ndarray:
        """float64[users]: each user's recall at the chosen epoch, the mean over the seeds.

        Of the users of the 'portrait', or of those 'folded_in'.
        """
        runs, relevant = self.runs(condition), np.array(self.found["users"]["relevant"], np.float64)
        hits = np.array([[DIGITS.index(digit) for digit in runs[seed][of]["hits"]] for seed in seeds])
        return (hits / relevant).mean(0)


Files = dict[str, Results]  # by name
Found = dict[str, Any] | None  # None where there are no results


def summary(values: np.ndarray) -> dict[str, float | None]:
    """Mean and standard deviation (n - 1), None of a single value."""
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def by_seed(results: Results, first: str, second: str, protocol: str, metric: str) -> dict[str, Any]:
    """The second condition's lead over the first one, seed by seed."""
    seeds = results.seeds(first, second)
    a, b = (results.chosen(condition, protocol, metric, seeds) for condition in (first, second))
    return _difference(first, second, protocol, metric, "seeds", a, b) | {"values": (b - a).tolist(), "seeds": seeds}


def by_user(results: Results, first: str, second: str, of: str = "portrait") -> dict[str, Any]:
    """The same, user by user: recall at the epoch chosen on the validation part, a mean over the common seeds."""
    seeds = results.seeds(first, second)
    a, b = (results.user_recall(condition, seeds, of) for condition in (first, second))
    return _difference(first, second, "valid", "recall@20", "users", a, b)


def _difference(
    first: str, second: str, protocol: str, metric: str, over: str, a: np.ndarray, b: np.ndarray
) -> dict[str, Any]:
    found = paired_difference(a, b)
    made = {"first": first, "second": second, "protocol": protocol, "metric": metric, "over": over}
    made |= {"means": [float(a.mean()), float(b.mean())], "difference": found.mean, "pairs": found.pairs}
    made |= {"low": _finite(found.low), "high": _finite(found.high), "p": found.p_value}
    made |= {"higher": found.higher, "lower": found.lower}
    base = a.mean() or np.nan  # of nothing there is no share
    return made | {"relative": [_finite(100 * v / base) for v in (found.mean, found.low, found.high)]}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def corrected(differences: list[dict[str, Any]], family: str) -> list[dict[str, Any]]:
    """With the p-values corrected for how many differences are tested (Holm 1979).

    Differences of too few pairs for any test are none of the family, and have no corrected p-value.
    """
    tested = [each["p"] for each in differences if can_tell(each["pairs"])]
    adjusted, size = iter(holm(tested) if tested else []), {"family": family, "family size": len(tested)}
    return [each | {"p (Holm)": next(adjusted) if can_tell(each["pairs"]) else None} | size for each in differences]


def lead_by_epoch(results: Results, first: str, second: str, split: str = "test") -> dict[str, list]:
    """The second condition's mean lead in recall@20 at each evaluation, with its interval over the common seeds."""
    seeds = results.seeds(first, second)
    lead = np.subtract(*(results.curves(name, split, "recall@20", seeds) for name in (second, first)))
    edges = [bootstrap_interval(column) if len(seeds) > 1 else (None, None) for column in lead.T]
    low, high = (list(edge) for edge in zip(*edges, strict=True))
    ahead = (lead > 0).sum(0).tolist()
    return {"epoch": results.epochs(first), "mean": lead.mean(0).tolist(), "low": low, "high": high, "ahead": ahead}


def mean_curve(results: Results, condition: str, split: str, metric: str = "recall@20") -> dict[str, list]:
    """The mean over the seeds at each evaluation, and one standard deviation to either side."""
    values = results.curves(condition, split, metric)
    mean, edges = values.mean(0), {"low": [None], "high": [None]}
    if len(values) > 1:
        sd = values.std(0, ddof=1)
        edges = {"low": (mean - sd).tolist(), "high": (mean + sd).tolist()}
    return {"epoch": results.epochs(condition), "mean": mean.tolist()} | edges


def can_tell(pairs: int, size: int = 1) -> bool:
    """Whether the signed-rank test of so many pairs can fall below LEVEL in a family of so many differences.

    Where all differences have one sign, and nothing is less probable, its p-value is 2 / 2**pairs.
    """
    return 0.5 ** (pairs - 1) * max(size, 1) <= LEVEL


def verdict(found: dict[str, Any]) -> str:
    """'better', 'worse', 'unclear', or 'too few', where not even a difference of one sign could be told from chance."""
    if not can_tell(found["pairs"], found["family size"]):
        return "too few"
    sure = found["p (Holm)"] < LEVEL
    if sure and found["low"] > 0:
        return "better"
    return "worse" if sure and found["high"] < 0 else "unclear"


def still_rising(results: Results) -> dict[str, int]:
    """How many runs there are, and of how many validation chose the last evaluation: their budget ended too early."""
    runs = [run for condition in results.conditions for run in results.runs(condition).values()]
    late = [run for run in runs if run["chosen"].get("valid", {}).get("epoch") == run["chosen"]["last"]["epoch"]]
    return {"runs": len(runs), "rising": len(late)}


def table_of(results: Results, protocols: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each condition and protocol: seeds, test metrics and the epochs that were chosen."""
    rows = []
    for condition in results.conditions:
        for protocol in (each for each in protocols if results.has(each)):
            row: dict[str, Any] = {"condition": condition, "protocol": protocol, "seeds": len(results.seeds(condition))}
            for what in ("recall@20", "ndcg@20", "epoch"):
                row[what] = summary(results.chosen(condition, protocol, what))
            rows.append(row)
    return rows


def family(
    results: Results, pairs: Sequence[tuple[str, str]], protocol: str, metrics: Sequence[str] = ("recall@20", "ndcg@20")
) -> list[dict[str, Any]]:
    """The differences of all pairs in all metrics by one protocol, corrected together."""
    known = [pair for pair in pairs if set(pair) <= set(results.conditions) and results.seeds(*pair)]
    made = [by_seed(results, *pair, protocol, metric) for pair in known for metric in metrics]
    return corrected(made, f"{results.name}, {protocol}, seeds")


def per_seed(results: Results, condition: str, of: Callable[[dict[str, Any]], float]) -> dict[int, float]:
    """A number of each run of a condition, by seed."""
    return {seed: of(run) for seed, run in results.runs(condition).items()}


def difference_of(results: Results, first: str, second: str, of: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    """The paired difference of any number of the runs."""
    a, b = per_seed(results, first, of), per_seed(results, second, of)
    seeds = results.seeds(first, second)
    pair = (np.array([each[seed] for seed in seeds], np.float64) for each in (a, b))
    return _difference(first, second, "valid", "", "seeds", *pair)
