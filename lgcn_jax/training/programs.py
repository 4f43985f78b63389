"""The compiled programs of a run: a block of steps, and an evaluation."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lgcn_jax.devices.mesh import DATA, NODES, PER_DEVICE, WHOLE, local_slice, psum
from lgcn_jax.evaluation import ranking
from lgcn_jax.evaluation.ranking import EvaluationTask
from lgcn_jax.evaluation.scorers import EncoderScorer
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.models import Head, Inference
from lgcn_jax.sampling import Batch
from lgcn_jax.training.setup import Setup, require_divisible_batch
from lgcn_jax.training.state import Snapshot, replicated_parameters
from lgcn_jax.training.statistics import TrainPairCounts, renew_statistics, statistics_specs
from lgcn_jax.training.step import make_gradient_and_metrics, make_update, needs_noise, noise_key


class Programs(NamedTuple):
    """Compiled ahead of time, once for a run.

    Attributes:
      block: (state, totals, adjacency, sampler, key, first, last) -> (state, totals) after steps first..last - 1 of
        the epoch with this key; donates state and totals.
      evaluate: (params, adjacency, task) -> float[chunks, metrics], the sums of `ranking.chunk_sums`; NaN where the
        model is not finite. None where nothing is evaluated.
      renew: (params, statistics, adjacency, counts, epoch) -> statistics of the loss at the beginning of the epoch,
        of those that it had before; None where it has none.
    """

    block: Callable
    evaluate: Callable | None
    renew: Callable | None = None

    @classmethod
    def compile(cls, setup: Setup, like: Snapshot) -> "Programs":
        """The programs for the setup and snapshots of the same shapes as `like`."""
        block, evaluate, renew = compile_block(setup, like), None, None
        if setup.task is not None:
            evaluate = jax.jit(make_evaluate(setup, setup.graphdef()))
            evaluate = evaluate.lower(like.state.params, setup.adjacency, setup.task).compile()
        if setup.counts is not None:
            renew = jax.jit(make_renewal(setup), out_shardings=setup.mesh.shardings(like.state.statistics))
            epoch = setup.mesh.replicate(np.int32(0))
            state = like.state
            renew = renew.lower(state.params, state.statistics, setup.adjacency, setup.counts, epoch).compile()
        return cls(block, evaluate, renew)


def compile_block(setup: Setup, like: Snapshot) -> Callable:
    """`Programs.block` alone."""
    steps = make_train_steps(setup, setup.graphdef())
    key, place = setup.mesh.replicate((jax.random.key(0), np.int32(0)))
    arguments = like.state, like.totals, setup.adjacency, setup.sampler, key, place, place
    block = jax.jit(steps, donate_argnums=(0, 1), out_shardings=_shardings(setup, like))
    return block.lower(*arguments).compile()


def _shardings(setup: Setup, like: Snapshot):
    return setup.mesh.shardings(like.state), setup.mesh.shardings(like.totals)


def make_train_steps(setup: Setup, graphdef: nnx.GraphDef) -> Callable:
    """The function of `Programs.block`, not compiled."""
    gradient, update = make_step_gradient_and_metrics(setup, graphdef), make_update(setup.config)

    def block(state, totals, adjacency, sampler, key, first, last):
        def step(number, carry):
            state, totals = carry
            found = gradient(state.params, state.statistics, adjacency, sampler, key, number)
            state, metrics = update(state, *found)
            return state, totals.add(metrics, number)

        return jax.lax.fori_loop(first, last, step, (state, totals))

    return block


def make_step_gradient_and_metrics(setup: Setup, graphdef: nnx.GraphDef) -> Callable:
    """(params, statistics, adjacency, sampler, key, number) -> gradient and metrics of the epoch's batch `number`."""
    config, mesh = setup.config, setup.mesh
    require_divisible_batch(config, mesh)
    gradient_of = make_gradient_and_metrics(config, graphdef, setup.num_users, mesh.axis(DATA))

    def gradient(params, statistics, adjacency, sampler, key, number):
        batch = sampler.draw(key, number, config.training.batch_size)
        noise = noise_key(key, number) if needs_noise(config) else None
        return gradient_of(params, adjacency, _local_batch(batch, mesh.axis(DATA)), statistics, noise)

    params, placed = setup.param_specs(), statistics_specs(config.loss)
    return mesh.shard_map(gradient, (params, placed, PER_DEVICE, PER_DEVICE, WHOLE, WHOLE), (params, WHOLE))


def make_renewal(setup: Setup) -> Callable:
    """The function of `Programs.renew`, not compiled."""
    mesh, graphdef, loss = setup.mesh, setup.graphdef(), setup.config.loss
    axes = tuple(filter(None, map(mesh.axis, (DATA, NODES))))

    def renew(params, statistics, adjacency: Adjacency, counts: TrainPairCounts, epoch: jax.Array):
        final = nnx.merge(graphdef, params)(adjacency.layout)
        return renew_statistics(loss, final, statistics, adjacency, counts, epoch, axes)

    placed = statistics_specs(loss)
    return mesh.shard_map(renew, (setup.param_specs(), placed, PER_DEVICE, WHOLE, WHOLE), placed)


def _local_batch(batch: Batch, axis: str | None) -> Batch:
    """The part of a batch that is this device's; negatives that all examples share are those of all devices."""
    shared = {}
    if batch.negative is not None and batch.negative.ndim == 1:
        shared = {"negative": batch.negative, "negative_probability": batch.negative_probability}
    cut = batch._replace(**dict.fromkeys(shared))
    return jax.tree.map(lambda column: local_slice(column, axis), cut)._replace(**shared)


def make_evaluate(setup: Setup, graphdef: nnx.GraphDef, measure: Callable = ranking.chunk_sums) -> Callable:
    """The function of `Programs.evaluate`, not compiled; `measure` is what is made of (scorer, task, list lengths)."""
    evaluate = functools.partial(_evaluate_task, setup, graphdef, measure, setup.config.inference.stated_inference())
    return setup.mesh.shard_map(evaluate, (setup.param_specs(), PER_DEVICE, PER_DEVICE), WHOLE)


def make_inference_trial(setup: Setup, graphdef: nnx.GraphDef) -> Callable:
    """(inference, params, adjacency, task) -> as `Programs.evaluate`, whatever a table is ranked by; not compiled."""
    trial = functools.partial(_evaluate_task, setup, graphdef, ranking.chunk_sums)
    return setup.mesh.shard_map(trial, (WHOLE, setup.param_specs(), PER_DEVICE, PER_DEVICE), WHOLE)


def _evaluate_task(
    setup: Setup,
    graphdef: nnx.GraphDef,
    measure: Callable,
    inference: Inference,
    params: nnx.State,
    adjacency: Adjacency,
    task: EvaluationTask,
):
    """What `measure` finds, on one of the devices."""
    head = setup.config.model.head({name: value[...] for name, value in replicated_parameters(params).items()})
    scorer = make_encoder_scorer(graphdef, params, adjacency, task, setup.num_users, inference, head)
    finite = [jnp.isfinite(each).all() for each in jax.tree.leaves((scorer.final_embeddings, head))]
    wrong = psum((~functools.reduce(jnp.logical_and, finite)).astype(jnp.int32), setup.mesh.axis(NODES))
    return jax.tree.map(functools.partial(_nan_where, wrong != 0), measure(scorer, task, setup.config.evaluation.top_k))


def _nan_where(wrong: jax.Array, found: jax.Array) -> jax.Array:
    """What was found; NaN, of counts 0, where the model is wrong."""
    return jnp.where(wrong, jnp.nan if jnp.issubdtype(found.dtype, jnp.inexact) else 0, found)


def make_encoder_scorer(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    adjacency: Adjacency,
    task: EvaluationTask,
    num_users: int,
    inference: Inference = Inference(),  # noqa: B008
    head: Head | None = None,
) -> EncoderScorer:
    """The model's final embeddings as a scorer of the task's items, with what makes scores of them."""
    final = inference.final_embeddings(nnx.merge(graphdef, params), adjacency.layout)
    items = jnp.arange(task.num_items, dtype=jnp.int32) if task.items is None else task.items
    items = jnp.minimum(items, task.num_items - 1)
    ranked = adjacency.layout.gather_local(final, adjacency.row_of_node[num_users + items])
    if task.popularity is not None:
        ranked = inference.scale_items(ranked, task.popularity[items])
    return EncoderScorer(final, adjacency, ranked if head is None else head.project_items(ranked), head)
