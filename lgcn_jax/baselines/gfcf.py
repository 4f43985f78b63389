"""What a user has, smoothed once by the graph of items and once by its smoothest vectors."""

import dataclasses
from typing import Any

import numpy as np

from lgcn_jax.baselines.filters import Filter, filter_solution, monomials_to_chebyshev
from lgcn_jax.baselines.matrices import degree_powers, degrees, scale_matrix, train_matrix
from lgcn_jax.baselines.singular import right_singular_vectors
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.settings import integer, real


@dataclasses.dataclass(frozen=True, kw_only=True)
class GFCF(Filter):
    """GF-CF (Shen et al. 2021): with N = D_u^-1/2 R D_i^-1/2 and V its first right singular vectors,

        scores = R N^T N + alpha R D_i^-1/2 V V^T D_i^1/2

    Published with rank 256 and alpha .3; on Amazon-Book with alpha 0. The vectors are exact: a randomized decomposition
    that has not converged gives other scores.
    """

    rank: int = integer(256, "singular vectors of the low-pass filter")
    alpha: float = real(0.3, "weight of the low-pass filter; 0: none", lambda v: v >= 0, "a number from 0")

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        train = train_matrix(interactions, dtype)
        of_users, of_items = degrees(train)
        normalized = scale_matrix(train, degree_powers(of_users, -0.5), degree_powers(of_items, -0.5))
        low_rank = np.zeros((len(of_users), 1)), np.zeros((len(of_items), 1))
        if self.alpha:
            vectors = right_singular_vectors(normalized, self.rank)[1]
            smooth = train @ (degree_powers(of_items, -0.5)[:, None] * vectors).astype(dtype)
            low_rank = smooth, self.alpha * degree_powers(of_items, 0.5)[:, None] * vectors
        return filter_solution(train, normalized, monomials_to_chebyshev([0, 1]), low_rank)
