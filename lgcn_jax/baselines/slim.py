"""Items by sparse linear models of the items that are nearest to them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from lgcn_jax.baselines.baseline import Solution
from lgcn_jax.baselines.matrices import Matrix, matrix_from_arrays, matrix_to_arrays, train_matrix
from lgcn_jax.baselines.neighbors import Neighborhood, nearest_columns
from lgcn_jax.baselines.scorers import SparseProduct, SparseRows
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.settings import integer, real

ELEMENTS = 1 << 24  # numbers of the Gram matrices that are there at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class SLIM(Neighborhood):
    """SLIM with feature selection (Ning and Karypis 2011): R W with the W of zero diagonal that minimizes

        1/2 |R - R W|^2 + l2 / 2 |W|^2 + l1 sum |W|,  W >= 0,

    where column j has entries at the `neighbors` nearest items of j alone (`neighbors.nearest_columns`). Each column by
    coordinate descent from 0, `sweeps` times over its entries; of Gram matrices, none is larger than neighbors^2.
    """

    l1: float = real(1.0, "weight of the sum of the weights", lambda v: v >= 0, "a number from 0")
    l2: float = real(50.0, "weight of their squares", lambda v: v > 0, "a number above 0")
    sweeps: int = integer(30, "rounds over the entries of each column")

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        train = train_matrix(interactions, dtype)
        similar = nearest_columns(train, self)
        columns = train.T.tocsr()
        width = max(int(np.diff(similar.indptr).max()), 1)
        size = int(np.clip(ELEMENTS // width**2, 1, similar.shape[0]))
        found = []
        for first in range(0, similar.shape[0], size):
            items = np.arange(first, min(first + size, similar.shape[0]))
            squares, targets = _normal_equations(columns, similar, items, size, width)
            found.append(
                np.asarray(_coordinate_descent(squares, targets, self.sweeps, *np.array([self.l1, self.l2], dtype)))
            )
        values = np.concatenate(found)[: similar.shape[0]]
        values = values[np.arange(width) < np.diff(similar.indptr)[:, None]]
        weights = scipy.sparse.csr_matrix((values, similar.indices, similar.indptr), shape=similar.shape).T.tocsr()
        weights.eliminate_zeros()
        return matrix_to_arrays(train, "train") | matrix_to_arrays(weights, "weights")

    def scorer(self, solution: Solution) -> SparseProduct:
        num_items = len(solution["weights_indptr"]) - 1
        train, weights = (SparseRows.of(matrix_from_arrays(solution, name, num_items)) for name in ("train", "weights"))
        return SparseProduct(train, weights, np.zeros(num_items, train.values.dtype))  # type: ignore[arg-type]


def _normal_equations(
    columns: Matrix, similar: Matrix, items: np.ndarray, size: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """[size, width, width] and [size, width]: the Gram matrix of each item's neighbors, and their products with it.

    `columns` [num_items, num_users] are the users of each item.
    """
    squares, targets = np.zeros((size, width, width), columns.dtype), np.zeros((size, width), columns.dtype)
    for place, item in enumerate(items):
        near = similar.indices[similar.indptr[item] : similar.indptr[item + 1]]
        some, count = columns[np.append(near, item)], len(near)
        gram = (some @ some.T).toarray()
        squares[place, :count, :count], targets[place, :count] = gram[:count, :count], gram[:count, count]
    return squares, targets


@jax.jit
def _coordinate_descent(squares: jax.Array, targets: jax.Array, sweeps: int, l1: jax.Array, l2: jax.Array) -> jax.Array:
    """[n, width]: the weights of all systems after as many sweeps; those of padding stay 0."""
    width = targets.shape[1]

    def update(turn, weights):
        place = turn % width
        row = squares[:, place]
        rest = targets[:, place] - (row * weights).sum(1) + row[:, place] * weights[:, place]
        return weights.at[:, place].set(jnp.maximum(rest - l1, 0) / (row[:, place] + l2))

    return jax.lax.fori_loop(0, sweeps * width, update, jnp.zeros_like(targets))
