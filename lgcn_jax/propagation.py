"""`propagate(layout, x)`: the product A_hat @ x, with its symmetric gradient, in the layout a platform does fastest.

A layout is a pytree with `product(x)`, made from the BCOO matrix and equal to it (tests compare each). Which one is
fastest where is measured by `experiments/benchmarks/propagation.py` and written down in BUILD_NOTES.md.
"""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse


class Layout(typing.Protocol):
    """A symmetric matrix [n, n] that multiplies a dense array [n, d] from the left."""

    @classmethod
    def prepare(cls, matrix: sparse.BCOO) -> "Layout": ...

    def product(self, x: jax.Array) -> jax.Array: ...


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


def _layout(cls):
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


@_layout
class Bcoo:
    """JAX's BCOO product: gather and scatter-add with an (nnz, d) temporary. The oracle."""

    matrix: sparse.BCOO

    @classmethod
    def prepare(cls, matrix: sparse.BCOO) -> "Bcoo":
        return cls(matrix)

    def product(self, x: jax.Array) -> jax.Array:
        return self.matrix @ x


@_layout
class Bcsr:
    """JAX's BCSR product: on CPU a kernel over compressed rows, threaded and without temporaries."""

    matrix: sparse.BCSR

    @classmethod
    def prepare(cls, matrix: sparse.BCOO) -> "Bcsr":
        arrays = matrix.data, matrix.indices[:, 1], jnp.asarray(_starts(matrix))
        return cls(sparse.BCSR(arrays, shape=matrix.shape, indices_sorted=True, unique_indices=True))

    def product(self, x: jax.Array) -> jax.Array:
        return self.matrix @ x


@_layout
class Segment:
    """Gather and a sum over sorted segments: BCOO's product with the order of its rows made known."""

    values: jax.Array
    rows: jax.Array
    columns: jax.Array
    num_rows: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def prepare(cls, matrix: sparse.BCOO) -> "Segment":
        return cls(matrix.data, matrix.indices[:, 0], matrix.indices[:, 1], matrix.shape[0])

    def product(self, x: jax.Array) -> jax.Array:
        edges = self.values[:, None] * x[self.columns]
        return jax.ops.segment_sum(edges, self.rows, self.num_rows, indices_are_sorted=True)


@_layout
class Bucket:
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
