"""Scorers of users by what they have: products of sparse rows with dense and sparse matrices, on the device."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse

from lgcn_jax.baselines.matrices import Matrix
from lgcn_jax.devices.pytree import pytree, static

FEW, MANY = 1 << 10, 1 << 15  # entries that are added at a time: of rows, and of a product of sparse matrices
FAR = np.int32(2**31 - 1)  # a place that no array has: what is added there is dropped


class SparseEntries(NamedTuple):
    """The entries of some rows, one row after the other; what lies past the last one is padding.

    Attributes:
      row: int32[capacity], which of these rows an entry is of; past the last one how many rows there are.
      entry: int32[capacity], its number among all entries of the matrix.
      row_ends: int32[rows], where each of these rows ends.
    """

    row: jax.Array
    entry: jax.Array
    row_ends: jax.Array


@pytree
class SparseRows:
    """A sparse matrix on the device, of which some rows are taken.

    Attributes:
      starts: int32[num_rows + 1], where each row begins.
      columns: int32[nnz].
      values: float[nnz].
      num_columns: static.
      longest: entries of the longest row; static.
    """

    starts: jax.Array
    columns: jax.Array
    values: jax.Array
    num_columns: int = static()
    longest: int = static()

    @classmethod
    def of(cls, matrix: Matrix) -> "SparseRows":
        """Host: of NumPy arrays, with one entry at least, since nothing can be taken from none."""
        lengths, padding = np.diff(matrix.indptr), int(matrix.nnz == 0)
        columns, values = (np.pad(array, (0, padding)) for array in (matrix.indices.astype(np.int32), matrix.data))
        longest = max(int(lengths.max(initial=0)), 1)
        return cls(matrix.indptr.astype(np.int32), columns, values, matrix.shape[1], longest)  # type: ignore[arg-type]

    def entries(self, rows: jax.Array) -> SparseEntries:
        """The entries of int32[n] `rows`, repeats allowed."""
        starts = self.starts[rows]
        lengths = self.starts[rows + 1] - starts
        return _expand_entries(starts, lengths, len(rows) * self.longest)

    def dense(self, rows: jax.Array) -> jax.Array:
        """[n, num_columns]: the rows."""
        return self._scatter_entries(
            rows, jnp.zeros((len(rows), self.num_columns), self.values.dtype), lambda row, column: (row, column)
        )

    def dense_columns(self, rows: jax.Array) -> jax.Array:
        """[num_columns, n]: the rows as columns."""
        return self._scatter_entries(
            rows, jnp.zeros((self.num_columns, len(rows)), self.values.dtype), lambda row, column: (column, row)
        )

    def _scatter_entries(self, rows: jax.Array, total: jax.Array, index: Callable) -> jax.Array:
        """`total` with the entries of the rows added at `index(row, column)`, as many at a time as few users have."""
        starts = self.starts[rows]
        lengths = self.starts[rows + 1] - starts

        def add(row, place, inside, total):
            where = index(jnp.where(inside, row, FAR), self.columns[place])
            return total.at[where].add(self.values[place], mode="drop")

        return _add_in_chunks(starts, lengths, FEW, add, total)


def _add_in_chunks(starts: jax.Array, lengths: jax.Array, size: int, add: Callable, total: jax.Array) -> jax.Array:
    """`add(segment, place, inside, total)` for all places of segments, `size` of them at a time; some are not `inside`.

    A scatter costs as much for what it drops, so there are no more turns than the segments need.
    """
    stops = jnp.cumsum(lengths, dtype=jnp.int32)
    shift = starts - stops + lengths

    def turn(number, total):
        entry = number * size + jnp.arange(size, dtype=jnp.int32)
        segment = jnp.minimum(jnp.searchsorted(stops, entry, side="right").astype(jnp.int32), len(stops) - 1)
        inside = entry < stops[-1]
        return add(segment, jnp.where(inside, entry + shift[segment], 0), inside, total)

    return jax.lax.fori_loop(0, (stops[-1] + size - 1) // size, turn, total)


def _expand_entries(starts: jax.Array, lengths: jax.Array, capacity: int) -> SparseEntries:
    stops = jnp.cumsum(lengths, dtype=jnp.int32)
    number = jnp.arange(capacity, dtype=jnp.int32)
    row = jnp.repeat(jnp.arange(len(starts), dtype=jnp.int32), lengths, total_repeat_length=capacity)
    inside = number < stops[-1]
    place = jnp.where(inside, (starts - stops + lengths)[row] + number, 0)
    return SparseEntries(jnp.where(inside, row, len(starts)), place, stops)


@pytree
class DenseProduct:
    """Scores `(rows @ weights)[users]`: `rows` [num_users, m], `weights` [m, num_items] dense.

    On a CPU, the rows of `weights` that belong to a user's entries are added up; elsewhere the users' rows are made
    dense and multiplied, which takes more operations, and less time.
    """

    rows: SparseRows
    weights: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        if jax.default_backend() != "cpu":
            return jnp.matmul(self.rows.dense(users), self.weights, precision="highest")
        _, place, stops = self.rows.entries(users)
        indptr = jnp.concatenate([jnp.zeros(1, jnp.int32), stops])
        content = self.rows.values[place], self.rows.columns[place], indptr
        shape = len(users), self.rows.num_columns
        return sparse.BCSR(content, shape=shape, indices_sorted=True, unique_indices=True) @ self.weights

    def pair_scores(self, users: jax.Array, items: jax.Array) -> jax.Array:
        """float[n]: the score of each pair."""

        def score(pair):
            row, place, _ = self.rows.entries(pair[0][None])
            value = self.rows.values[place] * self.weights[self.rows.columns[place], pair[1]]
            return jnp.where(row == 0, value, 0).sum()

        return jax.lax.map(score, (users, items))


@pytree
class SparseProduct:
    """Scores `(left @ right)[users] + offset`: `left` [num_users, m] and `right` [m, num_items] sparse.

    The entries of the product are never all there: those of a chunk of users are added up in turns, and as many turns
    are taken as these users need.

    Attributes:
      left, right: the factors.
      offset: float[num_items], what is added to the scores of all users.
    """

    left: SparseRows
    right: SparseRows
    offset: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        row, place, _ = self.left.entries(users)
        value, middle = self.left.values[place], self.left.columns[place]
        starts = self.right.starts[middle]
        lengths = jnp.where(row < len(users), self.right.starts[middle + 1] - starts, 0)

        def add(entry, place, inside, total):
            target = jnp.where(inside, row[entry], FAR)
            return total.at[target, self.right.columns[place]].add(value[entry] * self.right.values[place], mode="drop")

        total = jnp.broadcast_to(self.offset, (len(users), len(self.offset)))
        return _add_in_chunks(starts, lengths, MANY, add, total)
