"""All-ranking evaluation: chunks of users -> scores of all items -> masked top k -> hits -> metrics, on the device.

A scorer is a pytree with `scores(users) -> float[chunk, num_items]`, so that trained and untrained models go through
the same code. The host sees only the sums of each chunk.
"""

import dataclasses
import functools
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax import csr, metrics
from lgcn_jax.csr import CSR
from lgcn_jax.interactions import Interactions

CHUNK_ELEMENTS = 1 << 23  # scores of one chunk: 32 MiB in float32, about what a last-level cache holds


class Scorer(Protocol):
    """A model that scores every item for some users."""

    def scores(self, users: jax.Array) -> jax.Array: ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DotProduct:
    """Scores of a trained model: dot products of the final embeddings `users` [U, d] and `items` [I, d]."""

    users: jax.Array
    items: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        return jnp.matmul(self.users[users], self.items.T, precision="highest")  # not TF32 or bfloat16


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Popularity:
    """Scores of the most-popular baseline: every user gets the items' train degrees; ties go to the lowest id."""

    degree: jax.Array

    @classmethod
    def fit(cls, interactions: Interactions) -> "Popularity":
        counts = csr.column_counts(interactions.train, interactions.num_items)
        return cls(jnp.asarray(counts, jnp.float32))

    def scores(self, users: jax.Array) -> jax.Array:
        return jnp.broadcast_to(self.degree, (users.shape[0], self.degree.shape[0]))


UNTRAINED = {"popularity": Popularity}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Task:
    """What one part of a data set asks of a model: the users with a relevant item, cut into equal chunks.

    Attributes:
      users: int32[chunks, chunk_size], the users; the last chunk is padded with user 0.
      relevant: CSR over chunks * chunk_size rows, the items to be found; padding has none.
      seen_row: int32[seen + width], place in its chunk of each pair to be masked, in the order of the chunks.
      seen_item: int32[seen + width], the item of each such pair.
      seen_start: int32[chunks + 1], where the pairs of each chunk begin.
      width: the most masked pairs of any chunk; static.
      num_users: how many users count; static.
    """

    users: jax.Array
    relevant: CSR
    seen_row: jax.Array
    seen_item: jax.Array
    seen_start: jax.Array
    width: int = dataclasses.field(metadata={"static": True})
    num_users: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, interactions: Interactions, split: str, chunk_elements: int = CHUNK_ELEMENTS) -> "Task":
        """The task of ranking all items for every user with an item in `split` ('valid' or 'test')."""
        relevant, seen = interactions.part(split), interactions.seen(split)
        users = np.flatnonzero(csr.degrees(relevant)).astype(np.int32)
        size = int(np.clip(chunk_elements // interactions.num_items, 1, max(len(users), 1)))
        chunks = -(-len(users) // size)
        padding = chunks * size - len(users)
        relevant, seen = csr.take(relevant, users), csr.take(seen, users)
        relevant, seen = (rows._replace(indptr=np.pad(rows.indptr, (0, padding), "edge")) for rows in (relevant, seen))
        start = seen.indptr[::size]
        width = int(np.diff(start).max(initial=0))
        row = csr.row_of_entry(seen)
        row %= size
        return cls(
            users=jnp.asarray(np.pad(users, (0, padding)).reshape(chunks, size)),
            relevant=CSR(*map(jnp.asarray, relevant)),
            seen_row=jnp.asarray(np.pad(row, (0, width))),
            seen_item=jnp.asarray(np.pad(seen.indices, (0, width))),
            seen_start=jnp.asarray(start),
            width=width,
            num_users=len(users),
        )


def evaluate(scorer: Scorer, task: Task, ks: tuple[int, ...]) -> dict[str, float]:
    """Precision, recall and ndcg at every k, as means over the task's users.

    Args:
      scorer: the model.
      task: made by `Task.of`.
      ks: list lengths, none above the number of items.

    Returns:
      {'precision@k': .., 'recall@k': .., 'ndcg@k': ..} for each k, summed over chunks in float64.
    """
    return mean(chunk_sums(scorer, task, ks), task, ks)


def mean(sums: jax.Array, task: Task, ks: tuple[int, ...]) -> dict[str, float]:
    """The named means of what `chunk_sums` returned."""
    means = np.asarray(sums, np.float64).sum(0) / max(task.num_users, 1)
    names = [f"{name}@{k}" for k in ks for name in metrics.NAMES]
    return dict(zip(names, means.tolist(), strict=True))


@functools.partial(jax.jit, static_argnames="ks")
def chunk_sums(scorer: Scorer, task: Task, ks: tuple[int, ...]) -> jax.Array:
    """float[chunks, len(ks) * 3]: the sum of every metric over the users of each chunk."""

    def chunk(number):
        ranked = recommend(scorer, task, number, max(ks))
        row = number * task.users.shape[1] + jnp.arange(task.users.shape[1], dtype=jnp.int32)
        hits = csr.contains(task.relevant, jnp.broadcast_to(row[:, None], ranked.shape), ranked)
        relevant = task.relevant.indptr[row + 1] - task.relevant.indptr[row]
        return jnp.stack([metric.sum() for k in ks for metric in metrics.top_k(hits, relevant, k)])

    return jax.lax.map(chunk, jnp.arange(task.users.shape[0], dtype=jnp.int32))


def recommend(scorer: Scorer, task: Task, number: jax.Array, k: int) -> jax.Array:
    """int32[chunk_size, k]: the best items of each user of chunk `number`, seen ones masked with -inf.

    `lax.top_k` is exact, and a tie goes to the lower item id.
    """
    scores = scorer.scores(task.users[number])
    start, stop = task.seen_start[number], task.seen_start[number + 1]
    row = jax.lax.dynamic_slice_in_dim(task.seen_row, start, task.width)
    item = jax.lax.dynamic_slice_in_dim(task.seen_item, start, task.width)
    row = jnp.where(start + jnp.arange(task.width, dtype=jnp.int32) < stop, row, scores.shape[0])
    scores = scores.at[row, item].set(-jnp.inf, mode="drop")
    return jax.lax.top_k(scores, k)[1]
