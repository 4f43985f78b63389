"""`propagate(layout, x)`: the product A_hat @ x, with its symmetric gradient, in the layout a platform does fastest.

A layout is a pytree with `product(x)`, made from the BCOO matrix and equal to it (tests compare each). Which one is
fastest where is measured by `experiments/benchmarks/propagation.py` and written down in BUILD_NOTES.md.

`combined_rows` is what a train step needs: some rows of the layers' weighted sum. Its first and its last product, one
of them in each direction, concern these rows alone, and a layout may have something faster for them.
"""

import dataclasses
import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse


class Layout:
    """A symmetric matrix [n, n] that multiplies a dense array [n, d] from the left."""

    num_rows: int

    @classmethod
    def prepare(cls, matrix: sparse.BCOO) -> "Layout":
        """The layout of a matrix that is sorted by row and column."""
        raise NotImplementedError

    def product(self, x: jax.Array) -> jax.Array:
        """A_hat @ x, [n, d]."""
        raise NotImplementedError

    def rows(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """(A_hat @ x)[nodes] for int32[m] `nodes`, repeats allowed: [m, d]."""
        return self.product(x)[nodes]

    def spread(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """The transpose of `rows`: A_hat @ x, [n, d], for the x that is zero but for the sums of `rows` at `nodes`."""
        return self.product(_scattered(self.num_rows, rows, nodes))


@jax.custom_vjp
def propagate(layout: Layout, x: jax.Array) -> jax.Array:
    """A_hat @ x: one propagation of x [num_nodes, d] along all edges.

    A_hat is symmetric, so the gradient with respect to x is the same product; the layout has no gradient.
    """
    return layout.product(x)


def _forward(layout: Layout, x: jax.Array):
    return layout.product(x), layout


def _backward(layout: Layout, gradient: jax.Array):
    return None, layout.product(gradient)


propagate.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def combined_rows(
    layout: Layout, weights: tuple[float, ...], table: jax.Array, nodes: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Rows of the layers' weighted sum: (sum_k weights[k] A_hat^k table)[nodes], and table[nodes], each [m, d].

    Args:
      layout: of A_hat, n nodes.
      weights: alpha_0..alpha_K; static.
      table: [n, d].
      nodes: int32[m], repeats allowed.
    """
    inner, scale = table, weights[-1]
    for weight in weights[-2:0:-1]:  # Horner's rule: no layer is kept for a sum at the end
        inner, scale = weight * table + scale * layout.product(inner), 1.0
    if len(weights) == 1:
        return weights[0] * table[nodes], table[nodes]
    return weights[0] * table[nodes] + scale * layout.rows(inner, nodes), table[nodes]


def _combined_forward(layout: Layout, weights: tuple[float, ...], table: jax.Array, nodes: jax.Array):
    return combined_rows(layout, weights, table, nodes), (layout, nodes)


def _combined_backward(weights: tuple[float, ...], kept, gradients: tuple[jax.Array, jax.Array]):
    """The same polynomial of A_hat, applied to a gradient that only the `nodes` have: sums in place, never a pass."""
    (layout, nodes), (combined, own) = kept, gradients
    own = weights[0] * combined + own
    if len(weights) == 1:
        return None, _scattered(layout.num_rows, own, nodes), None
    total = layout.spread(weights[-1] * combined, nodes)
    for weight in weights[-2:0:-1]:
        total = layout.product(total.at[nodes].add(weight * combined))
    return None, total.at[nodes].add(own), None


combined_rows.defvjp(_combined_forward, _combined_backward)


def _scattered(num_rows: int, rows: jax.Array, nodes: jax.Array) -> jax.Array:
    return jnp.zeros((num_rows, rows.shape[1]), rows.dtype).at[nodes].add(rows)


def _layout(cls):
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


@_layout
class Bcoo(Layout):
    """JAX's BCOO product: gather and scatter-add with an (nnz, d) temporary. The oracle."""

    matrix: sparse.BCOO

    @classmethod
    def prepare(cls, matrix: sparse.BCOO) -> "Bcoo":
        return cls(matrix)

    @property
    def num_rows(self) -> int:
        return self.matrix.shape[0]

    def product(self, x: jax.Array) -> jax.Array:
        return self.matrix @ x


@_layout
class Bcsr(Layout):
    """JAX's BCSR product: on CPU a kernel over compressed rows, threaded and without temporaries."""

    matrix: sparse.BCSR

    SHARE: typing.ClassVar[int] = 4  # rows with up to 1/SHARE of all entries are worth a matrix of their own

    @classmethod
    def prepare(cls, matrix: sparse.BCOO) -> "Bcsr":
        arrays = matrix.data, matrix.indices[:, 1], jnp.asarray(_starts(matrix))
        return cls(_bcsr(*arrays, matrix.shape))

    @property
    def num_rows(self) -> int:
        return self.matrix.shape[0]

    def product(self, x: jax.Array) -> jax.Array:
        return self.matrix @ x

    def rows(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """As a product with the matrix of these rows, unless they hold more entries than fit in its arrays."""
        capacity = self.matrix.nse // self.SHARE
        starts = self.matrix.indptr[nodes]
        degrees = self.matrix.indptr[nodes + 1] - starts
        # As floats, since integers could overflow; a hundredth is left for their rounding.
        fits = degrees.astype(jnp.float32).sum() <= 0.99 * capacity
        return jax.lax.cond(fits, self._partial, lambda x, nodes, *_: self.product(x)[nodes], x, nodes, starts, degrees)

    def _partial(self, x: jax.Array, nodes: jax.Array, starts: jax.Array, degrees: jax.Array) -> jax.Array:
        capacity = max(1, self.matrix.nse // self.SHARE)
        stops = jnp.cumsum(degrees, dtype=jnp.int32)
        owner = jnp.repeat(jnp.arange(len(nodes), dtype=jnp.int32), degrees, total_repeat_length=capacity)
        entry = (starts - stops + degrees)[owner] + jnp.arange(capacity, dtype=jnp.int32)
        entry = jnp.minimum(entry, self.matrix.nse - 1)  # what lies past the last row's is not looked at
        indptr = jnp.concatenate([jnp.zeros(1, jnp.int32), stops])
        shape = len(nodes), self.matrix.shape[1]
        return _bcsr(self.matrix.data[entry], self.matrix.indices[entry], indptr, shape) @ x

    def spread(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """As a product with a table of these rows alone, which stays in a cache, and a row of zeros for all others."""
        count = len(nodes)
        if count >= self.num_rows:
            return super().spread(rows, nodes)
        # Of a node that is there several times, any place will do: its rows are summed there.
        place = jnp.full(self.num_rows, count, jnp.int32).at[nodes].set(jnp.arange(count, dtype=jnp.int32))
        table = _scattered(count + 1, rows, place[nodes])
        shape = self.num_rows, count + 1
        return _bcsr(self.matrix.data, place[self.matrix.indices], self.matrix.indptr, shape) @ table


def _bcsr(data: jax.Array, indices: jax.Array, indptr: jax.Array, shape: tuple[int, int]) -> sparse.BCSR:
    return sparse.BCSR((data, indices, indptr), shape=shape, indices_sorted=True, unique_indices=True)


@_layout
class Segment(Layout):
    """Gather and a sum over sorted segments: BCOO's product with the order of its rows made known."""

    values: jax.Array
    row_ids: jax.Array
    column_ids: jax.Array
    num_rows: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def prepare(cls, matrix: sparse.BCOO) -> "Segment":
        return cls(matrix.data, matrix.indices[:, 0], matrix.indices[:, 1], matrix.shape[0])

    def product(self, x: jax.Array) -> jax.Array:
        edges = self.values[:, None] * x[self.column_ids]
        return jax.ops.segment_sum(edges, self.row_ids, self.num_rows, indices_are_sorted=True)


@_layout
class Bucket(Layout):
    """Rows in buckets of similar degree, each a padded rectangle of neighbours: gathers only, no scatter.

    Bucket b holds the rows with a degree in (w_b / 2, w_b], w_b a power of two, as `columns` int32[w_b, rows] and
    `values` [w_b, rows] padded with zeros; `position` int32[num_rows] says where a row stands in the buckets laid end
    to end. The order of every sum is fixed, so the product is deterministic on every platform.
    """

    columns: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    position: jax.Array

    UNROLLED: typing.ClassVar[int] = 8  # neighbours added per turn of the loop

    @classmethod
    def prepare(cls, matrix: sparse.BCOO) -> "Bucket":
        starts, columns, values = _starts(matrix), np.asarray(matrix.indices[:, 1]), np.asarray(matrix.data)
        degree = np.diff(starts)
        width = 1 << np.ceil(np.log2(np.maximum(degree, 1))).astype(np.int64)
        position = np.empty(len(degree), np.int32)
        position[np.argsort(width, kind="stable")] = np.arange(len(degree))
        buckets = []
        for w in np.unique(width):
            rows = np.flatnonzero(width == w)
            neighbour = np.arange(w)[:, None]
            inside = neighbour < degree[rows]
            entry = np.minimum(starts[rows] + neighbour, len(values) - 1)
            buckets.append((np.where(inside, columns[entry], 0), np.where(inside, values[entry], 0)))
        padded = ([jnp.asarray(array) for array in arrays] for arrays in zip(*buckets, strict=True))
        return cls(*map(tuple, padded), jnp.asarray(position))

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
                total = total + value[:, None] * x[column]
            return total, None

        turns = tuple(array.reshape(-1, turn, array.shape[1]) for array in (columns, values))
        total = jnp.zeros((columns.shape[1], x.shape[1]), x.dtype)
        return jax.lax.scan(add, total, turns)[0]


LAYOUTS: dict[str, type[Layout]] = {"bcoo": Bcoo, "bcsr": Bcsr, "segment": Segment, "bucket": Bucket}

# BCSR has a kernel of its own on CPU only; elsewhere its fallback scatters, so the gathers of `Bucket` are the default.
FASTEST = {"cpu": "bcsr"}


def choose(name: str = "auto") -> str:
    """The layout meant by `name`: itself, or for 'auto' the default of the platform that JAX runs on."""
    return FASTEST.get(jax.default_backend(), "bucket") if name == "auto" else name


def prepare(matrix: sparse.BCOO, name: str = "auto") -> Layout:
    """The symmetric matrix, sorted by row and column, in the named layout."""
    return LAYOUTS[choose(name)].prepare(matrix)


def _starts(matrix: sparse.BCOO) -> np.ndarray:
    """Host: int32[n + 1], where each row's entries begin."""
    counts = np.bincount(np.asarray(matrix.indices[:, 0]), minlength=matrix.shape[0])
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
