"""Items that are like those that a user has."""

import dataclasses
from typing import Any

import numpy as np

from lgcn_jax.baselines.baseline import Solution
from lgcn_jax.baselines.matrices import (
    degree_powers,
    degrees,
    matrix_from_arrays,
    matrix_to_arrays,
    scale_matrix,
    train_matrix,
)
from lgcn_jax.baselines.neighbors import Neighborhood, nearest_columns
from lgcn_jax.baselines.scorers import SparseProduct, SparseRows
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemKNN(Neighborhood):
    """Nearest neighbors of items (Sarwar et al. 2001), with the average of each item (Ma et al. 2007).

    With s_ji the similarity of item j with item i among its nearest (`neighbors.nearest_columns`), over the sum of all
    s_ji of item j where `normalize` is on, and m_i the share of users who have item i where `center` is on, else 0:

        score(u, j) = m_j + sum over items i of s_ji (r_ui - m_i)

    Both are on by default, as in the runs of the BARS benchmark, whose figures on Gowalla are those of the defaults.
    """

    normalize: bool = setting(
        True, "whether the similarities of an item add up to 1", lambda v: isinstance(v, bool), "true or false"
    )
    center: bool = setting(
        True, "whether an item's average is taken off what users have", lambda v: isinstance(v, bool), "true or false"
    )

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        train = train_matrix(interactions, dtype)
        similar = nearest_columns(train, self)
        if self.normalize:
            total = np.asarray(similar.sum(1, dtype=np.float64)).ravel()
            similar = scale_matrix(similar, degree_powers(total, -1), np.ones(len(total)))
        offset = np.zeros(interactions.num_items)
        if self.center:
            mean = degrees(train)[1] / interactions.num_users
            offset = mean - similar @ mean
        weights = similar.T.tocsr()
        return (
            matrix_to_arrays(train, "train") | matrix_to_arrays(weights, "weights") | {"offset": offset.astype(dtype)}
        )

    def scorer(self, solution: Solution) -> SparseProduct:
        num_items = len(solution["offset"])
        train, weights = (SparseRows.of(matrix_from_arrays(solution, name, num_items)) for name in ("train", "weights"))
        return SparseProduct(train, weights, solution["offset"])  # type: ignore[arg-type]
