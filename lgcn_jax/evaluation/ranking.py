"""All-ranking evaluation: chunks of users -> scores of all items -> masked top k -> hits -> metrics, on the device.

The host sees only the sums of each chunk.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.evaluation import metrics
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.evaluation.task import EvaluationTask


def evaluate(scorer: Scorer, task: EvaluationTask, ks: tuple[int, ...]) -> dict[str, float]:
    """Precision, recall and ndcg at every k, as means over the task's users.

    Args:
      scorer: the model.
      task: made by `EvaluationTask.of`.
      ks: list lengths, none above the number of items.

    Returns:
      {'precision@k': .., 'recall@k': .., 'ndcg@k': ..} for each k, summed over chunks in float64.
    """
    return mean_metrics(chunk_sums(scorer, task, ks), task, ks)


def mean_metrics(sums: jax.Array, task: EvaluationTask, ks: tuple[int, ...]) -> dict[str, float]:
    """The named means of what `chunk_sums` returned."""
    means = np.asarray(jax.device_get(sums), np.float64).sum(0) / max(task.num_users, 1)
    names = [f"{name}@{k}" for k in ks for name in metrics.NAMES]
    return dict(zip(names, means.tolist(), strict=True))


@functools.partial(jax.jit, static_argnames="ks")
def chunk_sums(scorer: Scorer, task: EvaluationTask, ks: tuple[int, ...]) -> jax.Array:
    """float[chunks, len(ks) * 3]: the sum of every metric over the users of each chunk, of all devices."""

    def chunk(number):
        return metric_sums(scorer, task, number, ks)

    sums = jax.lax.map(chunk, jnp.arange(task.users.shape[0], dtype=jnp.int32))
    return sums if task.axes[0] is None else jax.lax.all_gather(sums, task.axes[0], tiled=True)


def metric_sums(scorer: Scorer, task: EvaluationTask, chunk: jax.Array, ks: tuple[int, ...]) -> jax.Array:
    """float[len(ks) * 3]: the sum of every metric over the users of a `chunk`."""
    _, hits, relevant = ranked_hits(scorer, task, chunk, max(ks))
    return jnp.stack([metric.sum() for k in ks for metric in metrics.precision_recall_ndcg(hits, relevant, k)])


def ranked_hits(
    scorer: Scorer, task: EvaluationTask, chunk: jax.Array, k: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of each user of a `chunk`: the recommended items, int32[chunk_size, k], which of them are relevant,
    bool[chunk_size, k], and how many items are, int32[chunk_size]."""
    ranked = recommend(scorer, task, chunk, k)
    row = chunk * task.users.shape[1] + jnp.arange(task.users.shape[1], dtype=jnp.int32)
    hits = csr.contains(task.relevant, jnp.broadcast_to(row[:, None], ranked.shape), ranked)
    return ranked, hits, task.relevant.indptr[row + 1] - task.relevant.indptr[row]


def recommend(scorer: Scorer, task: EvaluationTask, chunk: jax.Array, k: int) -> jax.Array:
    """int32[chunk_size, k]: the best items of each user of a `chunk`, seen ones masked with -inf.

    An item with a score of -inf is never recommended: num_items stands in such places, at the end of a list.
    `lax.top_k` is exact, and a tie goes to the lower item id (a zero of either sign is a tie where items are cut).
    """
    scores = scorer.scores(task.users[chunk])
    start, stop = task.seen_start[chunk], task.seen_start[chunk + 1]
    row = jax.lax.dynamic_slice_in_dim(task.seen_row, start, task.width)
    item = jax.lax.dynamic_slice_in_dim(task.seen_item, start, task.width)
    row = jnp.where(start + jnp.arange(task.width, dtype=jnp.int32) < stop, row, scores.shape[0])
    scores = scores.at[row, item].set(-jnp.inf, mode="drop")
    if task.items is None:
        best, items = jax.lax.top_k(scores, k)
    else:
        scores = jnp.where(task.items < task.num_items, scores, -jnp.inf)
        best, place = jax.lax.top_k(scores, min(k, scores.shape[1]))
        items = task.items[place]
        if task.axes[1] is not None:
            best, items = (part[:, :k] for part in merge_top_k(best, items, task.axes[1]))
    return jnp.where(best > -jnp.inf, items, task.num_items)


def merge_top_k(scores: jax.Array, items: jax.Array, axis: str) -> tuple[jax.Array, jax.Array]:
    """Scores and items [users, all] of all devices of the axis, best first, and the lower item first in a tie."""
    scores, items = (jax.lax.all_gather(part, axis, axis=1, tiled=True) for part in (scores, items))
    scores, items = jax.lax.sort((-scores, items), dimension=1, num_keys=2)
    return -scores, items
