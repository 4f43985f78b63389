"""A sampler that goes through all train pairs."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.sampling import permutation
from lgcn_jax.sampling.batch import Batch
from lgcn_jax.sampling.pairs import LAST, LocalPairs
from lgcn_jax.sampling.shard import SamplerSettings, Shard


@pytree
class EdgeSampler:
    """Every train pair once an epoch, in an order permuted for each epoch, with fresh negatives.

    Pairs of users who have every item are left out. The last batch of an epoch is padded with weight 0. The pairs are
    numbered user by user; `first` int32[rows] is the number of each user's first one.
    """

    pairs: LocalPairs
    first: jax.Array | np.ndarray
    num_examples: int = static()

    def draw(self, key: jax.Array, step: jax.Array, batch_size: int) -> Batch:
        """The `step`-th batch (from 0) of the epoch with this key."""
        place = step * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
        weight = (place < self.num_examples).astype(jnp.float32)
        place = jnp.minimum(place, self.num_examples - 1)
        pair = permutation.permuted_index(jax.random.fold_in(key, 0), place, self.num_examples)
        row = jnp.searchsorted(self.first, pair, side="right", method="scan_unrolled").astype(jnp.int32) - 1
        row = jnp.maximum(row, 0)
        offset, degree = pair - self.first[row], self.pairs.degree(row)
        here = (offset >= 0) & (offset < degree) & (degree < self.pairs.num_items)
        user = row if self.pairs.user is None else self.pairs.user[row]
        positive = self.pairs.item(row, jnp.maximum(offset, 0))
        negative = self.pairs.negatives(row, here, jax.random.fold_in(key, step + 1))
        user, positive = self.pairs.broadcast_from_owner(here, user, positive)
        return Batch(user, positive, negative, weight, **self.pairs.probabilities(positive, negative))


class EdgeSamplerSettings(SamplerSettings):
    """All train pairs are gone through."""

    TAKES_NEGATIVES: ClassVar[bool] = True

    def build(self, shard: Shard) -> EdgeSampler:
        width = np.where(shard.drawable, csr.degrees(shard.train), 0)
        first = (np.cumsum(width) - width).astype(np.int32)
        return EdgeSampler(shard.pairs, shard.take_values(first, LAST), int(width.sum()))
