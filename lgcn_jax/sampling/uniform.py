"""Negatives that are uniform among the items that a user does not have."""

import jax

from lgcn_jax.devices.pytree import pytree
from lgcn_jax.sampling.negatives import KnownPairs, NegativeSettings
from lgcn_jax.sampling.pairs import LocalPairs, Ownership


@pytree
class UniformNegatives:
    """For each example one item, exactly uniform among those outside the user's train items.

    By `csr.kth_missing_column`, so that no rejection loop runs and no negative is a train positive.
    """

    def draw(self, pairs: LocalPairs, row: jax.Array, here: jax.Array, key: jax.Array) -> jax.Array:
        """int32[B, 1]; see `Negatives.draw`."""
        return pairs.broadcast_from_owner(here, pairs.missing_item(row, key))[0][:, None]


class UniformSettings(NegativeSettings):
    """Items are drawn uniformly."""

    def build(self, known: KnownPairs, owned: Ownership) -> UniformNegatives:
        del known, owned
        return UniformNegatives()
