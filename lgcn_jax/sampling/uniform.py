"""Negatives that are uniform among the items that a user does not have."""

import dataclasses

import jax
import jax.numpy as jnp

from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.sampling.negatives import KnownPairs, PerExampleSettings
from lgcn_jax.sampling.pairs import LocalPairs, Negatives, Ownership


@pytree
class UniformNegatives(Negatives):
    """For each example `count` items, each exactly uniform among those outside the user's train items.

    By `csr.kth_missing_column`, so that no rejection loop runs and no negative is a train positive.
    """

    count: int = static()

    def draw(self, pairs: LocalPairs, row: jax.Array, here: jax.Array, key: jax.Array) -> jax.Array:
        """int32[B, count]; see `Negatives.draw`."""
        items = pairs.missing_item(jnp.repeat(row, self.count), key).reshape(-1, self.count)
        return pairs.broadcast_from_owner(here[:, None], items)[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniformSettings(PerExampleSettings):
    """Items are drawn uniformly."""

    def build(self, known: KnownPairs, owned: Ownership) -> UniformNegatives:
        del known, owned
        return UniformNegatives(self.num_negatives)
