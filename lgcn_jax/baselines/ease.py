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
from lgcn_jax.settings import real

BLOCK = 4096  # rows that are mirrored at a time


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
        require_memory("ease", needed, f"{items:,} x {items:,} weights, twice", "gf-cf needs none of it")
        train = train_matrix(interactions, dtype)
        gram = (train.T @ train).toarray(order="F")
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
    """The inverse of a symmetric positive definite matrix in column order, in its place on a CPU; in row order."""
    if jax.default_backend() != "cpu":
        factor = jax.scipy.linalg.cho_factor(jnp.asarray(matrix), lower=True)
        return np.array(jax.scipy.linalg.cho_solve(factor, jnp.eye(len(matrix), dtype=matrix.dtype)))
    factorize, invert = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (matrix,))
    matrix, _ = factorize(matrix, lower=True, overwrite_a=True)
    matrix, _ = invert(matrix, lower=True, overwrite_c=True)
    inverse = matrix.T  # row order; what was computed is the upper triangle of it
    for first in range(0, len(inverse), BLOCK):
        last = min(first + BLOCK, len(inverse))
        square = inverse[first:last, first:last]
        square[...] = np.triu(square) + np.triu(square, 1).T
        inverse[last:, first:last] = inverse[first:last, last:].T
    return inverse
