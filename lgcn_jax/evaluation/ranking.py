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

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.evaluation import metrics
from lgcn_jax.graph.propagation import Adjacency

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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Trained:
    """Scores of a trained model by its final embeddings, in the order of the table's rows.

    Attributes:
      final: [num_rows, d], those of this device where rows are cut over devices.
      adjacency: says where the users' rows stand.
      items: [ranked, d], the rows of the items that are ranked here.
    """

    final: jax.Array
    adjacency: Adjacency
    items: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        rows = self.adjacency.take(self.final, users)
        return jnp.matmul(rows, self.items.T, precision="highest")  # not TF32 or bfloat16


UNTRAINED = {"popularity": Popularity}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Task:
    """What one part of a data set asks of a model: the users with a relevant item, cut into equal chunks.

    Where devices share the work, each has the chunks of its place on the axis `data`, and ranks the items of its place
    on the axis `nodes`.

    Attributes:
      users: int32[chunks, chunk_size], the users; the last chunks are padded with user 0.
      relevant: CSR over chunks * chunk_size rows, the items to be found; padding has none.
      items: int32[ranked], the items ranked here, ascending, padded with num_items; None where they are all.
      seen_row: int32[seen + width], place in its chunk of each pair to be masked, in the order of the chunks.
      seen_item: int32[seen + width], place among the items ranked here of each such pair's item.
      seen_start: int32[chunks + 1], where the pairs of each chunk begin.
      width: the most masked pairs of any chunk; static.
      num_users: how many users count, on all devices; static.
      num_items: items of the data set; static.
      axes: the mesh axes (data, nodes) of the devices, None where one device has all; static.
    """

    users: jax.Array
    relevant: CSR
    items: jax.Array | None
    seen_row: jax.Array
    seen_item: jax.Array
    seen_start: jax.Array
    width: int = dataclasses.field(metadata={"static": True})
    num_users: int = dataclasses.field(metadata={"static": True})
    num_items: int = dataclasses.field(metadata={"static": True})
    axes: tuple[str | None, str | None] = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, interactions: Interactions, split: str, chunk_elements: int = CHUNK_ELEMENTS) -> "Task":
        """The task of ranking all items for every user with an item in `split` ('valid' or 'test'), on one device."""
        return jax.device_put(parts(interactions, split, chunk_elements)[0][0])


def parts(
    interactions: Interactions,
    split: str,
    chunk_elements: int = CHUNK_ELEMENTS,
    shares: int = 1,
    owners: np.ndarray | None = None,
    places: int = 1,
    axes: tuple[str | None, str | None] = (None, None),
) -> list[list[Task]]:
    """Host: a task's part of each place on the axes `data` and `nodes`, of NumPy arrays of the same shapes for all.

    Args:
      interactions: the data set.
      split: 'valid' or 'test'.
      chunk_elements: the most scores of a chunk.
      shares: places on the axis `data`.
      owners: int[num_items], the place on the axis `nodes` that ranks each item; None: one place ranks all.
      places: places on the axis `nodes`, of which some may have no item.
      axes: names of the axes, None for one with a single place.
    """
    users = np.flatnonzero(csr.degrees(interactions.part(split))).astype(np.int32)
    ranked = interactions.num_items if owners is None else int(np.bincount(owners).max())
    size = int(np.clip(chunk_elements // ranked, 1, max(-(-len(users) // shares), 1)))
    chunks = -(-len(users) // (size * shares))
    padded = np.pad(users, (0, shares * chunks * size - len(users)), constant_values=-1).reshape(shares, chunks, size)
    made = [[_part(interactions, split, share, owners, place, axes) for place in range(places)] for share in padded]
    flat = [part for row in made for part in row]
    width = max(part.width for part in flat)
    entries = max(part.relevant.nnz for part in flat), max(len(part.seen_row) for part in flat) + width

    def padded(part: Task) -> Task:
        return _padded(dataclasses.replace(part, num_users=len(users)), *entries, ranked, width)

    return [[padded(part) for part in row] for row in made]


def _part(
    interactions: Interactions,
    split: str,
    users: np.ndarray,
    owners: np.ndarray | None,
    place: int,
    axes: tuple[str | None, str | None],
) -> Task:
    """The part of one place, without padding; `users` int32[chunks, chunk_size] are -1 where they are padding."""
    relevant, seen = (_taken(rows, users) for rows in (interactions.part(split), interactions.seen(split)))
    items = None
    if owners is not None:
        items = np.flatnonzero(owners == place).astype(np.int32)
        seen = csr.select(seen, owners[seen.indices] == place)
        seen = seen._replace(indices=np.searchsorted(items, seen.indices).astype(np.int32))
    start = seen.indptr[:: users.shape[1]]
    row = csr.row_of_entry(seen)
    row %= users.shape[1]  # in place: there may be very many
    return Task(
        users=np.maximum(users, 0),
        relevant=relevant,
        items=items,
        seen_row=row,
        seen_item=seen.indices,
        seen_start=start,
        width=int(np.diff(start).max(initial=0)),
        num_users=0,
        num_items=interactions.num_items,
        axes=axes,
    )


def _taken(rows: CSR, users: np.ndarray) -> CSR:
    """The rows of the users, which are -1 at the end where there is none; a row without an entry for each of those."""
    real = users[users >= 0]
    found = csr.take(rows, real)
    return found._replace(indptr=np.pad(found.indptr, (0, users.size - len(real)), "edge"))


def _padded(part: Task, relevant: int, seen: int, ranked: int, width: int) -> Task:
    """The part with arrays of these lengths."""

    def to(array: np.ndarray, size: int, value: int = 0) -> np.ndarray:
        return np.pad(array, (0, size - len(array)), constant_values=value)

    return dataclasses.replace(
        part,
        relevant=part.relevant._replace(indices=to(part.relevant.indices, relevant)),
        items=None if part.items is None else to(part.items, ranked, part.num_items),
        seen_row=to(part.seen_row, seen),
        seen_item=to(part.seen_item, seen),
        width=width,
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
    means = np.asarray(jax.device_get(sums), np.float64).sum(0) / max(task.num_users, 1)
    names = [f"{name}@{k}" for k in ks for name in metrics.NAMES]
    return dict(zip(names, means.tolist(), strict=True))


@functools.partial(jax.jit, static_argnames="ks")
def chunk_sums(scorer: Scorer, task: Task, ks: tuple[int, ...]) -> jax.Array:
    """float[chunks, len(ks) * 3]: the sum of every metric over the users of each chunk, of all devices."""

    def chunk(number):
        ranked = recommend(scorer, task, number, max(ks))
        row = number * task.users.shape[1] + jnp.arange(task.users.shape[1], dtype=jnp.int32)
        hits = csr.contains(task.relevant, jnp.broadcast_to(row[:, None], ranked.shape), ranked)
        relevant = task.relevant.indptr[row + 1] - task.relevant.indptr[row]
        return jnp.stack([metric.sum() for k in ks for metric in metrics.top_k(hits, relevant, k)])

    sums = jax.lax.map(chunk, jnp.arange(task.users.shape[0], dtype=jnp.int32))
    return sums if task.axes[0] is None else jax.lax.all_gather(sums, task.axes[0], tiled=True)


def recommend(scorer: Scorer, task: Task, number: jax.Array, k: int) -> jax.Array:
    """int32[chunk_size, k]: the best items of each user of chunk `number`, seen ones masked with -inf.

    `lax.top_k` is exact, and a tie goes to the lower item id (a zero of either sign is a tie where items are cut).
    """
    scores = scorer.scores(task.users[number])
    start, stop = task.seen_start[number], task.seen_start[number + 1]
    row = jax.lax.dynamic_slice_in_dim(task.seen_row, start, task.width)
    item = jax.lax.dynamic_slice_in_dim(task.seen_item, start, task.width)
    row = jnp.where(start + jnp.arange(task.width, dtype=jnp.int32) < stop, row, scores.shape[0])
    scores = scores.at[row, item].set(-jnp.inf, mode="drop")
    if task.items is None:
        return jax.lax.top_k(scores, k)[1]
    scores = jnp.where(task.items < task.num_items, scores, -jnp.inf)
    best, place = jax.lax.top_k(scores, min(k, scores.shape[1]))
    return _merged(best, task.items[place], task.axes[1])[:, :k]


def _merged(scores: jax.Array, items: jax.Array, axis: str) -> jax.Array:
    """int32[users, all]: the items of all devices of the axis, best first, and the lower id first in a tie."""
    scores, items = (jax.lax.all_gather(part, axis, axis=1, tiled=True) for part in (scores, items))
    return jax.lax.sort((-scores, items), dimension=1, num_keys=2)[1]
