"""Where negatives come from: settings that make what draws them."""

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np

from lgcn_jax.data.csr import CSR
from lgcn_jax.sampling.pairs import Negatives, Ownership
from lgcn_jax.settings import Settings, integer


class KnownPairs(NamedTuple):
    """Host: what a data set knows of users and items.

    Attributes:
      train: CSR of users over items, the pairs that are trained on.
      num_items: of the data set.
      positive_probability: float32[num_items], how probable each item is to be the positive one of an example.
      disliked: CSR of users over items, the pairs known not to be wanted; None: none is known.
    """

    train: CSR
    num_items: int
    positive_probability: np.ndarray
    disliked: CSR | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class NegativeSettings(Settings):
    """Base of the settings of all sources of negatives."""

    IN_BATCH: ClassVar[bool] = False  # whether they are the items of the batch's other examples
    KNOWS_PROBABILITIES: ClassVar[bool] = False  # whether it is known how probable each item is to be drawn

    @property
    def per_example(self) -> int:
        """How many negatives each example has of its own, before the hardest are chosen."""
        return 0 if self.IN_BATCH else 1

    @property
    def shared(self) -> int:
        """How many negatives all examples share."""
        return 0

    @property
    def hardest(self) -> int:
        """How many of an example's negatives are trained on, those with the highest scores; 0: all."""
        return 0

    def build(self, known: KnownPairs, owned: Ownership) -> Negatives:
        """Host: the source of one device, of NumPy arrays; `owned.take` cuts rows of users for it.

        Raises:
          InputError: the data set has not what it draws from.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerExampleSettings(NegativeSettings):
    """Base of the sources that draw for each example alone."""

    num_negatives: int = integer(1, "negatives of each example")

    @property
    def per_example(self) -> int:
        return self.num_negatives
