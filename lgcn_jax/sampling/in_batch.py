"""Negatives that cost nothing to embed: the items of the batch's other examples."""

from typing import ClassVar

import jax

from lgcn_jax.devices.pytree import pytree
from lgcn_jax.sampling.negatives import KnownPairs, NegativeSettings
from lgcn_jax.sampling.pairs import LocalPairs, Negatives, Ownership


@pytree
class InBatchNegatives(Negatives):
    """None are drawn, which says to a loss that the batch's positive items are its negatives."""

    def draw(self, pairs: LocalPairs, row: jax.Array, here: jax.Array, key: jax.Array) -> None:
        """None; see `Negatives.draw`."""
        del pairs, row, here, key


class InBatchSettings(NegativeSettings):
    """Items are those of the batch's other examples, of all devices: popular ones are negatives more often.

    Nothing keeps them from being items that the user has, too.
    """

    IN_BATCH: ClassVar[bool] = True
    KNOWS_PROBABILITIES: ClassVar[bool] = True

    def build(self, known: KnownPairs, owned: Ownership) -> InBatchNegatives:
        del known, owned
        return InBatchNegatives()
