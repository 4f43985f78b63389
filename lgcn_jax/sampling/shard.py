"""What samplers are made of, on one device or cut over several.

Where the pairs are cut, each device answers for users of its own, and all get the same batches, which are those of one
device.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.sampling.batch import Sampler
from lgcn_jax.sampling.negatives import KnownPairs, NegativeSettings
from lgcn_jax.sampling.pairs import LAST, LocalPairs, Ownership
from lgcn_jax.sampling.uniform import UniformSettings
from lgcn_jax.settings import Settings


class Shard(NamedTuple):
    """Host: what a sampler of one device is made of; arrays have the same shapes on all devices.

    Attributes:
      train: the pairs of all users.
      drawable: bool[num_users], who has both a train item and an item that is none.
      pairs: those that this device answers for, with the source of negatives.
      owned: whose they are.
    """

    train: CSR
    drawable: np.ndarray
    pairs: LocalPairs
    owned: Ownership

    def take_values(self, values: np.ndarray, fill: int) -> np.ndarray:
        """The values (one for each user) of this device's rows; padding gets `fill`."""
        return self.owned.take_values(values, fill)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplerSettings(Settings):
    """Base of the settings of all samplers."""

    TAKES_NEGATIVES: ClassVar[bool] = False  # whether its negatives are those of `LocalPairs.negatives`

    def build(self, shard: Shard) -> Sampler:
        """Host: the sampler of one device, of NumPy arrays."""
        raise NotImplementedError

    def pair_weight(self, degree: np.ndarray) -> np.ndarray:
        """Host: how often a pair is drawn whose user has so many of them, up to a factor that all share."""
        return np.ones(len(degree))

    def positive_probability(self, train: CSR, drawable: np.ndarray, num_items: int) -> np.ndarray:
        """Host: float32[num_items], how probable each item is to be the positive one of an example."""
        degree = csr.degrees(train)
        weight = np.where(drawable, self.pair_weight(np.maximum(degree, 1)), 0)
        count = np.bincount(train.indices, np.repeat(weight, degree), minlength=num_items)
        return (count / count.sum()).astype(np.float32)


def build_sampler(
    settings: SamplerSettings,
    train: CSR,
    num_items: int,
    negatives: NegativeSettings | None = None,
    disliked: CSR | None = None,
) -> Sampler:
    """The sampler over the host's train pairs, on one device; arguments as for `build_shard`.

    Raises:
      InputError, ValueError: as for `build_shard`.
    """
    return jax.device_put(build_shard(settings, train, num_items, negatives=negatives, disliked=disliked))


def build_shard(
    settings: SamplerSettings,
    train: CSR,
    num_items: int,
    owners: np.ndarray | None = None,
    place: int = 0,
    axis: str | None = None,
    negatives: NegativeSettings | None = None,
    disliked: CSR | None = None,
) -> Sampler:
    """Host: what one of several devices needs of a sampler, in NumPy arrays of the same shapes for all places.

    Args:
      settings: of the sampler.
      train: the pairs of all users.
      num_items: of the data set.
      owners: int[num_users], the place on `axis` that answers for each user; None: one device for all.
      place: the device's place on `axis`.
      axis: a mesh axis.
      negatives: where negatives come from; None: uniform ones.
      disliked: CSR of users over items, the pairs known not to be wanted; None: none is known.

    Raises:
      InputError: the data set has not what `negatives` draws from.
      ValueError: no user has both a train item and an item that is not one.
    """
    degree = csr.degrees(train)
    drawable = (degree > 0) & (degree < num_items)
    if not drawable.any():
        raise ValueError("no user has both a train item and an item that is none")
    owned = Ownership(owners, place)
    probability = settings.positive_probability(train, drawable, num_items)
    source = (negatives or UniformSettings()).build(KnownPairs(train, num_items, probability, disliked), owned)
    user = None if owners is None else owned.take_values(np.arange(train.num_rows, dtype=np.int32), LAST)
    pairs = LocalPairs(owned.take(train), user, source, probability, num_items, axis)
    return settings.build(Shard(train, drawable, pairs, owned))
