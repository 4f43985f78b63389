"""Items of the users who are like a user."""

import dataclasses
from typing import Any

import numpy as np

from lgcn_jax.baselines.baseline import Solution
from lgcn_jax.baselines.matrices import matrix_from_arrays, matrix_to_arrays, train_matrix
from lgcn_jax.baselines.neighbors import Neighborhood, nearest_columns
from lgcn_jax.baselines.scorers import SparseProduct, SparseRows
from lgcn_jax.data.interactions import Interactions


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserKNN(Neighborhood):
    """Nearest neighbors of users (Resnick et al. 1994; of implicit data).

    With s_uv the similarity of user u with user v among the nearest of u (`neighbors.nearest_columns`):

        score(u, j) = sum over users v of s_uv r_vj
    """

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        train = train_matrix(interactions, dtype)
        similar = nearest_columns(train.T.tocsr(), self)
        shape = {"num_items": np.array(interactions.num_items)}
        return matrix_to_arrays(train, "train") | matrix_to_arrays(similar, "weights") | shape

    def scorer(self, solution: Solution) -> SparseProduct:
        num_items = int(solution["num_items"])
        train = SparseRows.of(matrix_from_arrays(solution, "train", num_items))
        similar = SparseRows.of(matrix_from_arrays(solution, "weights", len(solution["train_indptr"]) - 1))
        return SparseProduct(similar, train, np.zeros(num_items, train.values.dtype))  # type: ignore[arg-type]
