"""Layouts that multiply by JAX's sparse products or by a segment sum."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse

from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.graph import scatter
from lgcn_jax.graph.layout import Layout, Matrix, PaddedSizes, gather_in_bounds, pad_to


@pytree
class BcooLayout(Layout):
    """JAX's BCOO product: gather and scatter-add with an (nnz, d) temporary. The oracle."""

    values: jax.Array
    indices: jax.Array
    shape: tuple[int, int] = static()

    DETERMINISTIC: ClassVar[tuple[str, ...]] = ("cpu", "tpu")  # on a GPU, a scatter-add is atomic

    @classmethod
    def padded_sizes(cls, matrix: Matrix) -> PaddedSizes:
        return {"entries": matrix.nnz}

    @classmethod
    def prepare(cls, matrix: Matrix, padded_sizes: PaddedSizes | None = None) -> "BcooLayout":
        size = (padded_sizes or cls.padded_sizes(matrix))["entries"]
        rows = _row_of_entry(matrix)
        indices = np.stack([rows, matrix.indices], axis=1)
        outside = np.broadcast_to(np.array(matrix.shape, np.int32), (size - matrix.nnz, 2))  # BCOO's own padding
        return cls(pad_to(matrix.data, size), np.concatenate([indices, outside]), matrix.shape)

    @property
    def num_rows(self) -> int:
        return self.shape[0]

    def product(self, x: jax.Array) -> jax.Array:
        return sparse.BCOO((self.values, self.indices), shape=self.shape, indices_sorted=True) @ x


@pytree
class BcsrLayout(Layout):
    """JAX's BCSR product: on CPU a kernel over compressed rows, threaded and without temporaries."""

    values: jax.Array
    columns: jax.Array
    starts: jax.Array
    num_columns: int = static()

    DETERMINISTIC: ClassVar[tuple[str, ...]] = ("cpu", "tpu")  # off the CPU it is a scatter-add too
    SHARE: ClassVar[int] = 4  # rows with up to 1/SHARE of all entries are worth a matrix of their own

    @classmethod
    def padded_sizes(cls, matrix: Matrix) -> PaddedSizes:
        return {"entries": max(1, matrix.nnz)}

    @classmethod
    def prepare(cls, matrix: Matrix, padded_sizes: PaddedSizes | None = None) -> "BcsrLayout":
        size = (padded_sizes or cls.padded_sizes(matrix))[
            "entries"
        ]  # what lies past the last row's end is not looked at
        starts = matrix.indptr.astype(np.int32)
        return cls(pad_to(matrix.data, size), pad_to(matrix.indices, size), starts, matrix.shape[1])

    @property
    def num_rows(self) -> int:
        return self.starts.shape[0] - 1

    def product(self, x: jax.Array) -> jax.Array:
        return self._multiply(self.values, self.columns, self.starts, x)

    def product_at(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """As a product with the matrix of these rows, unless they hold more entries than fit in its arrays."""
        starts = self.starts[nodes]
        degrees = self.starts[nodes + 1] - starts
        # As floats, since integers could overflow; a hundredth is left for their rounding.
        fits = degrees.astype(jnp.float32).sum() <= 0.99 * self._capacity
        return jax.lax.cond(
            fits, self._partial_product, lambda x, nodes, *_: self.product(x)[nodes], x, nodes, starts, degrees
        )

    @property
    def _capacity(self) -> int:
        return max(1, self.values.shape[0] // self.SHARE)

    def _partial_product(self, x: jax.Array, nodes: jax.Array, starts: jax.Array, degrees: jax.Array) -> jax.Array:
        padded_sizes = self._capacity
        stops = jnp.cumsum(degrees, dtype=jnp.int32)
        owner = jnp.repeat(jnp.arange(len(nodes), dtype=jnp.int32), degrees, total_repeat_length=padded_sizes)
        entry = gather_in_bounds(starts - stops + degrees, owner) + jnp.arange(padded_sizes, dtype=jnp.int32)
        entry = jnp.minimum(entry, self.values.shape[0] - 1)  # what lies past the last row's is not looked at
        indptr = jnp.concatenate([jnp.zeros(1, jnp.int32), stops])
        return self._multiply(gather_in_bounds(self.values, entry), gather_in_bounds(self.columns, entry), indptr, x)

    def _multiply(self, values: jax.Array, columns: jax.Array, starts: jax.Array, x: jax.Array) -> jax.Array:
        shape = len(starts) - 1, len(x)
        return sparse.BCSR((values, columns, starts), shape=shape, indices_sorted=True, unique_indices=True) @ x

    def product_of_rows(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """As a product with a table of these rows alone, which stays in a cache, and a row of zeros for all others."""
        count = len(nodes)
        if count >= self.num_columns:
            return super().product_of_rows(rows, nodes)
        rows, nodes = scatter.coalesce(rows, nodes, self.num_columns)
        place = scatter.last_occurrence(nodes, self.num_columns)
        columns = gather_in_bounds(jnp.where(place < 0, count, place), self.columns)
        return self._multiply(self.values, columns, self.starts, jnp.pad(rows, ((0, 1), (0, 0))))


@pytree
class CusparseLayout(BcsrLayout):
    """The same compressed rows, multiplied by NVIDIA's cuSPARSE (by hipSPARSE on AMD's GPUs).

    By way of JAX's CSR, which is always lowered to it. BCSR is only under `jax_bcoo_cusparse_lowering`, a switch of the
    whole process that is read when a program is lowered, and so would change what the other layouts are.
    """

    PLATFORMS: ClassVar[tuple[str, ...]] = ("gpu",)
    DETERMINISTIC: ClassVar[tuple[str, ...]] = ()  # the algorithm that JAX leaves it to may add with atomics

    product_at = Layout.product_at  # it may look past the last row's end, which BcsrLayout takes from anywhere

    def _multiply(self, values: jax.Array, columns: jax.Array, starts: jax.Array, x: jax.Array) -> jax.Array:
        return sparse.CSR((values, columns, starts), shape=(len(starts) - 1, len(x))) @ x


@pytree
class SegmentSumLayout(Layout):
    """Gather and a sum over sorted segments: BCOO's product with the order of its rows made known."""

    values: jax.Array
    row_ids: jax.Array
    column_ids: jax.Array
    num_rows: int = static()

    DETERMINISTIC: ClassVar[tuple[str, ...]] = ("cpu", "tpu")
    ACCEPTS_BFLOAT16: ClassVar[bool] = True

    @classmethod
    def padded_sizes(cls, matrix: Matrix) -> PaddedSizes:
        return {"entries": matrix.nnz}

    @classmethod
    def prepare(cls, matrix: Matrix, padded_sizes: PaddedSizes | None = None) -> "SegmentSumLayout":
        size = (padded_sizes or cls.padded_sizes(matrix))["entries"]
        rows = _row_of_entry(matrix)
        rows = np.pad(rows, (0, size - matrix.nnz), constant_values=matrix.shape[0] - 1)  # zeros added to the last row
        return cls(pad_to(matrix.data, size), rows, pad_to(matrix.indices, size), matrix.shape[0])

    def product(self, x: jax.Array) -> jax.Array:
        edges = self.values[:, None] * gather_in_bounds(x, self.column_ids).astype(self.values.dtype)
        return jax.ops.segment_sum(edges, self.row_ids, self.num_rows, indices_are_sorted=True)


def _row_of_entry(matrix: Matrix) -> np.ndarray:
    """int32[nnz], the row in which each entry stands."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
