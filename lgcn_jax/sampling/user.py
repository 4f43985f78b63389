"""LightGCN's sampler: users are drawn, not pairs."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.sampling.batch import Batch
from lgcn_jax.sampling.pairs import LocalPairs
from lgcn_jax.sampling.shard import SamplerSettings, Shard


@pytree
class UserSampler:
    """A uniform user, uniformly one of its items, and negatives.

    Users without a train item and users who have every item are never drawn. An epoch has as many examples as there
    are train pairs, drawn with replacement.
    """

    pairs: LocalPairs
    users: jax.Array | np.ndarray
    num_examples: int = static()

    def draw(self, key: jax.Array, step: jax.Array, batch_size: int) -> Batch:
        """The `step`-th batch (from 0) of the epoch with this key; every batch is full."""
        which, where, negative_key = jax.random.split(jax.random.fold_in(key, step + 1), 3)
        user = self.users[jax.random.randint(which, (batch_size,), 0, self.users.shape[0])]
        row, here = self.pairs.to_local_index(user)
        offset = jax.random.randint(where, (batch_size,), 0, self.pairs.degree(row))
        (positive,) = self.pairs.broadcast_from_owner(here, self.pairs.item(row, offset))
        negative = self.pairs.negatives(row, here, negative_key)
        weight = jnp.ones(batch_size, jnp.float32)
        return Batch(user, positive, negative, weight, **self.pairs.probabilities(positive, negative))


class UserSamplerSettings(SamplerSettings):
    """Users are drawn uniformly."""

    TAKES_NEGATIVES: ClassVar[bool] = True

    def pair_weight(self, degree: np.ndarray) -> np.ndarray:
        return 1 / degree

    def build(self, shard: Shard) -> UserSampler:
        return UserSampler(shard.pairs, np.flatnonzero(shard.drawable).astype(np.int32), shard.train.nnz)
