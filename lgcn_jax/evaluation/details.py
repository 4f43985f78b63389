"""Evaluation in detail, in one pass on the device: the metrics of each user, and what the lists hold of each item.

`ranking` has the means alone, which is what training asks for.
"""

import typing

import jax
import jax.numpy as jnp

from lgcn_jax.devices.mesh import psum
from lgcn_jax.devices.pytree import pytree
from lgcn_jax.evaluation import metrics, ranking
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.evaluation.task import EvaluationTask


@pytree
class Details:
    """What a pass over all users leaves, on the device.

    Attributes:
      values: float[places, len(ks), len(metrics.PER_USER)], of the task's users in their order, then of padding.
      exposure: int32[len(ks), num_items], in how many users' first k items each item is.
      hits: int32[len(ks), num_items], in how many of these lists it is relevant.
      recall: float[len(ks), num_items], the sum over these hits of 1 / number of the user's relevant items.
    """

    values: jax.Array
    exposure: jax.Array
    hits: jax.Array
    recall: jax.Array


def chunk_details(scorer: Scorer, task: EvaluationTask, ks: tuple[int, ...]) -> Details:
    """The details of all chunks, of all devices; `ks` are list lengths, none above the number of items."""

    def chunk(counts: tuple[jax.Array, ...], number: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
        ranked, hits, relevant = ranking.ranked_hits(scorer, task, number, max(ks))
        values = [jnp.stack(metrics.user_metrics(hits, relevant, k), -1) for k in ks]
        return _add_counts(counts, ranked, hits, relevant, task.num_items, ks), jnp.stack(values, 1)

    empty = tuple(jnp.zeros((len(ks), task.num_items), dtype) for dtype in (jnp.int32, jnp.int32, jnp.float32))
    counts, values = jax.lax.scan(chunk, empty, jnp.arange(task.users.shape[0], dtype=jnp.int32))
    values = values.reshape(-1, *values.shape[2:])
    if task.axes[0] is not None:
        values = jax.lax.all_gather(values, task.axes[0], tiled=True)
    return Details(values, *(psum(count, task.axes[0]) for count in counts))


evaluate = typing.cast("typing.Callable[..., Details]", jax.jit(chunk_details, static_argnames="ks"))


def _add_counts(
    counts: tuple[jax.Array, ...],
    ranked: jax.Array,
    hits: jax.Array,
    relevant: jax.Array,
    num_items: int,
    ks: tuple[int, ...],
) -> tuple[jax.Array, ...]:
    """Exposure, hits and recall of each item, with those of a chunk's lists added; padding has no list."""
    real = relevant > 0
    items = jnp.where(real[:, None], ranked, num_items)
    share = 1 / jnp.maximum(relevant, 1).astype(counts[2].dtype)
    found = jnp.where(hits, share[:, None], 0)

    def add(count: jax.Array, weights: jax.Array) -> jax.Array:
        rows = [count[n].at[items[:, :k]].add(weights[:, :k], mode="drop") for n, k in enumerate(ks)]
        return jnp.stack(rows)

    ones = jnp.ones(items.shape, counts[0].dtype)
    return add(counts[0], ones), add(counts[1], hits.astype(counts[1].dtype)), add(counts[2], found)
