"""What a run is made of at any moment: parameters, optimizer state, sums of the epoch in hand, and how far it is."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lgcn_jax.devices.parameters import Replicated
from lgcn_jax.losses import Loss
from lgcn_jax.optimization import OptimizerState


class TrainState(NamedTuple):
    """What a step takes: the model's parameters and the optimizer's state, which it changes, and the loss' statistics.

    Attributes:
      statistics: by name, a number of the run, or one of each row of the table, which is that of a user's; only the
        beginning of an epoch changes them. Most losses have none.
    """

    params: nnx.State
    optimizer: OptimizerState
    statistics: Mapping[str, jax.Array] = {}


# float32 scalars of one step, by their names in metrics.jsonl: loss, loss_TERM of each term, grad_norm.
StepMetrics = dict[str, jax.Array]


def metric_names(loss: Loss) -> tuple[str, ...]:
    """The names of a step's metrics, those of the terms before what is made of them."""
    return (*(f"loss_{name}" for name in loss.names), "loss", "grad_norm")


class Totals(NamedTuple):
    """What the steps of the epoch in hand have added up to.

    Attributes:
      sums: the sums of the steps' metrics.
      bad_step: int32, the first step (from 1) with a metric that is not finite; 0 where there is none.
      bad: the metrics of that step.
    """

    sums: StepMetrics
    bad_step: jax.Array
    bad: StepMetrics

    def add(self, metrics: StepMetrics, number: jax.Array) -> "Totals":
        """The totals after step `number` (from 0)."""
        bad = (self.bad_step == 0) & ~jnp.isfinite(jnp.stack(list(metrics.values()))).all()
        return Totals(
            jax.tree.map(jnp.add, self.sums, metrics),
            jnp.where(bad, number + 1, self.bad_step),
            jax.tree.map(lambda new, old: jnp.where(bad, new, old), metrics, self.bad),
        )


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands: integers, seconds and lines of metrics.jsonl, so that JSON holds it without loss.

    Attributes:
      epoch: epochs done.
      step: steps done of the epoch in hand.
      best: the scheduled evaluation with the highest watched metric so far, the first of equals.
      last: the latest scheduled evaluation.
      stale: scheduled evaluations since the best one.
      seconds: time of all steps and evaluations, compilation left out.
      epoch_seconds: the part of it that belongs to the epoch in hand.
      final: the evaluation that was due only because the run ended here, off the schedule; a run that goes on from
        here forgets it.
      final_best: whether it has a higher watched metric than all others.
    """

    epoch: int = 0
    step: int = 0
    best: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    stale: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    final: dict[str, Any] | None = None
    final_best: bool = False

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The best evaluation, that of the end included."""
        return self.final if self.final_best else self.best

    @property
    def latest(self) -> dict[str, Any] | None:
        """The latest evaluation, that of the end included."""
        return self.final or self.last

    @classmethod
    def describes(cls, values: dict[str, Any]) -> bool:
        """Whether JSON values are those of a progress."""
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}

        def fits(value, default) -> bool:
            if default is None:
                return value is None or (isinstance(value, dict) and type(value.get("epoch")) is int)
            return type(value) is type(default) and value >= 0

        return values.keys() == defaults.keys() and all(fits(values[name], defaults[name]) for name in defaults)


class Snapshot(NamedTuple):
    """A place between two steps of a run, and all that is needed to go on from there.

    Random keys are folded from (seed, epoch, step), so none is kept. A snapshot's arrays are donated to the next
    step: who wants to keep them copies them.
    """

    state: TrainState
    totals: Totals
    progress: Progress


def zero_totals(loss: Loss) -> Totals:
    """Host: the totals before the first step of an epoch."""
    nothing = {name: np.float32(0) for name in metric_names(loss)}
    return Totals(nothing, np.int32(0), nothing)


class HostParameters(NamedTuple):
    """Host: the parameters of a model that was trained.

    Attributes:
      table: float32[num_nodes, d], the layer-0 rows of the users, then of the items.
      replicated: float32 arrays, the parameters that belong to no node, by name.
    """

    table: np.ndarray
    replicated: dict[str, np.ndarray]


def replicated_parameters(params: nnx.State) -> dict[str, nnx.Variable]:
    """The parameters that belong to no node, by name."""
    flat = {".".join(map(str, path)): value for path, value in nnx.to_flat_state(params)}
    return {name: flat[name] for name in sorted(flat) if isinstance(flat[name], Replicated) or not flat[name].ndim}


def replicated_parameters_on_host(params: nnx.State) -> dict[str, np.ndarray]:
    """Host: the parameters that belong to no node, by name."""
    return {name: np.asarray(value[...]) for name, value in replicated_parameters(params).items()}


def table_on_host(params: nnx.State) -> np.ndarray:
    """Host: float32[num_rows, d], the trained layer-0 rows in the order of `Setup.order`."""
    return np.asarray(params["table"][...])


def table_sha256(rows: np.ndarray, others: Mapping[str, np.ndarray] | None = None) -> str:
    """sha256 of a table as little-endian float32, row by row: equal hashes mean bit-identical parameters.

    Those that belong to no node follow, in the order of their names.
    """
    digest = hashlib.sha256(rows.astype("<f4").tobytes())
    for _, value in sorted((others or {}).items()):
        digest.update(value.astype("<f4").tobytes())
    return digest.hexdigest()
