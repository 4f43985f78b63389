"""Vectors of users and items by alternating least squares."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.baselines.baseline import Baseline, Solution
from lgcn_jax.baselines.matrices import Matrix, train_matrix
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.evaluation.scorers import DotProduct
from lgcn_jax.settings import integer, real

Rectangle = tuple[np.ndarray, np.ndarray, np.ndarray]
ELEMENTS = 1 << 22  # numbers of the vectors that are gathered at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class IALS(Baseline):
    """iALS (Hu et al. 2008) with the settings of Rendle et al. (2022): user vectors W and item vectors H minimize

        sum over train pairs (w_u . h_i - 1)^2 + unobserved * sum over all pairs (w_u . h_i)^2
        + l2 * (sum_u (n_u + unobserved I)^nu |w_u|^2 + sum_i (n_i + unobserved U)^nu |h_i|^2)

    with n_u and n_i the pairs of a user and an item, U and I the numbers of users and items. Each sweep solves for all
    users exactly, then for all items. The first item vectors are drawn from N(0, 0.1^2 / width).
    """

    width: int = integer(64, "length of the vectors")
    unobserved: float = real(0.1, "weight of each pair, observed or not", lambda v: v > 0, "a number above 0")
    l2: float = real(0.003, "weight of the squares of vectors", lambda v: v > 0, "a number above 0")
    nu: float = real(1.0, "exponent of the degrees by which l2 is scaled", lambda v: v >= 0, "a number from 0")
    sweeps: int = integer(16, "rounds over all users and items")
    seed: int = integer(2020, "of the first vectors", least=0)

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        train = train_matrix(interactions, dtype)
        turns = [
            (list(_rectangles_of_rows(matrix, self.width)), self._l2_weights(matrix))
            for matrix in (train, train.T.tocsr())
        ]
        draws = np.random.default_rng(self.seed).standard_normal((interactions.num_items, self.width))
        items = users = jnp.asarray(draws * 0.1 / np.sqrt(self.width), dtype)
        for _ in range(self.sweeps):
            users = self._solve_side(*turns[0], items)
            items = self._solve_side(*turns[1], users)
        return {"user_embeddings": np.asarray(users), "item_embeddings": np.asarray(items)}

    def scorer(self, solution: Solution) -> DotProduct:
        return DotProduct(solution["user_embeddings"], solution["item_embeddings"])  # type: ignore[arg-type]

    def _l2_weights(self, matrix: Matrix) -> np.ndarray:
        """The weight of the square of each row's vector, and 1 for padding."""
        degrees = np.diff(matrix.indptr) + self.unobserved * matrix.shape[1]
        return np.append(self.l2 * degrees**self.nu, 1).astype(matrix.dtype)

    def _solve_side(self, rectangles: list[Rectangle], weights: np.ndarray, others: jax.Array) -> jax.Array:
        """[n, width]: the vectors of all rows, given those of all columns."""
        found = jnp.zeros((len(weights) - 1, self.width), others.dtype)
        shared = jnp.asarray(self.unobserved, others.dtype) * jnp.matmul(others.T, others, precision="highest")
        for rows, columns, inside in rectangles:
            found = found.at[rows].set(_solve_rectangle(others, shared, columns, inside, weights[rows]), mode="drop")
        return found


@jax.jit
def _solve_rectangle(others: jax.Array, shared: jax.Array, columns: Any, inside: Any, weights: Any) -> jax.Array:
    """[n, width]: (shared + sum of h h^T + weight I)^-1 (sum of h), h the vectors of the columns of each row."""
    vectors = others[columns] * inside[:, :, None]
    square = jnp.einsum("nwd,nwe->nde", vectors, vectors, precision="highest") + shared[None]
    square = square + weights[:, None, None] * jnp.eye(len(shared), dtype=shared.dtype)[None]
    factor = jax.scipy.linalg.cho_factor(square, lower=True)
    return jax.scipy.linalg.cho_solve(factor, vectors.sum(1)[:, :, None])[:, :, 0]


def _rectangles_of_rows(matrix: Matrix, width: int) -> Iterator[Rectangle]:
    """Rows of about equal length together: their numbers [n], columns [n, w] and which of them are there [n, w].

    w are powers of two, and n is the same for each w: few programs are compiled. Padding has a number past the end.
    """
    lengths = np.diff(matrix.indptr)
    classes = 1 << np.ceil(np.log2(np.maximum(lengths, 8))).astype(int)
    for w in np.unique(classes).tolist():
        rows = np.flatnonzero(classes == w)
        size = int(np.clip(ELEMENTS // (width * max(w, width)), 1, len(rows)))
        for first in range(0, len(rows), size):
            some = rows[first : first + size]
            inside = np.zeros((size, w), bool)
            inside[: len(some)] = np.arange(w) < lengths[some][:, None]
            columns = np.zeros((size, w), np.int32)
            columns[inside] = np.concatenate([matrix.indices[matrix.indptr[r] : matrix.indptr[r + 1]] for r in some])
            numbers = np.full(size, matrix.shape[0], np.int32)
            numbers[: len(some)] = some
            yield numbers, columns, inside.astype(matrix.dtype)
