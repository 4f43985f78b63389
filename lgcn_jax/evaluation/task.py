"""What an evaluation has to rank: the users of a part, their relevant items, and those that are masked."""

import dataclasses

import jax
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.pytree import pytree, static

CHUNK_ELEMENTS = 1 << 23  # scores of one chunk: 32 MiB in float32, about what a last-level cache holds


@pytree
class EvaluationTask:
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
      popularity: float32[num_items], log(1 + n) of items with n train pairs; None where no model asks for it.
    """

    users: jax.Array
    relevant: CSR
    items: jax.Array | None
    seen_row: jax.Array
    seen_item: jax.Array
    seen_start: jax.Array
    width: int = static()
    num_users: int = static()
    num_items: int = static()
    axes: tuple[str | None, str | None] = static()
    popularity: jax.Array | None = None

    @classmethod
    def of(
        cls,
        interactions: Interactions,
        split: str,
        chunk_elements: int = CHUNK_ELEMENTS,
        users: np.ndarray | None = None,
        items: np.ndarray | None = None,
    ) -> "EvaluationTask":
        """The task of ranking all items for every user with an item in `split` ('valid' or 'test'), on one device.

        `users` are the numbers of the only users that count, `items` those of the only items that are ranked; None
        stands for all.
        """
        owners = None if items is None else np.isin(np.arange(interactions.num_items), items, invert=True).astype(int)
        ((task,),) = shard_evaluation_tasks(interactions, split, chunk_elements, owners=owners, users=users)
        return jax.device_put(task)


def evaluated_users(interactions: Interactions, split: str, users: np.ndarray | None = None) -> np.ndarray:
    """Host: int32[n], ascending: the users, or those of `users`, who have an item in the part, each once."""
    have = np.flatnonzero(csr.degrees(interactions.part(split))).astype(np.int32)
    return have if users is None else have[np.isin(have, users)]


def shard_evaluation_tasks(
    interactions: Interactions,
    split: str,
    chunk_elements: int = CHUNK_ELEMENTS,
    data_shards: int = 1,
    owners: np.ndarray | None = None,
    node_shards: int = 1,
    axes: tuple[str | None, str | None] = (None, None),
    users: np.ndarray | None = None,
) -> list[list[EvaluationTask]]:
    """Host: a task's part of each place on the axes `data` and `nodes`, of NumPy arrays of the same shapes for all.

    Args:
      interactions: the data set.
      split: 'valid' or 'test'.
      chunk_elements: the most scores of a chunk.
      data_shards: places on the axis `data`.
      owners: int[num_items], the place on the axis `nodes` that ranks each item; those of places from `node_shards` on
        are not ranked. None: one place ranks all.
      node_shards: places on the axis `nodes`, of which some may have no item.
      axes: names of the axes, None for one with a single place.
      users: int[m], numbers of the only users that count; None: all.
    """
    users = evaluated_users(interactions, split, users)
    ranked = interactions.num_items if owners is None else int(np.bincount(owners)[:node_shards].max())
    size = int(np.clip(chunk_elements // ranked, 1, max(-(-len(users) // data_shards), 1)))
    chunks = -(-len(users) // (size * data_shards))
    padded = np.pad(users, (0, data_shards * chunks * size - len(users)), constant_values=-1).reshape(
        data_shards, chunks, size
    )
    made = [
        [_task_of_device(interactions, split, share, owners, place, axes) for place in range(node_shards)]
        for share in padded
    ]
    flat = [part for row in made for part in row]
    width = max(part.width for part in flat)
    entries = max(part.relevant.nnz for part in flat), max(len(part.seen_row) for part in flat) + width

    def padded(part: EvaluationTask) -> EvaluationTask:
        return _pad_task(dataclasses.replace(part, num_users=len(users)), *entries, ranked, width)

    return [[padded(part) for part in row] for row in made]


def _task_of_device(
    interactions: Interactions,
    split: str,
    users: np.ndarray,
    owners: np.ndarray | None,
    place: int,
    axes: tuple[str | None, str | None],
) -> EvaluationTask:
    """The part of one place, without padding; `users` int32[chunks, chunk_size] are -1 where they are padding."""
    relevant, seen = (_take_users(rows, users) for rows in (interactions.part(split), interactions.seen(split)))
    items = None
    if owners is not None:
        items = np.flatnonzero(owners == place).astype(np.int32)
        seen = csr.filter_entries(seen, owners[seen.indices] == place)
        seen = seen._replace(indices=np.searchsorted(items, seen.indices).astype(np.int32))
    start = seen.indptr[:: users.shape[1]]
    row = csr.row_of_entry(seen)
    row %= users.shape[1]  # in place: there may be very many
    return EvaluationTask(
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


def _take_users(rows: CSR, users: np.ndarray) -> CSR:
    """The rows of the users, which are -1 at the end where there is none; a row without an entry for each of those."""
    real = users[users >= 0]
    found = csr.take_rows(rows, real)
    return found._replace(indptr=np.pad(found.indptr, (0, users.size - len(real)), "edge"))


def _pad_task(part: EvaluationTask, relevant: int, seen: int, ranked: int, width: int) -> EvaluationTask:
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
