"""Singular vectors with an exponent of each user and each item, and what a user has smoothed once."""

import dataclasses
from typing import Any

import numpy as np
import scipy.sparse

from lgcn_jax.baselines.filters import Filter, filter_solution, monomials_to_chebyshev
from lgcn_jax.baselines.matrices import Matrix, degree_powers, degrees, scale_matrix, train_matrix
from lgcn_jax.baselines.singular import right_singular_vectors
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.settings import integer, real

BLOCK = 1024  # rows, or columns, whose pairs are there at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class SGFCF(Filter):
    """SGFCF (Peng et al. 2024): with N = (D_u + alpha)^-eps R (D_i + alpha)^-eps = U S V^T, S_1 = 1 by scaling,

        scores = rows(U S^w_u (V S^w_i)^T) + gamma rows(N N^T N)

    of the first singular vectors; rows() divides each row by its sum. The exponents lie between `beta_low` and
    `beta_high`, as the homophily of a user or an item does between the smallest and the largest: the share of pairs of
    a user's items that another user has both of, and likewise of an item's users.

    The defaults are the published code's for Gowalla, without the sigmoid of the scores, which changes no order.
    """

    rank: int = integer(650, "singular vectors")
    alpha: float = real(0.0, "added to degrees", lambda v: v >= 0, "a number from 0")
    eps: float = real(0.34, "exponent of degrees", lambda v: v >= 0, "a number from 0")
    gamma: float = real(1.6, "weight of what is smoothed once", lambda v: v >= 0, "a number from 0")
    beta_low: float = real(0.3, "exponent of values at the lowest homophily", lambda v: v >= 0, "a number from 0")
    beta_high: float = real(2.5, "the same at the highest", lambda v: v >= 0, "a number from 0")

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        train = train_matrix(interactions, dtype)
        of_users, of_items = (degree_powers(degree + self.alpha, -self.eps) for degree in degrees(train))
        normalized = scale_matrix(train, of_users, of_items)
        values, vectors = right_singular_vectors(normalized, self.rank)
        spectrum = (values / values[0])[None, :].astype(np.float64)
        users = (normalized @ vectors) / values * spectrum ** self._filter_exponents(train)[:, None]
        items = vectors * spectrum ** self._filter_exponents(train.T.tocsr())[:, None]
        users = users * reciprocals(users @ items.sum(0))[:, None]
        smoothed = train.astype(np.float64) @ (of_items * (normalized.T @ (normalized @ np.ones(len(of_items)))))
        weight = self.gamma * reciprocals(smoothed)
        scale = of_items, np.ones(len(of_items))
        return filter_solution(train, normalized, monomials_to_chebyshev([0, 1]), (users, items), scale, weight)

    def _filter_exponents(self, rows: Matrix) -> np.ndarray:
        """float64[n]: the exponent of each row."""
        found = homophily(rows)
        span = np.ptp(found)
        return self.beta_low + (self.beta_high - self.beta_low) * (found - found.min()) / (span if span else 1)


def reciprocals(sums: np.ndarray) -> np.ndarray:
    """1 / sum for each row, 0 where the sum is 0."""
    return np.divide(1.0, sums, where=sums != 0, out=np.zeros(len(sums)))


def homophily(rows: Matrix) -> np.ndarray:
    """float64[n]: of the pairs of different columns of each row, the share that another row has both of."""
    ones = rows.astype(np.float32)
    linked = _columns_that_two_rows_share(ones)
    blocks = [ones[first : first + BLOCK] for first in range(0, ones.shape[0], BLOCK)]
    counts = np.concatenate([np.asarray((some @ linked).multiply(some).sum(1)).ravel() for some in blocks])
    length = np.diff(rows.indptr).astype(np.float64)
    return counts / np.maximum(length * (length - 1), 1)


def _columns_that_two_rows_share(ones: Matrix) -> Matrix:
    """[columns, columns]: 1 for each pair of different columns that two rows or more have both of.

    Made a block of columns at a time, since pairs that one row has are many more.
    """
    columns, found = ones.T.tocsr(), []
    for first in range(0, columns.shape[0], BLOCK):
        shared = (columns[first : first + BLOCK] @ ones).tocoo()
        kept = (shared.data >= 2) & (shared.row + first != shared.col)
        pairs = np.ones(kept.sum(), np.float32), (shared.row[kept], shared.col[kept])
        found.append(scipy.sparse.csr_matrix(pairs, shape=shared.shape))
    return scipy.sparse.vstack(found).tocsr()
