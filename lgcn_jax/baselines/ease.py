"""Items by a linear model of all others, in closed form."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from lgcn_jax.baselines.baseline import Baseline, Solution, require_memory
from lgcn_jax.baselines.matrices import matrix_from_arrays, matrix_to_arrays, train_matrix
from lgcn_jax.baselines.scorers import DenseProduct, SparseRows
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.settings import real

BLOCK = 4096  # items that are swept at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class EASE(Baseline):
    """EASE^R (Steck 2019): R B with the B of zero diagonal that minimizes |R - R B|^2 + l2 |B|^2.

        P = (R^T R + l2 I)^-1,  B = I - P diag(1 / diag(P)),  scores = R B

    B is dense, num_items x num_items. Published with l2 80 on Gowalla, 300 on Yelp2018, 50 on Amazon-Book.
    """

    l2: float = real(80.0, "weight of the squares of the weights", lambda v: v > 0, "a number above 0")

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        size, items = np.dtype(dtype).itemsize, interactions.num_items
        needed = 2.0 * size * items**2  # once while it is inverted, and once more on the device
        require_memory("--model=ease", needed, f"{items:,} x {items:,} weights, twice", "gf-cf needs none of it")
        train = train_matrix(interactions, dtype)
        gram = (train.T @ train).toarray()
        gram[np.diag_indices(items)] += self.l2
        weights = _invert_symmetric(gram)
        diagonal = weights.diagonal().copy()
        weights /= -diagonal  # in place: there may be no room for two
        weights[np.diag_indices(items)] = 0
        return matrix_to_arrays(train, "train") | {"weights": weights}

    def scorer(self, solution: Solution) -> DenseProduct:
        weights = solution["weights"]
        return DenseProduct(SparseRows.of(matrix_from_arrays(solution, "train", len(weights))), weights)  # type: ignore[arg-type]


def _invert_symmetric(matrix: np.ndarray) -> np.ndarray:
    """The inverse of a symmetric positive definite matrix, in its place on a CPU."""
    if jax.default_backend() != "cpu":
        factor = jax.scipy.linalg.cho_factor(jnp.asarray(matrix), lower=True)
        return np.array(jax.scipy.linalg.cho_solve(factor, jnp.eye(len(matrix), dtype=matrix.dtype)))
    blocks = [slice(first, min(first + BLOCK, len(matrix))) for first in range(0, len(matrix), BLOCK)]
    for block in blocks:
        _sweep(matrix, block, blocks)
    np.negative(matrix, out=matrix)
    for block in blocks:
        matrix[block, block.stop :] = matrix[block.stop :, block].T
    return matrix


def _sweep(matrix: np.ndarray, block: slice, blocks: list[slice]) -> None:
    """Sweeps block k, in place (the sweep operator, Beaton 1964); once all are swept, the matrix is minus the inverse.

    With P = A_kk^-1, A_ij becomes A_ij - A_ik P A_kj, A_ik becomes A_ik P, and A_kk becomes -P. Only blocks on the
    diagonal and below are read and written. One Cholesky factor of the whole would do, but OpenBLAS crashed on it with
    two threads (40,981 rows, SciPy 1.17.1).
    """
    column = np.concatenate([matrix[block, : block.start].T, matrix[block.start :, block]])
    inverse = _invert_by_cholesky(column[block])
    solved = column @ inverse
    for rows in blocks:
        if rows != block:
            matrix[rows, : rows.stop] -= solved[rows] @ column[: rows.stop].T
    matrix[block, : block.start] = solved[: block.start].T
    matrix[block.stop :, block] = solved[block.stop :]
    matrix[block, block] = -inverse


def _invert_by_cholesky(matrix: np.ndarray) -> np.ndarray:
    """The inverse of a symmetric positive definite matrix.

    Raises:
      InputError: rounding has left it no longer positive definite.
    """
    factorize, invert = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (matrix,))
    factor, failed = factorize(matrix, lower=True)
    if failed:
        found = f"so small that R^T R + l2 I is not positive definite in {matrix.dtype}"
        raise InputError("--l2", found, "a larger number")
    lower, _ = invert(factor, lower=True)
    return np.tril(lower) + np.tril(lower, -1).T
