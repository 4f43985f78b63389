"""What a user has, blurred by the graph of items and sharpened again."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial

from lgcn_jax.baselines.filters import Filter, filter_solution, monomials_to_chebyshev
from lgcn_jax.baselines.matrices import Matrix, degree_powers, degrees, scale_matrix, train_matrix
from lgcn_jax.baselines.singular import right_singular_vectors
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.settings import choice, integer, real, setting

ORDERS = {"euler": 1, "rk4": 4}  # of the polynomial that a step of a solver is, for a linear equation


@dataclasses.dataclass(frozen=True, kw_only=True)
class BSPM(Filter):
    """BSPM (Choi et al. 2023): with N = D_u^-1/2 R D_i^-1/2, G = N^T N, V its first right singular vectors,

        b = r_u G                                            blurring, one step of Euler's over the time 1
        i = r_u D_i^-1/2 V V^T D_i^1/2                       the ideal low-pass filter
        dy/dt = -y G from y(0) = b + beta i, over `time`     sharpening, in `steps` steps of `solver`

    Scores are the last y; with `average` the mean of b and of the y after each step; with `sharpen_ideal` off, y(0) = b
    and beta i is added at the end. The equation is linear, so all of it is a polynomial of G. Published on Gowalla with
    the defaults, on Yelp2018 with rank 384, beta .3, euler, time 1.2 and average.
    """

    rank: int = integer(448, "singular vectors of the low-pass filter")
    beta: float = real(0.2, "weight of the low-pass filter; 0: none", lambda v: v >= 0, "a number from 0")
    solver: str = choice("rk4", tuple(ORDERS), "of the sharpening")
    time: float = real(2.5, "over which is sharpened; 0: not at all", lambda v: v >= 0, "a number from 0")
    steps: int = integer(1, "steps of the solver", most=20)
    average: bool = setting(
        False, "whether blurred and sharpened scores are averaged", lambda v: isinstance(v, bool), "true or false"
    )
    sharpen_ideal: bool = setting(
        True, "whether the low-pass filter's scores are sharpened, too", lambda v: isinstance(v, bool), "true or false"
    )

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        train = train_matrix(interactions, dtype)
        of_users, of_items = degrees(train)
        normalized = scale_matrix(train, degree_powers(of_users, -0.5), degree_powers(of_items, -0.5))
        of_blurred, of_ideal = self.polynomials()
        low_rank = np.zeros((len(of_users), 1)), np.zeros((len(of_items), 1))
        if self.beta:
            vectors = right_singular_vectors(normalized, self.rank)[1]
            smooth = train @ (degree_powers(of_items, -0.5)[:, None] * vectors).astype(dtype)
            wide = (degree_powers(of_items, 0.5)[:, None] * vectors).astype(dtype)
            low_rank = smooth, _evaluate_polynomial(of_ideal, normalized, wide)
        return filter_solution(
            train, normalized, monomials_to_chebyshev((of_blurred * Polynomial([0, 1])).coef), low_rank
        )

    def polynomials(self) -> tuple[Polynomial, Polynomial]:
        """Those of G by which b and i are multiplied."""
        step = self.time / self.steps
        sharpened = Polynomial([(-step) ** k / math.factorial(k) for k in range(ORDERS[self.solver] + 1)])
        states = [sharpened**k for k in range(1, self.steps + 1)]
        blurred = ideal = sharpened**self.steps
        if self.average:
            blurred, ideal = (sum(states, start) / (1 + self.steps) for start in (Polynomial([1]), Polynomial([0])))
        return blurred, self.beta * (ideal if self.sharpen_ideal else Polynomial([1]))


def _evaluate_polynomial(polynomial: Polynomial, normalized: Matrix, x: np.ndarray) -> np.ndarray:
    """The polynomial of G times x, by Horner's rule."""
    total = x.dtype.type(polynomial.coef[-1]) * x
    for coefficient in polynomial.coef[-2::-1]:
        total = x.dtype.type(coefficient) * x + normalized.T @ (normalized @ total)
    return total
