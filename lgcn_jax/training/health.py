"""Runs whose numbers went bad are given up, and say where."""

import math
from typing import Any

from lgcn_jax.losses import Loss
from lgcn_jax.training.state import Totals, metric_names

DIVERGED = 1e6  # a mean of the first term above which a run is given up; that of a model that knows nothing is .7


class NonFiniteError(FloatingPointError):
    """A number of the run became infinite, not a number, or absurd: `term`, at `epoch` (from 1) after `step` steps."""

    def __init__(self, term: str, value: float, epoch: int, step: int):
        super().__init__(f"{term} is {value} at epoch {epoch}, step {step}")
        self.term, self.epoch, self.step = term, epoch, step


def require_finite(totals: Totals, loss: Loss, epoch: int, done: int) -> None:
    """Raises a NonFiniteError that names the first step and term, of `done` steps in the host's `totals`, that is not
    finite, or tells of a first term that can only be that of a run out of hand."""
    names = metric_names(loss)
    if step := int(totals.bad_step):
        term = next(name for name in names if not math.isfinite(totals.bad[name]))
        raise NonFiniteError(term, float(totals.bad[term]), epoch, step)
    for name in names:  # of finite numbers, and yet a sum can be too large a float32
        if not math.isfinite(totals.sums[name]):
            raise NonFiniteError(f"the sum of {name}", float(totals.sums[name]), epoch, done)
    if (mean := float(totals.sums[names[0]]) / done) > DIVERGED:
        raise NonFiniteError(f"the mean of {names[0]}", mean, epoch, done)


def require_finite_metrics(means: dict[str, float], epoch: int, step: int) -> None:
    """Raises a NonFiniteError that names the first metric of an evaluation that is not finite."""
    for name, value in means.items():
        if not math.isfinite(value):
            raise NonFiniteError(name, value, epoch, step)


def failed_result(rows: list[dict[str, Any]], watched: str, error: str) -> dict[str, Any]:
    """What result.json says of a run whose numbers went bad, of the lines that it has told."""
    evaluated = [row for row in rows if row["split"] != "train"]
    return {
        "status": "failed",
        "error": error,
        "epochs": sum(row["split"] == "train" for row in rows),
        "best": max(evaluated, key=lambda row: row[watched], default=None),
        "last": evaluated[-1] if evaluated else None,
    }
