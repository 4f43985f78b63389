"""Triples (user, positive, negative) drawn on the device, a pure function of the key that is passed in.

A sampler is a pytree with `num_examples` (the draws of an epoch) and `draw(key, step, batch_size)`. Negatives are drawn
exactly uniformly from the items outside the user's train items (`csr.complement`), so that no rejection loop runs and
no negative is a train positive. Where the train pairs are cut over devices, each device answers for users of its own,
and all get the same triples, which are those of one device.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.devices.mesh import total
from lgcn_jax.sampling import permutation

_LAST = np.iinfo(np.int32).max


class Triples(NamedTuple):
    """A batch: `user`, `positive`, `negative` int32[B], items not offset, and `weight` float32[B], 0 where padded."""

    user: jax.Array
    positive: jax.Array
    negative: jax.Array
    weight: jax.Array


def _static():
    return dataclasses.field(metadata={"static": True})


def _sampler(cls):
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


@_sampler
class Owned:
    """Train pairs that one device answers for: those of some users, or, with no `axis`, all.

    Attributes:
      train: CSR, a row for each of these users.
      user: int32[rows], who they are, ascending, padded with the largest int32; None where they are all.
      num_items: of the data set; static.
      axis: the mesh axis over which users are cut; static.
    """

    train: CSR
    user: jax.Array | None
    num_items: int = _static()
    axis: str | None = _static()

    def find(self, user: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The row of each user, and whether the user is one of these."""
        if self.user is None:
            return user, jnp.ones(user.shape, bool)
        row = jnp.searchsorted(self.user, user, method="scan_unrolled").astype(jnp.int32)
        row = jnp.minimum(row, self.train.num_rows - 1)
        return row, self.user[row] == user

    def degree(self, row: jax.Array) -> jax.Array:
        return self.train.indptr[row + 1] - self.train.indptr[row]

    def item(self, row: jax.Array, offset: jax.Array) -> jax.Array:
        return self.train.indices[jnp.minimum(self.train.indptr[row] + offset, self.train.nnz - 1)]

    def negative(self, row: jax.Array, key: jax.Array) -> jax.Array:
        """A uniform item that is not one of the row's."""
        rank = jax.random.randint(key, row.shape, 0, self.num_items - self.degree(row))
        return csr.complement(self.train, row, rank)

    def answer(self, here: jax.Array, *values: jax.Array) -> list[jax.Array]:
        """On all devices, the values of the one on which each is `here`."""
        return [total(jnp.where(here, value, 0), self.axis) for value in values]


@_sampler
class UserSampler:
    """LightGCN's sampler: a uniform user, uniformly one of its items, uniformly an item that is not its own.

    Users without a train item and users who have every item are never drawn. An epoch draws as often as there are
    train pairs, with replacement.
    """

    owned: Owned
    users: jax.Array
    num_examples: int = _static()

    def draw(self, key: jax.Array, step: jax.Array, batch_size: int) -> Triples:
        """The triples of the `step`-th batch (from 0) of the epoch with this key; every batch is full."""
        which, where, negative_key = jax.random.split(jax.random.fold_in(key, step + 1), 3)
        user = self.users[jax.random.randint(which, (batch_size,), 0, self.users.shape[0])]
        row, here = self.owned.find(user)
        offset = jax.random.randint(where, (batch_size,), 0, self.owned.degree(row))
        positive, negative = self.owned.item(row, offset), self.owned.negative(row, negative_key)
        return Triples(user, *self.owned.answer(here, positive, negative), jnp.ones(batch_size, jnp.float32))


@_sampler
class EdgeSampler:
    """Every train pair once an epoch, in an order permuted for each epoch, with a fresh uniform negative.

    Pairs of users who have every item are left out. The last batch of an epoch is padded with weight 0. The pairs are
    numbered user by user; `first` int32[rows] is the number of each user's first one.
    """

    owned: Owned
    first: jax.Array
    num_examples: int = _static()

    def draw(self, key: jax.Array, step: jax.Array, batch_size: int) -> Triples:
        """The triples of the `step`-th batch (from 0) of the epoch with this key."""
        place = step * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
        weight = (place < self.num_examples).astype(jnp.float32)
        place = jnp.minimum(place, self.num_examples - 1)
        pair = permutation.element(jax.random.fold_in(key, 0), place, self.num_examples)
        row = jnp.searchsorted(self.first, pair, side="right", method="scan_unrolled").astype(jnp.int32) - 1
        row = jnp.maximum(row, 0)
        offset = pair - self.first[row]
        here = (offset >= 0) & (offset < self.owned.degree(row)) & (self.owned.degree(row) < self.owned.num_items)
        user = row if self.owned.user is None else self.owned.user[row]
        positive = self.owned.item(row, jnp.maximum(offset, 0))
        negative = self.owned.negative(row, jax.random.fold_in(key, step + 1))
        return Triples(*self.owned.answer(here, user, positive, negative), weight)


Sampler = UserSampler | EdgeSampler


def build(name: str, train: CSR, num_items: int) -> Sampler:
    """The named sampler ('user' or 'edge') over the host's train pairs, on one device.

    Raises:
      ValueError: no user has both a train item and an item that is not one.
    """
    return jax.device_put(part(name, train, num_items))


def part(
    name: str, train: CSR, num_items: int, owners: np.ndarray | None = None, place: int = 0, axis: str | None = None
) -> Sampler:
    """Host: what one of several devices needs of the named sampler, in NumPy arrays of the same shapes for all places.

    Args:
      name: 'user' or 'edge'.
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
    owned, padding = _owned(train, num_items, owners, place, axis)
    if name == "user":
        return UserSampler(owned, np.flatnonzero(drawable).astype(np.int32), train.nnz)
    width = np.where(drawable, degree, 0)
    first = (np.cumsum(width) - width).astype(np.int32)
    if owners is not None:
        first = np.pad(first[owners == place], (0, padding), constant_values=_LAST)
    return EdgeSampler(owned, first, int(width.sum()))


def _owned(train: CSR, num_items: int, owners: np.ndarray | None, place: int, axis: str | None) -> tuple[Owned, int]:
    """The pairs of one place, and by how many rows they are padded to those of the place with the most."""
    if owners is None:
        return Owned(train, None, num_items, axis), 0
    users = np.flatnonzero(owners == place)
    rows = csr.take(train, users)
    padding = int(np.bincount(owners).max()) - len(users)
    entries = int(np.bincount(owners, csr.degrees(train)).max()) - rows.nnz
    padded = CSR(np.pad(rows.indptr, (0, padding), mode="edge"), np.pad(rows.indices, (0, entries)))
    users = np.pad(users.astype(np.int32), (0, padding), constant_values=_LAST)
    return Owned(padded, users, num_items, axis), padding
