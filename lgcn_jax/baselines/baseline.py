"""What a baseline is: settings, arrays that are solved for without a gradient step, and a scorer made of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.settings import Settings
from lgcn_jax.system.memory import total_bytes

Solution = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline(Settings):
    """Base of all baselines: a subclass adds its settings as fields, `solve` and `scorer`.

    Where it has `fit` in place of them, its scorer can be evaluated and can recommend, but it cannot be saved.
    """

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        """Host: the arrays that the scores are made of, from the train part alone; they are what is saved.

        Args:
          interactions: the data set, of which every train pair counts 1.
          dtype: of the numbers that are computed with.
        """
        raise NotImplementedError

    def scorer(self, solution: Solution) -> Scorer:
        """The scorer of every user and item, of NumPy arrays, in the form that is fastest on JAX's platform."""
        raise NotImplementedError

    def fit(self, interactions: Interactions) -> Scorer:
        """The scorer of every user and item of the data set, made of its train part alone, on the device."""
        return jax.device_put(self.scorer(self.solve(interactions)))


def require_memory(setting: str, needed_bytes: float, what: str, advice: str) -> None:
    """Raises an InputError that names `setting` where `what` needs more bytes than this machine has."""
    if needed_bytes > (limit := total_bytes()):
        expected = f"at most the {limit / 1e9:.1f} GB of this machine ({advice})"
        raise InputError(setting, f"{needed_bytes / 1e9:.1f} GB needed for {what}", expected)
