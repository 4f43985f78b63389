"""Layouts of a sparse matrix: the forms in which `propagation` multiplies, in plain XLA; `kernel` has one that is not.

A layout is a pytree with `product(x)`, made on the host from compressed rows and equal to them (tests compare each).
Blocks of one matrix get arrays of equal shapes by sharing a `room`, so that they can be stacked over devices.
"""

import dataclasses
from collections.abc import Hashable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse

from lgcn_jax.graph import scatter

Matrix = scipy.sparse.csr_matrix  # of sorted, unique entries
Room = dict[Hashable, int]


class Layout:
    """A matrix [n, m] that multiplies a dense array [m, d] from the left; symmetric where it is a whole A_hat."""

    PLATFORMS: ClassVar[tuple[str, ...]] = ("cpu", "gpu", "tpu")  # where it works
    DETERMINISTIC: ClassVar[tuple[str, ...]] = ("cpu", "gpu", "tpu")  # where a product has the same bits every time
    NARROW: ClassVar[bool] = False  # whether it takes x in a narrower dtype, to read less and sum in the matrix's

    num_rows: int

    @classmethod
    def room(cls, matrix: Matrix) -> Room:
        """The sizes of the arrays that `prepare` makes of the matrix, as far as they depend on its entries."""
        raise NotImplementedError

    @classmethod
    def prepare(cls, matrix: Matrix, room: Room | None = None) -> "Layout":
        """Host: the layout of a matrix, of NumPy arrays, padded to `room` where one is given."""
        raise NotImplementedError

    def product(self, x: jax.Array) -> jax.Array:
        """The product with x [m, d]: [n, d]."""
        raise NotImplementedError

    def rows(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """Some rows of the product, product(x)[nodes] for int32[b] `nodes`, repeats allowed: [b, d]."""
        return self.product(x)[nodes]

    def spread(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """The product with the table that is zero but for the sums of `rows` [b, d] at `nodes`: [n, d]."""
        return self.product(self.scatter(rows, nodes))

    def take(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """x[nodes]."""
        return x[nodes]

    def own(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """x[nodes] for nodes whose rows are on this device."""
        return x[nodes]

    def add(self, x: jax.Array, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """x with `rows` added at `nodes`, repeats allowed."""
        return scatter.add(x, rows, nodes)

    def scatter(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """The table that is zero but for the sums of `rows` at `nodes`: [n, d]."""
        return self.add(jnp.zeros((self.num_rows, rows.shape[1]), rows.dtype), rows, nodes)


def pytree(cls):
    """Makes a class of annotated fields a frozen dataclass and a pytree."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


def joined(rooms: list[Room]) -> Room:
    """Room enough for each of the matrices."""
    return {size: max(room.get(size, 0) for room in rooms) for size in sorted(set().union(*rooms), key=str)}


def gathered(x: jax.Array, places: jax.Array) -> jax.Array:
    """x[places] for places that are in bounds and not negative.

    Without looking at them: for an index that stays the same, XLA would keep a flag of each entry all the time.
    """
    return x.at[places].get(mode="promise_in_bounds", wrap_negative_indices=False)


def static():
    """A field that is no array but part of the layout's type."""
    return dataclasses.field(metadata={"static": True})


def padded(array: np.ndarray, size: int) -> np.ndarray:
    return np.pad(array, (0, size - len(array)))


@pytree
class Bcoo(Layout):
    """JAX's BCOO product: gather and scatter-add with an (nnz, d) temporary. The oracle."""

    values: jax.Array
    indices: jax.Array
    shape: tuple[int, int] = static()

    DETERMINISTIC: ClassVar[tuple[str, ...]] = ("cpu", "tpu")  # on a GPU, a scatter-add is atomic

    @classmethod
    def room(cls, matrix: Matrix) -> Room:
        return {"entries": matrix.nnz}

    @classmethod
    def prepare(cls, matrix: Matrix, room: Room | None = None) -> "Bcoo":
        size = (room or cls.room(matrix))["entries"]
        rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        indices = np.stack([rows, matrix.indices], axis=1)
        outside = np.broadcast_to(np.array(matrix.shape, np.int32), (size - matrix.nnz, 2))  # BCOO's own padding
        return cls(padded(matrix.data, size), np.concatenate([indices, outside]), matrix.shape)

    @property
    def num_rows(self) -> int:
        return self.shape[0]

    def product(self, x: jax.Array) -> jax.Array:
        return sparse.BCOO((self.values, self.indices), shape=self.shape, indices_sorted=True) @ x


@pytree
class Bcsr(Layout):
    """JAX's BCSR product: on CPU a kernel over compressed rows, threaded and without temporaries."""

    values: jax.Array
    columns: jax.Array
    starts: jax.Array
    num_columns: int = static()

    DETERMINISTIC: ClassVar[tuple[str, ...]] = ("cpu", "tpu")  # off the CPU it is a scatter-add too
    SHARE: ClassVar[int] = 4  # rows with up to 1/SHARE of all entries are worth a matrix of their own

    @classmethod
    def room(cls, matrix: Matrix) -> Room:
        return {"entries": max(1, matrix.nnz)}

    @classmethod
    def prepare(cls, matrix: Matrix, room: Room | None = None) -> "Bcsr":
        size = (room or cls.room(matrix))["entries"]  # what lies past the last row's end is not looked at
        starts = matrix.indptr.astype(np.int32)
        return cls(padded(matrix.data, size), padded(matrix.indices, size), starts, matrix.shape[1])

    @property
    def num_rows(self) -> int:
        return self.starts.shape[0] - 1

    def product(self, x: jax.Array) -> jax.Array:
        return self._multiply(self.values, self.columns, self.starts, x)

    def rows(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """As a product with the matrix of these rows, unless they hold more entries than fit in its arrays."""
        starts = self.starts[nodes]
        degrees = self.starts[nodes + 1] - starts
        # As floats, since integers could overflow; a hundredth is left for their rounding.
        fits = degrees.astype(jnp.float32).sum() <= 0.99 * self._capacity
        return jax.lax.cond(fits, self._partial, lambda x, nodes, *_: self.product(x)[nodes], x, nodes, starts, degrees)

    @property
    def _capacity(self) -> int:
        return max(1, self.values.shape[0] // self.SHARE)

    def _partial(self, x: jax.Array, nodes: jax.Array, starts: jax.Array, degrees: jax.Array) -> jax.Array:
        capacity = self._capacity
        stops = jnp.cumsum(degrees, dtype=jnp.int32)
        owner = jnp.repeat(jnp.arange(len(nodes), dtype=jnp.int32), degrees, total_repeat_length=capacity)
        entry = gathered(starts - stops + degrees, owner) + jnp.arange(capacity, dtype=jnp.int32)
        entry = jnp.minimum(entry, self.values.shape[0] - 1)  # what lies past the last row's is not looked at
        indptr = jnp.concatenate([jnp.zeros(1, jnp.int32), stops])
        return self._multiply(gathered(self.values, entry), gathered(self.columns, entry), indptr, x)

    def _multiply(self, values: jax.Array, columns: jax.Array, starts: jax.Array, x: jax.Array) -> jax.Array:
        shape = len(starts) - 1, len(x)
        return sparse.BCSR((values, columns, starts), shape=shape, indices_sorted=True, unique_indices=True) @ x

    def spread(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """As a product with a table of these rows alone, which stays in a cache, and a row of zeros for all others."""
        count = len(nodes)
        if count >= self.num_columns:
            return super().spread(rows, nodes)
        rows, nodes = scatter.merged(rows, nodes, self.num_columns)
        place = scatter.last_places(nodes, self.num_columns)
        columns = gathered(jnp.where(place < 0, count, place), self.columns)
        return self._multiply(self.values, columns, self.starts, jnp.pad(rows, ((0, 1), (0, 0))))


@pytree
class Cusparse(Bcsr):
    """The same compressed rows, multiplied by NVIDIA's cuSPARSE (by hipSPARSE on AMD's GPUs).

    By way of JAX's CSR, which is always lowered to it. BCSR is only under `jax_bcoo_cusparse_lowering`, a switch of the
    whole process that is read when a program is lowered, and so would change what the other layouts are.
    """

    PLATFORMS: ClassVar[tuple[str, ...]] = ("gpu",)
    DETERMINISTIC: ClassVar[tuple[str, ...]] = ()  # the algorithm that JAX leaves it to may add with atomics

    rows = Layout.rows  # it may look at entries past the last row's end, which Bcsr.rows takes from anywhere

    def _multiply(self, values: jax.Array, columns: jax.Array, starts: jax.Array, x: jax.Array) -> jax.Array:
        return sparse.CSR((values, columns, starts), shape=(len(starts) - 1, len(x))) @ x


@pytree
class Segment(Layout):
    """Gather and a sum over sorted segments: BCOO's product with the order of its rows made known."""

    values: jax.Array
    row_ids: jax.Array
    column_ids: jax.Array
    num_rows: int = static()

    DETERMINISTIC: ClassVar[tuple[str, ...]] = ("cpu", "tpu")
    NARROW: ClassVar[bool] = True

    @classmethod
    def room(cls, matrix: Matrix) -> Room:
        return {"entries": matrix.nnz}

    @classmethod
    def prepare(cls, matrix: Matrix, room: Room | None = None) -> "Segment":
        size = (room or cls.room(matrix))["entries"]
        rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        rows = np.pad(rows, (0, size - matrix.nnz), constant_values=matrix.shape[0] - 1)  # zeros added to the last row
        return cls(padded(matrix.data, size), rows, padded(matrix.indices, size), matrix.shape[0])

    def product(self, x: jax.Array) -> jax.Array:
        edges = self.values[:, None] * gathered(x, self.column_ids).astype(self.values.dtype)
        return jax.ops.segment_sum(edges, self.row_ids, self.num_rows, indices_are_sorted=True)


@pytree
class Bucket(Layout):
    """Rows in buckets of similar degree, each a padded rectangle of neighbours: gathers only, no scatter.

    Bucket b holds the rows with a degree in (w_b / 2, w_b], w_b a power of two, as `columns` int32[w_b, rows] and
    `values` [w_b, rows] padded with zeros; `position` int32[num_rows] says where a row stands in the buckets laid end
    to end. The order of every sum is fixed, so the product is deterministic on every platform.
    """

    columns: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    position: jax.Array

    NARROW: ClassVar[bool] = True
    UNROLLED: ClassVar[int] = 8  # neighbours added per turn of the loop

    @classmethod
    def room(cls, matrix: Matrix) -> Room:
        widths, counts = np.unique(_widths(matrix), return_counts=True)
        return dict(zip(widths.tolist(), counts.tolist(), strict=True))

    @classmethod
    def prepare(cls, matrix: Matrix, room: Room | None = None) -> "Bucket":
        room, width = room or cls.room(matrix), _widths(matrix)
        position = np.empty(matrix.shape[0], np.int32)
        buckets, before = [], 0
        for w, size in sorted(room.items()):
            rows = np.flatnonzero(width == w)
            position[rows] = before + np.arange(len(rows))
            buckets.append(_rectangle(matrix, rows, w, size))
            before += size
        return cls(*zip(*buckets, strict=True), position)

    @property
    def num_rows(self) -> int:
        return self.position.shape[0]

    def product(self, x: jax.Array) -> jax.Array:
        summed = [self._sum(columns, values, x) for columns, values in zip(self.columns, self.values, strict=True)]
        return jnp.concatenate(summed)[self.position]

    def _sum(self, columns: jax.Array, values: jax.Array, x: jax.Array) -> jax.Array:
        turn = min(self.UNROLLED, columns.shape[0])

        def add(total, neighbours):
            for column, value in zip(*neighbours, strict=True):
                total = total + value[:, None] * gathered(x, column).astype(value.dtype)
            return total, None

        turns = tuple(array.reshape(-1, turn, array.shape[1]) for array in (columns, values))
        total = jnp.zeros((columns.shape[1], x.shape[1]), values.dtype)
        return jax.lax.scan(add, total, turns)[0]


def _widths(matrix: Matrix) -> np.ndarray:
    """int64[n]: each row's degree, rounded up to a power of two."""
    return 1 << np.ceil(np.log2(np.maximum(np.diff(matrix.indptr), 1))).astype(np.int64)


def _rectangle(matrix: Matrix, rows: np.ndarray, width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns int32 and values of some rows, [width, size]: a column for each row, padded with zeros."""
    neighbour = np.arange(width)[:, None]
    inside = neighbour < np.diff(matrix.indptr)[rows]
    entry = np.minimum(matrix.indptr[rows] + neighbour, max(matrix.nnz - 1, 0))
    filler = ((0, 0), (0, size - len(rows)))
    if not matrix.nnz:
        return np.zeros((width, size), np.int32), np.zeros((width, size), matrix.dtype)
    columns, values = np.where(inside, matrix.indices[entry], 0), np.where(inside, matrix.data[entry], 0)
    return np.pad(columns.astype(np.int32), filler), np.pad(values.astype(matrix.dtype), filler)
