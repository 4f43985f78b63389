"""The compiled programs of a run: a block of steps, and an evaluation."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lgcn_jax.devices.mesh import DATA, NODES, PARTS, ROWS, WHOLE, share, total
from lgcn_jax.evaluation import ranking
from lgcn_jax.evaluation.ranking import Task, Trained
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.sampling.samplers import Triples
from lgcn_jax.training.setup import Problem, require_equal_parts
from lgcn_jax.training.state import Snapshot
from lgcn_jax.training.step import make_gradient, make_update


class Programs(NamedTuple):
    """Compiled ahead of time, once for a run.

    Attributes:
      block: (state, totals, adjacency, sampler, key, first, last) -> (state, totals) after steps first..last - 1 of
        the epoch with this key; donates state and totals.
      evaluate: (params, adjacency, task) -> float[chunks, metrics], the sums of `ranking.chunk_sums`; NaN where the
        model is not finite.
    """

    block: Callable
    evaluate: Callable

    @classmethod
    def compile(cls, problem: Problem, like: Snapshot) -> "Programs":
        """The programs for the problem and snapshots of the same shapes as `like`."""
        graphdef = problem.graphdef()
        key, place = problem.mesh.put((jax.random.key(0), np.int32(0)))
        block = jax.jit(make_block(problem, graphdef), donate_argnums=(0, 1), out_shardings=_shardings(problem, like))
        arguments = like.state, like.totals, problem.adjacency, problem.sampler, key, place, place
        evaluate = jax.jit(make_evaluate(problem, graphdef))
        return cls(
            block.lower(*arguments).compile(),
            evaluate.lower(like.state.params, problem.adjacency, problem.task).compile(),
        )


def _shardings(problem: Problem, like: Snapshot):
    return problem.mesh.shardings(like.state), problem.mesh.shardings(like.totals)


def make_block(problem: Problem, graphdef: nnx.GraphDef) -> Callable:
    """The function of `Programs.block`, not compiled."""
    config, mesh = problem.config, problem.mesh
    require_equal_parts(config, mesh)
    gradient_of = make_gradient(config, graphdef, problem.num_users, mesh.axis(DATA))
    update = make_update(config)

    def gradient(params, adjacency, sampler, key, number):
        triples = sampler.draw(key, number, config.batch_size)
        triples = Triples(*(share(column, mesh.axis(DATA)) for column in triples))
        return gradient_of(params, adjacency, triples)

    gradient = mesh.mapped(gradient, (ROWS, PARTS, PARTS, WHOLE, WHOLE), (ROWS, WHOLE))

    def block(state, totals, adjacency, sampler, key, first, last):
        def step(number, carry):
            state, totals = carry
            state, metrics = update(state, *gradient(state.params, adjacency, sampler, key, number))
            return state, totals.add(metrics, number)

        return jax.lax.fori_loop(first, last, step, (state, totals))

    return block


def make_evaluate(problem: Problem, graphdef: nnx.GraphDef) -> Callable:
    """The function of `Programs.evaluate`, not compiled."""
    mesh, ks = problem.mesh, problem.config.top_k

    def evaluate(params, adjacency: Adjacency, task: Task):
        scorer = trained(graphdef, params, adjacency, task, problem.num_users)
        wrong = total((~jnp.isfinite(scorer.final).all()).astype(jnp.int32), mesh.axis(NODES))
        return jnp.where(wrong == 0, ranking.chunk_sums(scorer, task, ks), jnp.nan)

    return mesh.mapped(evaluate, (ROWS, PARTS, PARTS), WHOLE)


def trained(graphdef: nnx.GraphDef, params: nnx.State, adjacency: Adjacency, task: Task, num_users: int) -> Trained:
    """The model's final embeddings as a scorer of the task's items."""
    final = nnx.merge(graphdef, params)(adjacency.layout)
    items = jnp.arange(task.num_items, dtype=jnp.int32) if task.items is None else task.items
    rows = adjacency.row[num_users + jnp.minimum(items, task.num_items - 1)]
    return Trained(final, adjacency, adjacency.layout.own(final, rows))
