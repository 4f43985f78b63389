"""The best items of given users, exactly, on the devices: scores of all items, some masked, and a top k."""

import collections
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.devices.mesh import DATA, NODES, PER_DEVICE, Mesh
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation.ranking import merge_top_k
from lgcn_jax.evaluation.scorers import Scorer

BLOCK = 64  # items that stand for each other by the best of them
CHUNK_ELEMENTS = 1 << 21  # scores of one chunk: memory of 8 MB is used again, where 32 MB are fetched anew each time
IN_FLIGHT = 4  # chunks that are computed, or wait to be: while one core sorts another multiplies


class Ranker:
    """A scorer that was put on the devices of a mesh: users are cut over `data`, items over `nodes`.

    Args:
      scorer: of all items.
      num_items: how many they are.
      mesh: the devices.

    Raises:
      InputError: items are to be cut over devices, and the scorer cannot be.
    """

    def __init__(self, scorer: Scorer, num_items: int, mesh: Mesh):
        self.num_items, self._mesh = num_items, mesh
        self._share = -(-num_items // mesh.nodes)  # items of each place on the axis `nodes`
        self._ranked = self._share
        if hasattr(scorer, "select_items"):
            self._ranked = -(-self._share // BLOCK) * BLOCK
            self._scorer = mesh.make_sharded(lambda data, nodes: scorer.select_items(self._items_of_shard(nodes)))
        elif mesh.nodes == 1:
            self._scorer = mesh.make_sharded(lambda data, nodes: scorer)
        else:
            raise InputError("--mesh", f"nodes:{mesh.nodes}", "nodes:1, since this model is not cut over its items")

    def _items_of_shard(self, nodes: int) -> np.ndarray:
        """int32[ranked], the items of a place, ascending; padding is item 0, which is masked there."""
        items = np.arange(nodes * self._share, min((nodes + 1) * self._share, self.num_items), dtype=np.int32)
        return np.pad(items, (0, self._ranked - len(items)))

    def top_items(
        self, users: np.ndarray, masked: CSR | None, allowed: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Host: the items of highest score of each user, int32[n, k], and the scores, float32[n, k].

        Ties go to the lowest item. Where nothing is left the score is -inf and the item 0.

        Args:
          users: int[n], numbers of users.
          masked: a row for every user of the data set, the items that are left out; None: none.
          allowed: bool[num_items], the items that may be recommended at all.
          k: at most the number of items.
        """
        rank = _top_k_program(self._mesh, self._share, k)
        mask = self._mesh.make_sharded(lambda data, nodes: self._allowed_of_block(allowed, nodes))
        waiting: collections.deque[Any] = collections.deque()
        found = [(np.zeros((0, k), np.float32), np.zeros((0, k), np.int32))]
        for place in self._chunks_of_users(users, masked):
            waiting.append(rank(self._scorer, mask, self._mesh.make_sharded(place)))
            if len(waiting) > IN_FLIGHT:
                found.append(jax.device_get(waiting.popleft()))
        found += map(jax.device_get, waiting)
        scores, items = (np.concatenate(parts)[: len(users)] for parts in zip(*found, strict=True))
        return items, scores

    def _allowed_of_block(self, allowed: np.ndarray, nodes: int) -> np.ndarray:
        """bool[ranked], which items of a place are allowed."""
        share = allowed[nodes * self._share : (nodes + 1) * self._share]
        return np.pad(share, (0, self._ranked - len(share)))

    def _chunks_of_users(self, users: np.ndarray, masked: CSR | None) -> Iterator[Callable[[int, int], Any]]:
        """For each chunk the function that gives a place on the mesh its share: users, and the pairs to be masked."""
        rows = csr.empty(len(users)) if masked is None else csr.take_rows(masked, users)
        each = 1 << max(-(-len(users) // self._mesh.data) - 1, 0).bit_length()  # few sizes: each is compiled
        size = int(np.clip(CHUNK_ELEMENTS // self._ranked, 1, each))
        starts = np.arange(0, len(users), size)
        widest = int((rows.indptr[np.minimum(starts + size, len(users))] - rows.indptr[starts]).max(initial=0))
        width = 1 << max(widest - 1, 0).bit_length()

        def place(start: int, data: int, nodes: int):
            some = slice(start + data * size, min(start + (data + 1) * size, len(users)))
            chunk = np.zeros(size, np.int32)
            chunk[: len(users[some])] = users[some]
            return chunk, *self._masked_pairs(rows, some, nodes, size, width)

        for start in range(0, len(users), size * self._mesh.data):
            yield functools.partial(place, start)

    def _masked_pairs(self, rows: CSR, some: slice, nodes: int, size: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """int32[width] each: for the pairs that are masked at a place, the user in the chunk and the item there."""
        row, item = np.full(width, size, np.int32), np.zeros(width, np.int32)  # past the end: masks nothing
        if some.start < some.stop:
            bounds = rows.indptr[some.start : some.stop + 1]
            local = rows.indices[bounds[0] : bounds[-1]] - nodes * self._share
            here = (local >= 0) & (local < self._share)
            count = int(here.sum())
            row[:count] = np.repeat(np.arange(len(bounds) - 1, dtype=np.int32), np.diff(bounds))[here]
            item[:count] = local[here]
        return row, item


@functools.lru_cache(maxsize=16)
def _top_k_program(mesh: Mesh, share: int, k: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """(scorer, allowed, chunk) -> scores [users, k] and items [users, k], compiled once for each mesh and k."""
    axis, over_data = mesh.axis(NODES), PartitionSpec(DATA)

    def rank(scorer: Scorer, allowed: jax.Array, chunk: tuple[jax.Array, jax.Array, jax.Array]):
        users, row, item = chunk
        scores = jnp.where(allowed[None, :], scorer.scores(users), -jnp.inf)
        scores = jnp.where(scores == 0, 0, scores)  # a zero of either sign is a tie
        best, items = top_k(scores.at[row, item].set(-jnp.inf, mode="drop"), k)
        if axis is not None:
            best, items = merge_top_k(best, items + share * jax.lax.axis_index(axis), axis)
        return best[:, :k], jnp.where(jnp.isneginf(best), 0, items)[:, :k]

    return jax.jit(mesh.shard_map(rank, (PER_DEVICE,) * 3, (over_data, over_data)))


def top_k(scores: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """`jax.lax.top_k` of [n, m] by way of blocks; where k is above m, of all m.

    The k best lie in the k blocks with the best maxima: an item of another block has k items before it. Blocks are
    taken in their order, so that a tie goes to the lower item, as by `lax.top_k`. A barrier keeps XLA from computing
    the scores anew for each use of them.
    """
    rows, columns = scores.shape
    k, blocks = min(k, columns), columns // BLOCK
    if columns % BLOCK or 4 * k > blocks:
        return jax.lax.top_k(scores, k)
    scores = jax.lax.optimization_barrier(scores)
    cut = scores.reshape(rows, blocks, BLOCK)
    chosen = jnp.sort(jax.lax.top_k(jax.lax.optimization_barrier(cut.max(2)), k)[1], axis=1)
    candidates = jax.lax.optimization_barrier(jnp.take_along_axis(cut, chosen[:, :, None], axis=1))
    best, place = jax.lax.top_k(candidates.reshape(rows, k * BLOCK), k)
    return best, jnp.take_along_axis(chosen, place // BLOCK, axis=1) * BLOCK + place % BLOCK


def pair_scores(scorer: Scorer, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Host: float32[n], the score of each pair of a user and an item, by their numbers.

    Args:
      scorer: of all items, on the devices.
      users, items: int[n].
    """
    size = 1 << max(min(len(users), CHUNK_ELEMENTS // 64) - 1, 0).bit_length()
    found = [np.zeros(0, np.float32)]
    for start in range(0, len(users), size):
        pair = [part[start : start + size].astype(np.int32) for part in (users, items)]
        padded = (np.pad(part, (0, size - len(part))) for part in pair)
        found.append(jax.device_get(_pair_scores(scorer, *padded))[: len(pair[0])])
    return np.concatenate(found)


@jax.jit
def _pair_scores(scorer: Scorer, users: jax.Array, items: jax.Array) -> jax.Array:
    if hasattr(scorer, "pair_scores"):
        return scorer.pair_scores(users, items)
    return jax.lax.map(lambda pair: scorer.scores(pair[0][None])[0, pair[1]], (users, items))
