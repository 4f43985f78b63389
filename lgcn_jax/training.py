"""The story of a run: sample -> propagate -> loss -> update, many times on the device; evaluate, note the best, report.

Randomness is a pure function of (seed, epoch, step), and so nothing but integers would be needed to go on anywhere.
Host and device meet once per block of steps of about a second; where the blocks end changes no number.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from lgcn_jax import evaluation, graph, optimizer, propagation, sampling
from lgcn_jax.config import Config
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import DotProduct, Task
from lgcn_jax.interactions import Interactions
from lgcn_jax.layout import Layout
from lgcn_jax.sampling import Sampler
from lgcn_jax.state import Progress, Snapshot, Totals, table, table_sha256, zeros
from lgcn_jax.step import init, make_train_step, stream

BLOCK_SECONDS = 1.0  # how long the host waits for the device at a time
FIRST_BLOCK = 16  # steps of an epoch's first block, which is timed to size the others


class Listener:
    """What a run tells while it goes on. This one hears nothing and never stops the run."""

    def log(self, row: dict[str, Any]) -> None:
        """A line of metrics.jsonl."""

    def progress(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """A block of steps is done: `step` of `steps` of `epoch` (from 1), with the mean loss so far."""

    def save(self, snapshot: Snapshot) -> None:
        """A place worth keeping; copy its arrays before returning."""

    def stopped(self) -> bool:
        """Whether the run shall end here; asked after every block and evaluation."""
        return False


@dataclasses.dataclass(frozen=True)
class Problem:
    """What stays the same during a run: settings, sizes, and the data on the device."""

    config: Config
    num_users: int
    num_nodes: int
    layout: Layout
    sampler: Sampler
    task: Task

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.sampler.num_examples // self.config.batch_size)


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended: 'completed' or 'interrupted', where, and the seconds that compilation took."""

    status: str
    snapshot: Snapshot
    compile_seconds: float

    @property
    def params(self) -> nnx.State:
        return self.snapshot.state.params

    @property
    def best(self) -> dict[str, Any]:
        return self.snapshot.progress.best

    @property
    def last(self) -> dict[str, Any]:
        return self.snapshot.progress.last

    def to_json(self) -> dict[str, Any]:
        """What result.json says of the run."""
        progress = self.snapshot.progress
        return {
            "status": self.status,
            "epochs": progress.epoch,
            "step": progress.step,
            "best": progress.best,
            "last": progress.last,
            "seconds": round(progress.seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "parameters_sha256": table_sha256(table(self.params)),
        }


class NonFiniteError(FloatingPointError):
    """A number of the run became infinite or not a number: `term`, at `epoch` (from 1) after `step` steps."""

    def __init__(self, term: str, value: float, epoch: int, step: int):
        super().__init__(f"{term} is {value} at epoch {epoch}, step {step}")
        self.term, self.epoch, self.step = term, epoch, step


def check(config: Config, interactions: Interactions) -> None:
    """Raises an InputError where the platform or the data set lacks what the settings ask for."""
    if propagation.choose(config.propagation) not in propagation.working():
        raise InputError(
            "--propagation", config.propagation, f"one of {', '.join(propagation.working())} on this platform"
        )
    if max(config.top_k) > interactions.num_items:
        raise InputError("--top_k", max(config.top_k), f"at most {interactions.num_items}, the number of items")
    if not interactions.part(config.eval_split).nnz:
        hint = " (--validation_fraction makes one)" if config.eval_split == "valid" else ""
        raise InputError("--eval_split", f"{config.eval_split}, which is empty", f"a part with a pair{hint}")


def pose(config: Config, interactions: Interactions) -> Problem:
    """Puts graph, sampler and evaluation task on the device.

    Raises:
      InputError: the platform or the data set lacks what the settings ask for.
    """
    check(config, interactions)
    try:
        sampler = sampling.build(config.sampler, interactions.train, interactions.num_items)
    except ValueError as error:
        raise InputError("--dataset", str(error), "a user with both") from None
    matrix = graph.normalized(interactions.train, interactions.num_items)
    return Problem(
        config=config,
        num_users=interactions.num_users,
        num_nodes=matrix.shape[0],
        layout=propagation.prepare(matrix, config.propagation, config.propagation_dtype),
        sampler=sampler,
        task=Task.of(interactions, config.eval_split),
    )


def fit(problem: Problem, listener: Listener | None = None, start: Snapshot | None = None) -> Result:
    """Trains until `config.epochs`, an early stop, or the listener's wish.

    Args:
      problem: made by `pose`.
      listener: told of every line, block and place worth keeping; saves are due after every `config.save_every`
        epochs, at each new best, where the run is stopped, and at the end.
      start: a place to go on from, as a listener was given it; from there on, the run is bit for bit the one that
        was not stopped. Its arrays are donated.

    Raises:
      NonFiniteError: a loss, gradient, parameter or metric is no longer a finite number; nothing is saved then.
    """
    config, listener = problem.config, listener or Listener()
    graphdef, fresh = init(config, problem.num_nodes)
    here = start or Snapshot(fresh, zeros(), Progress())
    started = time.perf_counter()
    programs = Programs.compile(problem, graphdef, here)
    compile_seconds = time.perf_counter() - started
    while not over(config, here.progress):
        here = train_epoch(problem, programs, here, listener)
        if here.progress.step == 0 and evaluation_due(config, here.progress.epoch):
            here = evaluate_epoch(problem, programs, here, listener)
        stopped = listener.stopped()
        if stopped or save_due(config, here.progress):
            save(here, listener)
        if stopped:
            break
    return Result("completed" if over(config, here.progress) else "interrupted", here, compile_seconds)


def over(config: Config, progress: Progress) -> bool:
    """Whether nothing is left to do: all epochs are done, or the watched metric has stopped rising."""
    patience = config.early_stopping_patience
    return progress.epoch >= config.epochs or (patience > 0 and progress.stale >= patience)


def evaluation_due(config: Config, epoch: int) -> bool:
    """After every `eval_every` epochs and after the last."""
    return epoch % config.eval_every == 0 or epoch == config.epochs


def save_due(config: Config, progress: Progress) -> bool:
    """After every `save_every` epochs, at a new best, and at the end; never within an epoch."""
    new_best = progress.best is not None and progress.best["epoch"] == progress.epoch
    return progress.step == 0 and (progress.epoch % config.save_every == 0 or new_best or over(config, progress))


def save(here: Snapshot, listener: Listener) -> None:
    """Hands a place to the listener, but never one whose parameters are ruined."""
    if not jnp.isfinite(here.state.params["table"][...]).all():
        raise NonFiniteError("a parameter", math.nan, here.progress.epoch, here.progress.step)
    listener.save(here)


class Programs(NamedTuple):
    """The compiled programs of a run; each is compiled once, before the first epoch."""

    shuffle: Callable
    block: Callable
    evaluate: Callable

    @classmethod
    def compile(cls, problem: Problem, graphdef: nnx.GraphDef, like: Snapshot) -> "Programs":
        """The programs for the problem and snapshots of the same shapes as `like`."""
        config, num_users = problem.config, problem.num_users
        train_step = make_train_step(config, graphdef, num_users)

        def shuffle(sampler, key):
            return sampler.shuffled(jax.random.fold_in(key, 0))

        def block(state, totals, layout, sampler, key, first, last):
            def step(number, carry):
                state, totals = carry
                triples = sampler.draw(jax.random.fold_in(key, number + 1), number, config.batch_size)
                state, metrics = train_step(state, layout, triples)
                return state, totals.add(metrics, number)

            return jax.lax.fori_loop(first, last, step, (state, totals))

        def evaluate(params, layout, task):
            model = scorer(graphdef, params, layout, num_users)
            finite = jnp.isfinite(model.users).all() & jnp.isfinite(model.items).all()
            return jnp.where(finite, evaluation.chunk_sums(model, task, config.top_k), jnp.nan)

        key, place = jax.random.key(0), jnp.int32(0)
        arguments = like.state, like.totals, problem.layout, problem.sampler, key, place, place
        return cls(
            jax.jit(shuffle).lower(problem.sampler, key).compile(),
            jax.jit(block, donate_argnums=(0, 1)).lower(*arguments).compile(),
            jax.jit(evaluate).lower(like.state.params, problem.layout, problem.task).compile(),
        )


def train_epoch(problem: Problem, programs: Programs, here: Snapshot, listener: Listener) -> Snapshot:
    """The rest of the epoch in hand, or the part of it until the listener stops the run. Donates `here`."""
    steps, epoch = problem.steps_per_epoch, here.progress.epoch + 1
    key = jax.random.fold_in(stream(problem.config.seed, "data"), epoch)
    sampler = programs.shuffle(problem.sampler, key)
    size = FIRST_BLOCK
    while here.progress.step < steps:
        begun = time.perf_counter()
        first, last = here.progress.step, min(here.progress.step + size, steps)
        places = jnp.int32(first), jnp.int32(last)
        state, totals = programs.block(here.state, here.totals, problem.layout, sampler, key, *places)
        loss = float(totals.sums.loss) / last  # waits for the device
        require_finite(totals, epoch)
        seconds = time.perf_counter() - begun
        here = Snapshot(state, totals, _worked(here.progress, seconds, step=last))
        listener.progress(epoch, last, steps, loss)
        size = max(1, int((last - first) * BLOCK_SECONDS / seconds))
        if last < steps and listener.stopped():
            return here
    listener.log(train_row(problem, here))
    progress = dataclasses.replace(here.progress, epoch=epoch, step=0, epoch_seconds=0.0)
    return Snapshot(here.state, zeros(), progress)


def train_row(problem: Problem, here: Snapshot) -> dict[str, Any]:
    """The line of metrics.jsonl about the epoch that `here` is at the end of."""
    steps = problem.steps_per_epoch
    means = {name: float(total) / steps for name, total in here.totals.sums._asdict().items()}
    rate = float(optimizer.learning_rate(problem.config, here.state.optimizer))
    seconds = round(here.progress.epoch_seconds, 4)
    return {"epoch": here.progress.epoch + 1, "split": "train", **means, "learning_rate": rate, "seconds": seconds}


def require_finite(totals: Totals, epoch: int) -> None:
    """Raises a NonFiniteError that names the first step and term that is not finite."""
    if step := int(totals.bad_step):
        values = {name: float(value) for name, value in totals.bad._asdict().items()}
        # The terms come before what is made of them.
        terms = ("loss_ranking", "loss_contrastive", "loss_l2", "loss", "grad_norm")
        term = next(name for name in terms if not math.isfinite(values[name]))
        raise NonFiniteError(term, values[term], epoch, step)


def evaluate_epoch(problem: Problem, programs: Programs, here: Snapshot, listener: Listener) -> Snapshot:
    """Evaluates, and tells the plateau schedule and the early-stopping count of it.

    An evaluation that is due only because the run ends here may be the best, but is told to neither, so that a run
    continued with more epochs takes the steps that it would have taken.
    """
    config, epoch = problem.config, here.progress.epoch
    begun = time.perf_counter()
    sums = programs.evaluate(here.state.params, problem.layout, problem.task)
    means = evaluation.mean(sums, problem.task, config.top_k)
    seconds = time.perf_counter() - begun
    for name, value in means.items():
        if not math.isfinite(value):
            raise NonFiniteError(name, value, epoch, problem.steps_per_epoch)
    row = {"epoch": epoch, "split": config.eval_split, **means, "seconds": round(seconds, 4)}
    listener.log(row)
    improved = here.progress.best is None or row[config.watched] > here.progress.best[config.watched]
    changes = {"last": row} | ({"best": row} if improved else {})
    state = here.state
    if epoch % config.eval_every == 0:
        changes["stale"] = 0 if improved else here.progress.stale + 1
        observed = optimizer.build(config).observe(state.optimizer, row[config.plateau_metric])
        state = state._replace(optimizer=observed)
    return Snapshot(state, here.totals, _worked(here.progress, seconds, **changes))


def _worked(progress: Progress, seconds: float, **changes) -> Progress:
    """The progress after `seconds` of work; those of an evaluation don't count into any epoch."""
    epoch_seconds = progress.epoch_seconds + (seconds if "step" in changes else 0.0)
    return dataclasses.replace(progress, seconds=progress.seconds + seconds, epoch_seconds=epoch_seconds, **changes)


def scorer(graphdef: nnx.GraphDef, params: nnx.State, layout: Layout, num_users: int) -> DotProduct:
    """The model's final embeddings as a scorer for `evaluation.evaluate`."""
    final = nnx.merge(graphdef, params)(layout)
    return DotProduct(final[:num_users], final[num_users:])
