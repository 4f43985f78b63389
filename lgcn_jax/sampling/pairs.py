"""The train pairs on a device: those of all users, or of the users that the device answers for."""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.devices.mesh import psum
from lgcn_jax.devices.pytree import pytree, static

LAST = np.iinfo(np.int32).max


class Negatives(Protocol):
    """A pytree that draws the negative items of a batch, a pure function of a key."""

    def draw(self, pairs: "LocalPairs", row: jax.Array, here: jax.Array, key: jax.Array) -> jax.Array | None:
        """The negative items of a batch, as `Batch.negative` has them; the same on all devices.

        Args:
          pairs: of this device.
          row: int32[B], the row of each example's user in `pairs`; any row where the user is elsewhere.
          here: bool[B], whether this device answers for the user; `pairs.broadcast_from_owner` takes it.
          key: of the batch.
        """
        raise NotImplementedError

    def negative_probability(self, pairs: "LocalPairs", items: jax.Array | None) -> jax.Array | None:
        """float32, how probable each of the items is to be drawn at a time; None where that is not known."""
        del pairs, items
        return None


class LocalIndex(NamedTuple):
    """Where users stand among the rows of a device.

    Attributes:
      row: int32[B], the row of each user; any row where the user is elsewhere.
      here: bool[B], whether this device answers for the user.
    """

    row: jax.Array
    here: jax.Array


@pytree
class LocalPairs:
    """Train pairs that one device answers for: those of some users, or, with no `axis`, all.

    Attributes:
      train: CSR, a row for each of these users.
      user: int32[rows], who they are, ascending, padded with the largest int32; None where they are all.
      source: what draws the negatives.
      positive_probability: float32[num_items], how probable each item is to be the positive one of an example.
      num_items: of the data set; static.
      axis: the mesh axis over which users are cut; static.
    """

    train: CSR
    user: jax.Array | np.ndarray | None
    source: Negatives
    positive_probability: jax.Array | np.ndarray
    num_items: int = static()
    axis: str | None = static()

    def to_local_index(self, user: jax.Array) -> LocalIndex:
        """Where each of int32[B] users stands, and whether the user is one of these."""
        if self.user is None:
            return LocalIndex(user, jnp.ones(user.shape, bool))
        row = jnp.searchsorted(self.user, user, method="scan_unrolled").astype(jnp.int32)
        row = jnp.minimum(row, self.train.num_rows - 1)
        return LocalIndex(row, self.user[row] == user)

    def degree(self, row: jax.Array) -> jax.Array:
        """The number of train items of each row."""
        return self.train.indptr[row + 1] - self.train.indptr[row]

    def item(self, row: jax.Array, offset: jax.Array) -> jax.Array:
        """The item at each offset of a row."""
        return self.train.indices[jnp.minimum(self.train.indptr[row] + offset, self.train.nnz - 1)]

    def missing_item(self, row: jax.Array, key: jax.Array) -> jax.Array:
        """A uniform item that is not one of the row's: exactly, and without rejection."""
        rank = jax.random.randint(key, row.shape, 0, self.num_items - self.degree(row))
        return csr.kth_missing_column(self.train, row, rank)

    def negatives(self, row: jax.Array, here: jax.Array, key: jax.Array) -> jax.Array | None:
        """The negative items of a batch of these rows, on all devices; see `Negatives.draw`."""
        return self.source.draw(self, row, here, key)

    def probabilities(self, positive: jax.Array, negative: jax.Array | None) -> dict[str, jax.Array | None]:
        """What `Batch` says of how probable the items are, by name."""
        return {
            "positive_probability": self.positive_probability[positive],
            "negative_probability": self.source.negative_probability(self, negative),
        }

    def broadcast_from_owner(self, here: jax.Array, *values: jax.Array) -> list[jax.Array]:
        """On all devices, the values of the one on which each is `here`."""
        return [psum(jnp.where(here, value, 0), self.axis) for value in values]


class Ownership(NamedTuple):
    """Host: the users that one of several devices answers for.

    Attributes:
      owners: int[num_users], the place of the device that answers for each user; None: one device for all.
      place: that of this device.
    """

    owners: np.ndarray | None = None
    place: int = 0

    def take(self, pairs: CSR) -> CSR:
        """The rows of this device's users, in arrays of the same shapes on all devices."""
        if self.owners is None:
            return pairs
        users, padding = self._users_of_owner(self.owners)
        rows = csr.take_rows(pairs, users)
        entries = int(np.bincount(self.owners, csr.degrees(pairs)).max()) - rows.nnz
        return CSR(np.pad(rows.indptr, (0, padding), mode="edge"), np.pad(rows.indices, (0, entries)))

    def take_values(self, values: np.ndarray, fill: int) -> np.ndarray:
        """The values (one for each user) of this device's rows; padding gets `fill`."""
        if self.owners is None:
            return values
        users, padding = self._users_of_owner(self.owners)
        return np.pad(values[users], (0, padding), constant_values=fill)

    def _users_of_owner(self, owners: np.ndarray) -> tuple[np.ndarray, int]:
        """int[rows], this device's users, and how many rows are added so that all devices have as many."""
        users = np.flatnonzero(owners == self.place)
        return users, int(np.bincount(owners).max()) - len(users)
