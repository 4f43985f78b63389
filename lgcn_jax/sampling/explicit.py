"""Negatives that are known: items that a user is said not to want."""

import dataclasses

import jax
import jax.numpy as jnp

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.errors import InputError
from lgcn_jax.sampling.negatives import KnownPairs, PerExampleSettings
from lgcn_jax.sampling.pairs import LocalPairs, Negatives, Ownership


@pytree
class ExplicitNegatives(Negatives):
    """For each example `count` items, uniform among the user's disliked items; of a user without any, among all others.

    Each is drawn by itself, so an example may have the same item several times.

    Attributes:
      disliked: CSR, a row for each row of the pairs.
      count: items of each example; static.
    """

    disliked: CSR
    count: int = static()

    def draw(self, pairs: LocalPairs, row: jax.Array, here: jax.Array, key: jax.Array) -> jax.Array:
        """int32[B, count]; see `Negatives.draw`."""
        row = jnp.repeat(row, self.count)
        start = self.disliked.indptr[row]
        degree = self.disliked.indptr[row + 1] - start
        offset = jax.random.randint(key, row.shape, 0, jnp.maximum(degree, 1))
        disliked = self.disliked.indices[jnp.minimum(start + offset, self.disliked.nnz - 1)]
        items = jnp.where(degree > 0, disliked, pairs.missing_item(row, key))  # one of both is taken: one key will do
        return pairs.broadcast_from_owner(here[:, None], items.reshape(-1, self.count))[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplicitSettings(PerExampleSettings):
    """Items are drawn from those that the data set says are disliked. A pair that is trained on, too, is none."""

    def build(self, known: KnownPairs, owned: Ownership) -> ExplicitNegatives:
        disliked = known.disliked
        if disliked is not None:
            disliked = csr.filter_entries(disliked, ~csr.isin(disliked, known.train, known.num_items))
        if disliked is None or not disliked.nnz:
            expected = "uniform, or data with disliked pairs (zeros in --label_col, ratings below --min_rating)"
            raise InputError("--negatives", "explicit for a data set that knows no disliked pair", expected)
        return ExplicitNegatives(owned.take(disliked), self.num_negatives)
