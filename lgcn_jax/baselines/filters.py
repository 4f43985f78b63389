"""Filters of what users have by the graph of items: polynomials of it, and its smoothest vectors.

With R the 0/1 matrix of train pairs, D_u and D_i the degrees of users and items, and N = D_u^-a R D_i^-a, the graph is
G = N^T N, which is never made: a product with it is one with N and one with N^T.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from lgcn_jax.baselines.baseline import Baseline, Solution
from lgcn_jax.baselines.matrices import Matrix, matrix_from_arrays, matrix_to_arrays
from lgcn_jax.baselines.scorers import SparseRows
from lgcn_jax.devices.pytree import pytree
from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.order import locality_order, resolve_order_name
from lgcn_jax.graph.propagation import LAYOUTS, resolve_layout_name

TOGETHER = {"cpu": 32}  # users whose scores a cache holds while they are filtered; elsewhere those of a whole chunk


@pytree
class FilterScorer:
    """Scores of user u: weight_u * after * p(G) (before * r_u) + items @ users_u, * between vectors of items.

    Products have their own order of users and items, in which those of a neighborhood stand together.

    Attributes:
      train: r_u, the users' rows, with items at their places in products.
      forward: N [num_users, num_items].
      backward: N^T.
      place: int32[num_items], where each item stands in products.
      coefficients: float[order + 1], of p(G) = sum_k c_k T_k(I - 2 G), T_k Chebyshev's polynomials.
      before: float[num_items], of items as they stand in products.
      after: float[num_items].
      weight: float[num_users].
      users: float[num_users, rank].
      items: float[num_items, rank].
    """

    train: SparseRows
    forward: Layout
    backward: Layout
    place: jax.Array
    coefficients: jax.Array
    before: jax.Array
    after: jax.Array
    weight: jax.Array
    users: jax.Array
    items: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        each = min(TOGETHER.get(jax.default_backend(), len(users)), len(users))
        padded = jnp.pad(users, (0, -len(users) % each))
        blocks = jax.lax.optimization_barrier(jax.lax.map(self._filter_signal, padded.reshape(-1, each)))
        filtered = jnp.swapaxes(blocks, 1, 2).reshape(len(padded), -1)[
            : len(users)
        ]  # fused, it takes three times as long
        return filtered + jnp.matmul(self.users[users], self.items.T, precision="highest")

    def _filter_signal(self, users: jax.Array) -> jax.Array:
        signal = self.before[:, None] * self.train.dense_columns(users)
        return self.after[:, None] * self._apply_polynomial(signal)[self.place] * self.weight[users][None, :]

    def _apply_polynomial(self, signal: jax.Array) -> jax.Array:
        """p(G) @ signal, by Clenshaw's recurrence."""
        last, before = self.coefficients[-1] * signal, jnp.zeros_like(signal)
        for k in range(len(self.coefficients) - 2, -1, -1):
            shifted = last - 2 * self.backward.product(self.forward.product(last))
            last, before = self.coefficients[k] * signal + (2 if k else 1) * shifted - before, last
        return last


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filter(Baseline):
    """Base of the baselines that are filters."""

    def scorer(self, solution: Solution) -> FilterScorer:
        num_items = len(solution["before"])
        train, normalized = (matrix_from_arrays(solution, name, num_items) for name in ("train", "normalized"))
        user_at, item_at = _locality_orders(normalized)
        place, layout = np.argsort(item_at).astype(np.int32), LAYOUTS[resolve_layout_name()]
        forward = _sort_indices(normalized[user_at][:, item_at])
        names = ("coefficients", "after", "weight", "users", "items")
        return FilterScorer(
            SparseRows.of(_sort_indices(train[:, item_at])),
            layout.prepare(forward),
            layout.prepare(_sort_indices(forward.T.tocsr())),
            place,  # type: ignore[arg-type]
            before=solution["before"][item_at],  # type: ignore[arg-type]
            **{name: solution[name] for name in names},  # type: ignore[arg-type]
        )


def _locality_orders(normalized: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """The users and the items in the order in which products take them: that in which a train step's are fastest."""
    num_users, num_items = normalized.shape
    if resolve_order_name() == "natural":
        return np.arange(num_users), np.arange(num_items)
    both = scipy.sparse.bmat([[None, normalized], [normalized.T, None]], format="csr")
    node = locality_order(both, num_users).node_of_row
    return node[:num_users], node[num_users:] - num_users


def _sort_indices(matrix: Matrix) -> Matrix:
    matrix.sort_indices()
    return matrix


def filter_solution(
    train: Matrix,
    normalized: Matrix,
    coefficients: Sequence[float] | np.ndarray,
    low_rank: tuple[np.ndarray, np.ndarray],
    scale: tuple[np.ndarray, np.ndarray] | None = None,
    weight: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of a `FilterScorer` in the dtype of `train`; `scale` is before and after, ones where it is None."""
    users, items = train.shape
    before, after = (np.ones(items), np.ones(items)) if scale is None else scale
    numbers: dict[str, Any] = {"coefficients": coefficients, "before": before, "after": after}
    numbers |= {"weight": np.ones(users) if weight is None else weight, "users": low_rank[0], "items": low_rank[1]}
    arrays = {name: np.ascontiguousarray(value, train.dtype) for name, value in numbers.items()}
    return matrix_to_arrays(train, "train") | matrix_to_arrays(normalized, "normalized") | arrays


def monomials_to_chebyshev(monomials: Sequence[float] | np.ndarray) -> np.ndarray:
    """The coefficients c of sum_k c_k T_k(1 - 2 g) = sum_k monomials_k g^k."""
    power = np.polynomial.Polynomial(monomials)
    return power(np.polynomial.Polynomial([0.5, -0.5])).convert(kind=np.polynomial.Chebyshev).coef
