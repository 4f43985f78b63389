"""The story of a run: sample -> propagate -> loss -> update, many times on the device; evaluate, note the best, report.

Randomness is a pure function of (seed, epoch, step), and so nothing but integers would be needed to go on anywhere.
Host and device meet once per block of steps of about a second; where the blocks end changes no number. What they
exchange there is put and fetched by name, so that a whole epoch passes under `jax.transfer_guard("disallow")`.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lgcn_jax.config import Config
from lgcn_jax.devices import processes
from lgcn_jax.evaluation import ranking
from lgcn_jax.optimization import OptimizerState
from lgcn_jax.training.health import NonFiniteError, require_finite, require_finite_metrics
from lgcn_jax.training.listener import Listener
from lgcn_jax.training.programs import Programs
from lgcn_jax.training.progress import (
    after_evaluation,
    after_work,
    epoch_record,
    evaluation_due,
    evaluation_record,
    is_finished,
    progress_for_resume,
    save_due,
)
from lgcn_jax.training.setup import Setup
from lgcn_jax.training.state import Snapshot, replicated_parameters_on_host, table_sha256
from lgcn_jax.training.step import epoch_key

BLOCK_SECONDS = 1.0  # how long the host waits for the device at a time

FIRST_BLOCK = 1  # steps of a run's first block, which is timed to size the next one

GROWTH = 8  # how many times longer than the one before it a block may be


# Called with each line of metrics.jsonl; where it returns True, the run ends after the epoch, as by a signal.
Callback = Callable[[dict[str, Any]], bool | None]


class BlockTimer:
    """How many steps the next block shall have: about BLOCK_SECONDS of them, as far as the last block tells."""

    def __init__(self):
        self.steps = FIRST_BLOCK

    def record_block(self, steps: int, seconds: float) -> None:
        """A block of `steps` took so long."""
        self.steps = max(1, min(int(steps * BLOCK_SECONDS / seconds), GROWTH * steps))


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended: 'completed' or 'interrupted', where, and the seconds that compilation took.

    `table` is float32[num_nodes, d] on the host: the trained layer-0 rows of the users, then of the items.
    """

    status: str
    snapshot: Snapshot
    compile_seconds: float
    table: np.ndarray

    @property
    def params(self) -> nnx.State:
        return self.snapshot.state.params

    @property
    def best(self) -> dict[str, Any]:
        return self.snapshot.progress.chosen

    @property
    def last(self) -> dict[str, Any]:
        return self.snapshot.progress.latest

    def to_json(self) -> dict[str, Any]:
        """What result.json says of the run."""
        progress = self.snapshot.progress
        return {
            "status": self.status,
            "epochs": progress.epoch,
            "step": progress.step,
            "best": progress.chosen,
            "last": progress.latest,
            "seconds": round(progress.seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "parameters_sha256": table_sha256(self.table, replicated_parameters_on_host(self.params)),
        }


class CompiledRun(NamedTuple):
    """A run that can begin at once: where it stands, its compiled programs, and the seconds that compilation took."""

    snapshot: Snapshot
    programs: Programs
    compile_seconds: float


def compile_run(setup: Setup, start: Snapshot | None = None) -> CompiledRun:
    """Compiles the programs of a run from `start`, or from its beginning."""
    snapshot = (
        setup.initial_snapshot()
        if start is None
        else start._replace(progress=progress_for_resume(setup.config, start.progress))
    )
    started = time.perf_counter()
    programs = Programs.compile(setup, snapshot)
    return CompiledRun(snapshot, programs, time.perf_counter() - started)


def fit(setup: Setup, listener: Listener | None = None, start: Snapshot | None = None) -> Result:
    """`compile_run` and `train` in one: trains until `config.training.epochs`, an early stop, or the listener's wish.

    Args:
      setup: made by `build_setup`.
      listener: as for `train`.
      start: a place to go on from, as a listener was given it; from there on, the run is bit for bit the one that
        was not stopped. Its arrays are donated.

    Raises:
      NonFiniteError: as for `train`.
    """
    return train(setup, compile_run(setup, start), listener or Listener())


def train(setup: Setup, ready: CompiledRun, listener: Listener) -> Result:
    """Trains from where the run stands until `config.training.epochs`, an early stop, or the listener's wish.

    Args:
      setup: made by `build_setup`.
      ready: of `compile_run`; its arrays are donated.
      listener: told of every line, block and place worth keeping; saves are due after every `save_every` epochs, at
        each new best, where the run is stopped, and at the end.

    Raises:
      NonFiniteError: a loss, gradient, parameter or metric is no longer a finite number; nothing is saved then.
    """
    config, (snapshot, programs, compile_seconds), pace = setup.config, ready, BlockTimer()
    if evaluation_due(config, snapshot.progress):  # settings were changed so that the run ends where it stands
        snapshot = evaluate_epoch(setup, programs, snapshot, listener)
        save_snapshot(snapshot, listener, save_due(config, snapshot.progress))
    while not is_finished(config, snapshot.progress):
        snapshot = train_epoch(setup, programs, snapshot, listener, pace)
        if evaluation_due(config, snapshot.progress):
            snapshot = evaluate_epoch(setup, programs, snapshot, listener)
        stopped, is_scheduled = listener.should_stop(), save_due(config, snapshot.progress)
        if stopped or is_scheduled or is_finished(config, snapshot.progress):
            save_snapshot(snapshot, listener, is_scheduled)
        if stopped:
            break
    status = "completed" if is_finished(config, snapshot.progress) else "interrupted"
    with processes.time_limit("for the trained table"):
        return Result(status, snapshot, compile_seconds, setup.table(snapshot.state.params))


def save_snapshot(snapshot: Snapshot, listener: Listener, is_scheduled: bool) -> None:
    """Hands a place to the listener, but never one whose parameters are ruined."""
    epoch, step = snapshot.progress.epoch, snapshot.progress.step
    with processes.time_limit(f"before the save after epoch {epoch}, step {step}"):
        finite = all(jax.device_get([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(snapshot.state.params)]))
    if not finite:
        raise NonFiniteError("a parameter", math.nan, epoch, step)
    listener.save(snapshot, is_scheduled)


_epoch_key = jax.jit(epoch_key, static_argnums=0)


def train_epoch(
    setup: Setup, programs: Programs, snapshot: Snapshot, listener: Listener, pace: BlockTimer | None = None
) -> Snapshot:
    """The rest of the epoch in hand, or the part of it until the listener stops the run. Donates `snapshot`."""
    steps, epoch, pace = setup.steps_per_epoch, snapshot.progress.epoch + 1, pace or BlockTimer()
    key = setup.mesh.replicate(_epoch_key(setup.config.training.seed, jax.device_put(np.uint32(epoch))))
    snapshot = begin_epoch(setup, programs, snapshot)
    while snapshot.progress.step < steps:
        first = snapshot.progress.step
        last = first + listener.limit_block(min(pace.steps, steps - first))
        last = processes.min_over_processes(f"at epoch {epoch}, step {first}", last)
        begun = time.perf_counter()
        indices = setup.mesh.replicate((np.int32(first), np.int32(last)))
        with processes.time_limit(f"at epoch {epoch}, step {last}"):
            state, totals = programs.block(
                snapshot.state, snapshot.totals, setup.adjacency, setup.sampler, key, *indices
            )
            told = jax.device_get(totals)  # waits for the device
        require_finite(told, setup.config.loss, epoch, last)
        seconds = time.perf_counter() - begun
        snapshot = Snapshot(state, totals, after_work(snapshot.progress, seconds, step=last))
        listener.progress(epoch, last, steps, float(told.sums["loss"]) / last)
        pace.record_block(last - first, seconds)
        if last < steps and listener.should_stop():
            return snapshot
    listener.log(train_record(setup, snapshot))
    progress = dataclasses.replace(snapshot.progress, epoch=epoch, step=0, epoch_seconds=0.0)
    return Snapshot(snapshot.state, setup.zero_totals(), progress)


def begin_epoch(setup: Setup, programs: Programs, snapshot: Snapshot) -> Snapshot:
    """The place from which the steps of the epoch in hand are taken, wherever in the epoch it is asked for."""
    state, progress, epoch = snapshot.state, snapshot.progress, snapshot.progress.epoch + 1
    begun = time.perf_counter()
    state = state._replace(optimizer=setup.config.build_optimizer().begin_epoch(state.optimizer, epoch))
    if programs.renew is None or progress.step or not setup.config.loss.renewal_due(epoch):
        return snapshot._replace(state=state)
    with processes.time_limit(f"before epoch {epoch}"):
        numbered = setup.mesh.replicate(np.int32(epoch))
        statistics = programs.renew(state.params, state.statistics, setup.adjacency, setup.counts, numbered)
        jax.block_until_ready(statistics)
    seconds = time.perf_counter() - begun
    return snapshot._replace(
        state=state._replace(statistics=statistics), progress=after_work(progress, seconds, step=0)
    )


def train_record(setup: Setup, snapshot: Snapshot) -> dict[str, Any]:
    """The line of metrics.jsonl about the epoch that `snapshot` is at the end of."""
    sums = jax.device_get(snapshot.totals.sums)
    rate = setup.config.build_optimizer().current_learning_rate(snapshot.state.optimizer)
    return epoch_record(setup.config, snapshot.progress, setup.steps_per_epoch, sums, rate)


def evaluate_epoch(setup: Setup, programs: Programs, snapshot: Snapshot, listener: Listener) -> Snapshot:
    """Evaluates, and tells the plateau schedule and the early-stopping count of it.

    One that is due only because the run ends here is told to neither, and is remembered apart, so that a run continued
    with more epochs is the longer run.
    """
    config, epoch = setup.config, snapshot.progress.epoch
    begun = time.perf_counter()
    with processes.time_limit(f"at the evaluation of epoch {epoch}"):
        sums = programs.evaluate(snapshot.state.params, setup.adjacency, setup.task)
        means = ranking.mean_metrics(sums, setup.task, config.evaluation.top_k)
    processes.require_same(f"at the evaluation of epoch {epoch}", means)  # what follows is decided by them
    seconds = time.perf_counter() - begun
    require_finite_metrics(means, epoch, setup.steps_per_epoch)
    row = evaluation_record(config, epoch, means, seconds)
    listener.log(row)
    progress = after_evaluation(config, snapshot.progress, row, seconds)
    if epoch % config.evaluation.eval_every:
        return snapshot._replace(progress=progress)
    state = snapshot.state._replace(optimizer=observe_metric(config, snapshot.state.optimizer, row))
    return Snapshot(state, snapshot.totals, progress)


def observe_metric(config: Config, state: OptimizerState, row: dict[str, Any]) -> OptimizerState:
    """The optimizer's state after an evaluation, which the schedule may watch."""
    metric = config.observed_metric
    return state if metric is None else config.build_optimizer().observe(state, row[metric])
