"""The train pairs as samplers see them, on one device or cut over several.

Where the pairs are cut, each device answers for users of its own, and all get the same batches, which are those of one
device. Negatives are drawn exactly uniformly from the items outside the user's train items (`csr.kth_missing_column`),
so that no rejection loop runs and no negative is a train positive.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.devices.mesh import psum
from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.sampling.batch import Sampler
from lgcn_jax.settings import Settings

LAST = np.iinfo(np.int32).max


@pytree
class LocalPairs:
    """Train pairs that one device answers for: those of some users, or, with no `axis`, all.

    Attributes:
      train: CSR, a row for each of these users.
      user: int32[rows], who they are, ascending, padded with the largest int32; None where they are all.
      num_items: of the data set; static.
      axis: the mesh axis over which users are cut; static.
    """

    train: CSR
    user: jax.Array | np.ndarray | None
    num_items: int = static()
    axis: str | None = static()

    def to_local_index(self, user: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The row of each user, and whether the user is one of these."""
        if self.user is None:
            return user, jnp.ones(user.shape, bool)
        row = jnp.searchsorted(self.user, user, method="scan_unrolled").astype(jnp.int32)
        row = jnp.minimum(row, self.train.num_rows - 1)
        return row, self.user[row] == user

    def degree(self, row: jax.Array) -> jax.Array:
        """The number of train items of each row."""
        return self.train.indptr[row + 1] - self.train.indptr[row]

    def item(self, row: jax.Array, offset: jax.Array) -> jax.Array:
        """The item at each offset of a row."""
        return self.train.indices[jnp.minimum(self.train.indptr[row] + offset, self.train.nnz - 1)]

    def negative(self, row: jax.Array, key: jax.Array) -> jax.Array:
        """A uniform item that is not one of the row's."""
        rank = jax.random.randint(key, row.shape, 0, self.num_items - self.degree(row))
        return csr.kth_missing_column(self.train, row, rank)

    def broadcast_from_owner(self, here: jax.Array, *values: jax.Array) -> list[jax.Array]:
        """On all devices, the values of the one on which each is `here`."""
        return [psum(jnp.where(here, value, 0), self.axis) for value in values]


class Shard(NamedTuple):
    """Host: what a sampler of one device is made of; arrays have the same shapes on all devices.

    Attributes:
      train: the pairs of all users.
      drawable: bool[num_users], who has both a train item and an item that is none.
      pairs: those that this device answers for.
      users: int[rows], whose they are, None where they are all users'.
      padding: rows that `pairs` has more than that.
    """

    train: CSR
    drawable: np.ndarray
    pairs: LocalPairs
    users: np.ndarray | None
    padding: int

    def rows(self, values: np.ndarray, fill: int) -> np.ndarray:
        """The values (one for each user) of this device's rows; padding gets `fill`."""
        if self.users is None:
            return values
        return np.pad(values[self.users], (0, self.padding), constant_values=fill)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplerSettings(Settings):
    """Base of the settings of all samplers."""

    def build(self, shard: Shard) -> Sampler:
        """Host: the sampler of one device, of NumPy arrays."""
        raise NotImplementedError


def build(settings: SamplerSettings, train: CSR, num_items: int) -> Sampler:
    """The sampler over the host's train pairs, on one device.

    Raises:
      ValueError: no user has both a train item and an item that is not one.
    """
    return jax.device_put(build_shard(settings, train, num_items))


def build_shard(
    settings: SamplerSettings,
    train: CSR,
    num_items: int,
    owners: np.ndarray | None = None,
    place: int = 0,
    axis: str | None = None,
) -> Sampler:
    """Host: what one of several devices needs of a sampler, in NumPy arrays of the same shapes for all places.

    Args:
      settings: of the sampler.
      train: the pairs of all users.
      num_items: of the data set.
      owners: int[num_users], the place on `axis` that answers for each user; None: one device for all.
      place: the device's place on `axis`.
      axis: a mesh axis.

    Raises:
      ValueError: as for `build`.
    """
    degree = csr.degrees(train)
    drawable = (degree > 0) & (degree < num_items)
    if not drawable.any():
        raise ValueError("no user has both a train item and an item that is none")
    if owners is None:
        return settings.build(Shard(train, drawable, LocalPairs(train, None, num_items, axis), None, 0))
    return settings.build(Shard(train, drawable, *_owned(train, num_items, owners, place, axis)))


def _owned(
    train: CSR, num_items: int, owners: np.ndarray, place: int, axis: str | None
) -> tuple[LocalPairs, np.ndarray, int]:
    """The pairs of one place, their users, and by how many rows they are padded to those of the place with the most."""
    users = np.flatnonzero(owners == place)
    rows = csr.take(train, users)
    padding = int(np.bincount(owners).max()) - len(users)
    entries = int(np.bincount(owners, csr.degrees(train)).max()) - rows.nnz
    padded = CSR(np.pad(rows.indptr, (0, padding), mode="edge"), np.pad(rows.indices, (0, entries)))
    known = np.pad(users.astype(np.int32), (0, padding), constant_values=LAST)
    return LocalPairs(padded, known, num_items, axis), users, padding
