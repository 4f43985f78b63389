"""The epoch of LightGCN-PyTorch: the user sampler's examples, but a random number of them."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.sampling.batch import Batch
from lgcn_jax.sampling.shard import SamplerSettings, Shard
from lgcn_jax.sampling.user import UserSampler, UserSamplerSettings

SIGMAS = 6  # standard deviations of the count that are told apart; one epoch in 10^8 is beyond them


@pytree
class PublishedSampler:
    """What `UniformSample_original_python` of LightGCN-PyTorch draws, in distribution.

    There an epoch draws as many users as there are train pairs, of all users, and skips those who have no item. So the
    number of examples is binomial, and the last batch is shorter than the others; here its rest has weight 0. Users who
    have every item, for whom the published loop never ends, are skipped, too.

    Attributes:
      users: what draws the examples.
      least: the least number of examples of an epoch; static.
      probability: float32[n], of an epoch to have at most least, least + 1, ... examples.
      num_examples: the most examples of an epoch; static.
    """

    users: UserSampler
    probability: jax.Array | np.ndarray
    least: int = static()
    num_examples: int = static()

    def draw(self, key: jax.Array, step: jax.Array, batch_size: int) -> Batch:
        """The `step`-th batch (from 0) of the epoch with this key; the last one has at least one example."""
        place = step * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
        batch = self.users.draw(key, step, batch_size)
        return batch._replace(weight=(place < self.count(key, batch_size)).astype(jnp.float32))

    def count(self, key: jax.Array, batch_size: int) -> jax.Array:
        """int32: the examples of the epoch with this key."""
        before_last = (self.num_examples - 1) // batch_size * batch_size
        uniform = jax.random.uniform(jax.random.fold_in(key, 0), dtype=jnp.float32)
        found = self.least + jnp.searchsorted(self.probability, uniform, side="right").astype(jnp.int32)
        return jnp.clip(found, before_last + 1, self.num_examples)


class PublishedSamplerSettings(SamplerSettings):
    """Users are drawn uniformly, as often as the published code finds one with an item."""

    TAKES_NEGATIVES: ClassVar[bool] = True

    def pair_weight(self, degree: np.ndarray) -> np.ndarray:
        return UserSamplerSettings().pair_weight(degree)

    def build(self, shard: Shard) -> PublishedSampler:
        drawn, probability = shard.train.nnz, float(shard.drawable.mean())
        mean, deviation = drawn * probability, math.sqrt(drawn * probability * (1 - probability))
        least = max(0, math.floor(mean - SIGMAS * deviation))
        most = min(drawn, math.ceil(mean + SIGMAS * deviation))
        cumulated = scipy.special.bdtr(np.arange(least, most), drawn, probability).astype(np.float32)
        return PublishedSampler(UserSamplerSettings().build(shard), cumulated, least, most)
