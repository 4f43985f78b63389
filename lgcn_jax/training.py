"""The story of a run: sample -> propagate -> loss -> update, many times on the device; evaluate, note the best, report.

Randomness is a pure function of (seed, epoch, step), and so nothing but integers would be needed to go on anywhere.
Host and device meet once per block of steps of about a second; where the blocks end changes no number.
"""

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from lgcn_jax import evaluation, graph, losses, optimizer, propagation, sampling
from lgcn_jax.config import Config
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import DotProduct, Task
from lgcn_jax.interactions import Interactions
from lgcn_jax.model import LightGCN
from lgcn_jax.optimizer import OptimizerState
from lgcn_jax.propagation import Layout
from lgcn_jax.sampling import Sampler, Triples

BLOCK_SECONDS = 1.0


class TrainState(NamedTuple):
    """What a step changes: the model's parameters and the optimizer's state."""

    params: nnx.State
    optimizer: OptimizerState


class StepMetrics(NamedTuple):
    """float32 scalars of one step, or their sums over the steps of an epoch so far."""

    loss: jax.Array
    loss_ranking: jax.Array
    loss_contrastive: jax.Array
    loss_l2: jax.Array
    grad_norm: jax.Array


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
    """How a run ended: final state, best and last evaluation (lines of metrics.jsonl), and times in seconds."""

    state: TrainState
    best: dict[str, Any]
    last: dict[str, Any]
    seconds: float
    compile_seconds: float

    def to_json(self) -> dict[str, Any]:
        """What result.json says of a completed run."""
        return {
            "status": "completed",
            "epochs": self.last["epoch"],
            "best": self.best,
            "last": self.last,
            "seconds": round(self.seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "parameters_sha256": table_sha256(table(self.state.params)),
        }


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or not a number."""


def check(config: Config, interactions: Interactions) -> None:
    """Raises an InputError where the data set lacks what the settings ask for."""
    if max(config.top_k) > interactions.num_items:
        raise InputError("--top_k", max(config.top_k), f"at most {interactions.num_items}, the number of items")
    if not interactions.part(config.eval_split).nnz:
        hint = " (--validation_fraction makes one)" if config.eval_split == "valid" else ""
        raise InputError("--eval_split", f"{config.eval_split}, which is empty", f"a part with a pair{hint}")


def pose(config: Config, interactions: Interactions) -> Problem:
    """Puts graph, sampler and evaluation task on the device.

    Raises:
      InputError: the data set lacks what the settings ask for.
    """
    check(config, interactions)
    try:
        sampler = sampling.build(config.sampler, interactions.train, interactions.num_items)
    except ValueError as error:
        raise InputError("--dataset", str(error), "a user with both") from None
    adjacency = graph.adjacency(interactions.train, interactions.num_items)
    return Problem(
        config=config,
        num_users=interactions.num_users,
        num_nodes=adjacency.shape[0],
        layout=propagation.prepare(adjacency, config.propagation),
        sampler=sampler,
        task=Task.of(interactions, config.eval_split),
    )


def fit(
    problem: Problem,
    log: Callable[[dict], None] = lambda row: None,
    save: Callable[[int, TrainState, dict], None] = lambda epoch, state, evaluated: None,
    progress: Callable[[int, int, int, float], None] = lambda epoch, step, steps, loss: None,
) -> Result:
    """Trains for `config.epochs` epochs and evaluates every `config.eval_every` and after the last.

    Args:
      problem: made by `pose`.
      log: called with every line of metrics.jsonl.
      save: called as save(epoch, state, evaluation) at each new best and after the last epoch.
      progress: called as progress(epoch, step, steps_per_epoch, mean loss so far) after each block of steps.

    Raises:
      NonFiniteLossError: the loss is no longer a number.
    """
    config = problem.config
    graphdef, state = init(config, problem.num_nodes)
    schedule = optimizer.build(config)
    started = time.perf_counter()
    programs = Programs.compile(problem, graphdef, state)
    compiled = time.perf_counter()
    best = last = None
    for epoch in range(1, config.epochs + 1):
        state, row = train_epoch(problem, programs, state, epoch, progress)
        log(row)
        if epoch % config.eval_every == 0 or epoch == config.epochs:
            last = evaluate_epoch(problem, programs, state, epoch)
            log(last)
            observed = schedule.observe(state.optimizer, last[config.plateau_metric])
            state = state._replace(optimizer=observed)
            improved = best is None or last[config.watched] > best[config.watched]
            best = last if improved else best
            if improved or epoch == config.epochs:
                save(epoch, state, last)
    return Result(state, best, last, time.perf_counter() - compiled, compiled - started)


def init(config: Config, num_nodes: int) -> tuple[nnx.GraphDef, TrainState]:
    """The model's definition and the state of epoch 0, drawn from the seed."""
    rngs = nnx.Rngs(params=stream(config.seed, "init"))
    model = LightGCN(num_nodes, config.embedding_dim, config.weights, config.init_std, rngs)
    graphdef, params = nnx.split(model)
    return graphdef, TrainState(params, optimizer.build(config).init(params))


def stream(seed: int, name: str) -> jax.Array:
    """The key of one of the two independent random streams of a run: 'init' or 'data'."""
    return jax.random.fold_in(jax.random.key(seed), ("init", "data").index(name))


def make_train_step(config: Config, graphdef: nnx.GraphDef, num_users: int, axis_name: str | None = None):
    """The train step as a pure function `step(state, layout, triples) -> (state, StepMetrics)`.

    Args:
      config: loss and optimizer settings.
      graphdef: the model's definition, of `nnx.split`.
      num_users: offset of the items among the nodes.
      axis_name: where the step is mapped over devices (`jax.pmap`), the axis over which gradients and metrics are
        averaged; the result is that of one device on the union of the batches, padded rows included.
    """
    update = optimizer.build(config).update

    def average(tree):
        return tree if axis_name is None else jax.lax.pmean(tree, axis_name)

    def loss(params, layout: Layout, triples: Triples):
        model = nnx.merge(graphdef, params)
        nodes = jnp.concatenate([triples.user, num_users + triples.positive, num_users + triples.negative])
        user, positive, negative = jnp.split(model(layout)[nodes], 3)
        s_pos, s_neg = (user * positive).sum(-1), (user * negative).sum(-1)
        share = triples.weight.astype(s_pos.dtype)
        share = share / average(share.sum())
        ranking = (share * losses.ranking(s_pos, s_neg, config.margin)).sum()
        contrastive = (share * losses.contrastive(s_pos, s_neg, config.temperature)).sum()
        l2 = (share * losses.l2(*jnp.split(model.table[...][nodes], 3))).sum()
        return losses.combine(ranking, contrastive, l2, config.alpha, config.l2), (ranking, contrastive, l2)

    def step(state: TrainState, layout: Layout, triples: Triples) -> tuple[TrainState, StepMetrics]:
        (total, terms), gradients = jax.value_and_grad(loss, has_aux=True)(state.params, layout, triples)
        gradients, total, terms = average((gradients, total, terms))
        metrics = StepMetrics(total, *terms, optax.tree.norm(gradients))
        updates, optimizer_state = update(gradients, state.optimizer, state.params)
        return TrainState(optax.apply_updates(state.params, updates), optimizer_state), metrics

    return step


class Programs(NamedTuple):
    """The compiled programs of a run; each is compiled once, before the first epoch."""

    shuffle: Callable
    block: Callable
    evaluate: Callable

    @classmethod
    def compile(cls, problem: Problem, graphdef: nnx.GraphDef, state: TrainState) -> "Programs":
        config, num_users = problem.config, problem.num_users
        train_step = make_train_step(config, graphdef, num_users)

        def shuffle(sampler, key):
            return sampler.shuffled(jax.random.fold_in(key, 0))

        def block(state, totals, layout, sampler, key, first, last):
            def step(number, carry):
                state, totals = carry
                triples = sampler.draw(jax.random.fold_in(key, number + 1), number, config.batch_size)
                state, metrics = train_step(state, layout, triples)
                return state, jax.tree.map(jnp.add, totals, metrics)

            return jax.lax.fori_loop(first, last, step, (state, totals))

        def evaluate(params, layout, task):
            return evaluation.chunk_sums(scorer(graphdef, params, layout, num_users), task, config.top_k)

        key, place = jax.random.key(0), jnp.int32(0)
        arguments = state, zeros(), problem.layout, problem.sampler, key, place, place
        return cls(
            jax.jit(shuffle).lower(problem.sampler, key).compile(),
            jax.jit(block, donate_argnums=(0, 1)).lower(*arguments).compile(),
            jax.jit(evaluate).lower(state.params, problem.layout, problem.task).compile(),
        )


def train_epoch(
    problem: Problem, programs: Programs, state: TrainState, epoch: int, progress
) -> tuple[TrainState, dict]:
    """All steps of one epoch (from 1): the state after it and its line of metrics.jsonl. Donates `state`."""
    started = time.perf_counter()
    steps = problem.steps_per_epoch
    key = jax.random.fold_in(stream(problem.config.seed, "data"), epoch)
    sampler = programs.shuffle(problem.sampler, key)
    totals, first, size = zeros(), 0, 16
    while first < steps:
        last = min(first + size, steps)
        begun = time.perf_counter()
        places = jnp.int32(first), jnp.int32(last)
        state, totals = programs.block(state, totals, problem.layout, sampler, key, *places)
        loss = float(totals.loss) / last
        if not math.isfinite(loss):
            raise NonFiniteLossError(f"the loss is {loss} after epoch {epoch}, step {last} of {steps}")
        size = max(1, int((last - first) * BLOCK_SECONDS / (time.perf_counter() - begun)))
        progress(epoch, last, steps, loss)
        first = last
    means = {name: float(total) / steps for name, total in totals._asdict().items()}
    rate = float(optimizer.learning_rate(problem.config, state.optimizer))
    seconds = round(time.perf_counter() - started, 4)
    return state, {"epoch": epoch, "split": "train", **means, "learning_rate": rate, "seconds": seconds}


def evaluate_epoch(problem: Problem, programs: Programs, state: TrainState, epoch: int) -> dict:
    """The evaluation line of metrics.jsonl after `epoch`."""
    started = time.perf_counter()
    sums = programs.evaluate(state.params, problem.layout, problem.task)
    means = evaluation.mean(sums, problem.task, problem.config.top_k)
    seconds = round(time.perf_counter() - started, 4)
    return {"epoch": epoch, "split": problem.config.eval_split, **means, "seconds": seconds}


def scorer(graphdef: nnx.GraphDef, params: nnx.State, layout: Layout, num_users: int) -> DotProduct:
    """The model's final embeddings as a scorer for `evaluation.evaluate`."""
    final = nnx.merge(graphdef, params)(layout)
    return DotProduct(final[:num_users], final[num_users:])


def table(params: nnx.State) -> np.ndarray:
    """Host: float32[num_nodes, d], the trained layer-0 rows of the users, then of the items."""
    return np.asarray(params["table"][...])


def table_sha256(rows: np.ndarray) -> str:
    """sha256 of a table as little-endian float32, row by row: equal hashes mean bit-identical parameters."""
    return hashlib.sha256(rows.astype("<f4").tobytes()).hexdigest()


def zeros() -> StepMetrics:
    """The sums before the first step of an epoch."""
    return StepMetrics(*(jnp.zeros((), jnp.float32) for _ in StepMetrics._fields))
