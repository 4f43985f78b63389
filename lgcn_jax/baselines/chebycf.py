"""What a user has, filtered by a polynomial that keeps smooth parts and a part of the others."""

import dataclasses
from typing import Any

import numpy as np

from lgcn_jax.baselines.filters import Filter, filter_solution
from lgcn_jax.baselines.matrices import degree_powers, degrees, scale_matrix, train_matrix
from lgcn_jax.baselines.singular import right_singular_vectors
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.settings import integer, real


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChebyCF(Filter):
    """ChebyCF (Kim et al. 2025): with N = D_u^-1/2 R D_i^-1/2, V its first right singular vectors, x = D_i^-beta r_u,

        scores = D_i^beta (h(2 L - I) x + alpha V V^T x),  L = I - N^T N

    h is the plateau, h(x) = 1/2 - sign(x) |x|^flatness / 2, interpolated at Chebyshev's points by a polynomial of
    degree `order`. The published code takes h at the other kind of points, cos(k pi / order), k = 0..order, rounds
    points and values to three decimals, and assigns them to cos((k + 1/2) pi / (order + 1)). It is done likewise here,
    since the published figures are those of that filter: with the defaults, on Gowalla.
    """

    order: int = integer(8, "degree of the polynomial")
    flatness: float = real(1.5, "exponent of the plateau", lambda v: v > 0, "a number above 0")
    rank: int = integer(512, "singular vectors of the low-pass filter")
    alpha: float = real(0.2, "weight of the low-pass filter; 0: none", lambda v: v >= 0, "a number from 0")
    beta: float = real(0.4, "exponent of the items' degrees", lambda v: v >= 0, "a number from 0")

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        train = train_matrix(interactions, dtype)
        of_users, of_items = degrees(train)
        normalized = scale_matrix(train, degree_powers(of_users, -0.5), degree_powers(of_items, -0.5))
        before, after = degree_powers(of_items, -self.beta), degree_powers(of_items, self.beta)
        low_rank = np.zeros((len(of_users), 1)), np.zeros((len(of_items), 1))
        if self.alpha:
            vectors = right_singular_vectors(normalized, self.rank)[1]
            smooth = train @ (before[:, None] * vectors).astype(dtype)
            low_rank = smooth, self.alpha * after[:, None] * vectors
        return filter_solution(
            train, normalized, plateau_coefficients(self.order, self.flatness), low_rank, (before, after)
        )


def plateau_coefficients(order: int, flatness: float) -> np.ndarray:
    """float64[order + 1]: the coefficients of the plateau in Chebyshev's polynomials of 2 L - I."""
    place = np.arange(order + 1)
    points = np.round(np.cos((order - place) / order * np.pi), 3)
    values = np.round(0.5 - np.sign(points) * np.abs(points) ** flatness / 2, 3)
    angles = (order + 0.5 - place) / (order + 1) * np.pi
    coefficients = 2 / (order + 1) * np.cos(np.outer(place, angles)) @ values
    coefficients[0] /= 2
    return coefficients
