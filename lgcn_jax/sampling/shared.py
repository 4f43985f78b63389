"""Uniform negatives that all examples of a batch share, so that many of them are embedded once."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.sampling.negatives import KnownPairs, NegativeSettings
from lgcn_jax.sampling.pairs import LocalPairs, Negatives, Ownership
from lgcn_jax.settings import integer


@pytree
class SharedNegatives(Negatives):
    """Uniform items, with replacement, the same for all examples of the batch."""

    count: int = static()

    def draw(self, pairs: LocalPairs, row: jax.Array, here: jax.Array, key: jax.Array) -> jax.Array:
        """int32[count]; see `Negatives.draw`."""
        del row, here
        return jax.random.randint(key, (self.count,), 0, pairs.num_items)

    def negative_probability(self, pairs: LocalPairs, items: jax.Array | None) -> jax.Array:
        del items
        return jnp.full(self.count, 1 / pairs.num_items, jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedSettings(NegativeSettings):
    """Items are drawn uniformly for the whole batch; nothing keeps them from being items that a user has."""

    KNOWS_PROBABILITIES: ClassVar[bool] = True

    num_shared: int = integer(2048, "negatives that all examples of a batch share")

    @property
    def per_example(self) -> int:
        return 0

    @property
    def shared(self) -> int:
        return self.num_shared

    def build(self, known: KnownPairs, owned: Ownership) -> SharedNegatives:
        del known, owned
        return SharedNegatives(self.num_shared)
