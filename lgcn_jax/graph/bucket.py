"""A layout of padded rectangles: gathers only, no scatter."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.devices.pytree import pytree
from lgcn_jax.graph.layout import Layout, Matrix, PaddedSizes, gather_in_bounds


@pytree
class BucketLayout(Layout):
    """Rows in buckets of similar degree, each a padded rectangle of neighbors: gathers only, no scatter.

    Bucket b holds the rows with a degree in (w_b / 2, w_b], w_b a power of two, as `columns` int32[w_b, rows] and
    `values` [w_b, rows] padded with zeros; `position` int32[num_rows] says where a row stands in the buckets laid end
    to end. The order of every sum is fixed, so the product is deterministic on every platform.
    """

    columns: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    position: jax.Array

    ACCEPTS_BFLOAT16: ClassVar[bool] = True
    UNROLL: ClassVar[int] = 8  # neighbors added per turn of the loop

    @classmethod
    def padded_sizes(cls, matrix: Matrix) -> PaddedSizes:
        widths, counts = np.unique(_bucket_widths(matrix), return_counts=True)
        return dict(zip(widths.tolist(), counts.tolist(), strict=True))

    @classmethod
    def prepare(cls, matrix: Matrix, padded_sizes: PaddedSizes | None = None) -> "BucketLayout":
        padded_sizes, width = padded_sizes or cls.padded_sizes(matrix), _bucket_widths(matrix)
        position = np.empty(matrix.shape[0], np.int32)
        buckets, before = [], 0
        for w, size in sorted(padded_sizes.items()):
            rows = np.flatnonzero(width == w)
            position[rows] = before + np.arange(len(rows))
            buckets.append(_padded_rectangle(matrix, rows, w, size))
            before += size
        return cls(*zip(*buckets, strict=True), position)

    @property
    def num_rows(self) -> int:
        return self.position.shape[0]

    def product(self, x: jax.Array) -> jax.Array:
        summed = [
            self._bucket_sum(columns, values, x) for columns, values in zip(self.columns, self.values, strict=True)
        ]
        return jnp.concatenate(summed)[self.position]

    def _bucket_sum(self, columns: jax.Array, values: jax.Array, x: jax.Array) -> jax.Array:
        turn = min(self.UNROLL, columns.shape[0])

        def add(total, neighbors):
            for column, value in zip(*neighbors, strict=True):
                total = total + value[:, None] * gather_in_bounds(x, column).astype(value.dtype)
            return total, None

        turns = tuple(array.reshape(-1, turn, array.shape[1]) for array in (columns, values))
        total = jnp.zeros((columns.shape[1], x.shape[1]), values.dtype)
        return jax.lax.scan(add, total, turns)[0]


def _bucket_widths(matrix: Matrix) -> np.ndarray:
    """int64[n]: each row's degree, rounded up to a power of two."""
    return 1 << np.ceil(np.log2(np.maximum(np.diff(matrix.indptr), 1))).astype(np.int64)


def _padded_rectangle(matrix: Matrix, rows: np.ndarray, width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns int32 and values of some rows, [width, size]: a column for each row, padded with zeros."""
    neighbor = np.arange(width)[:, None]
    inside = neighbor < np.diff(matrix.indptr)[rows]
    entry = np.minimum(matrix.indptr[rows] + neighbor, max(matrix.nnz - 1, 0))
    filler = ((0, 0), (0, size - len(rows)))
    if not matrix.nnz:
        return np.zeros((width, size), np.int32), np.zeros((width, size), matrix.dtype)
    columns, values = np.where(inside, matrix.indices[entry], 0), np.where(inside, matrix.data[entry], 0)
    return np.pad(columns.astype(np.int32), filler), np.pad(values.astype(matrix.dtype), filler)
