"""Triples (user, positive, negative) drawn on the device, a pure function of the key that is passed in.

A sampler is a pytree with `num_examples` (the draws of an epoch), `shuffled(key)` (the sampler of an epoch) and
`draw(key, step, batch_size)`. Negatives are drawn exactly uniformly from the items outside the user's train items
(`csr.complement`), so that no rejection loop runs and no negative is a train positive.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax import csr
from lgcn_jax.csr import CSR


class Triples(NamedTuple):
    """A batch: `user`, `positive`, `negative` int32[B], items not offset, and `weight` float32[B], 0 where padded."""

    user: jax.Array
    positive: jax.Array
    negative: jax.Array
    weight: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class UserSampler:
    """LightGCN's sampler: a uniform user, uniformly one of its items, uniformly an item that is not its own.

    Users without a train item and users who have every item are never drawn. An epoch draws as often as there are
    train pairs, with replacement.
    """

    train: CSR
    users: jax.Array
    num_items: int = dataclasses.field(metadata={"static": True})

    @property
    def num_examples(self) -> int:
        return self.train.nnz

    def shuffled(self, key: jax.Array) -> "UserSampler":
        del key  # draws are independent, so an epoch has no order
        return self

    def draw(self, key: jax.Array, step: jax.Array, batch_size: int) -> Triples:
        """The triples of one step; `step` is not looked at, every batch is full."""
        del step
        which, where, negative_key = jax.random.split(key, 3)
        user = self.users[jax.random.randint(which, (batch_size,), 0, self.users.shape[0])]
        degree = self.train.indptr[user + 1] - self.train.indptr[user]
        offset = jax.random.randint(where, (batch_size,), 0, degree)
        positive = self.train.indices[self.train.indptr[user] + offset]
        negative = _negative(self.train, self.num_items, user, negative_key)
        return Triples(user, positive, negative, jnp.ones(batch_size, jnp.float32))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EdgeSampler:
    """Every train pair once an epoch, in an order permuted for each epoch, with a fresh uniform negative.

    Pairs of users who have every item are left out. The last batch of an epoch is padded with weight 0.
    """

    train: CSR
    users: jax.Array
    items: jax.Array
    num_items: int = dataclasses.field(metadata={"static": True})

    @property
    def num_examples(self) -> int:
        return self.users.shape[0]

    def shuffled(self, key: jax.Array) -> "EdgeSampler":
        order = jax.random.permutation(key, self.num_examples)
        return dataclasses.replace(self, users=self.users[order], items=self.items[order])

    def draw(self, key: jax.Array, step: jax.Array, batch_size: int) -> Triples:
        """The triples of the `step`-th batch (from 0) of the epoch that this sampler was shuffled for."""
        place = step * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
        weight = (place < self.num_examples).astype(jnp.float32)
        place = jnp.minimum(place, self.num_examples - 1)
        user, positive = self.users[place], self.items[place]
        return Triples(user, positive, _negative(self.train, self.num_items, user, key), weight)


Sampler = UserSampler | EdgeSampler


def build(name: str, train: CSR, num_items: int) -> Sampler:
    """The named sampler ('user' or 'edge') over the host's train pairs.

    Raises:
      ValueError: no user has both a train item and an item that is not one.
    """
    degree = csr.degrees(train)
    drawable = (degree > 0) & (degree < num_items)
    if not drawable.any():
        raise ValueError("no user has both a train item and an item that is none")
    device = CSR(*map(jnp.asarray, train))
    if name == "user":
        return UserSampler(device, jnp.asarray(np.flatnonzero(drawable).astype(np.int32)), num_items)
    rows = csr.row_of_entry(train)
    kept = drawable[rows]
    return EdgeSampler(device, jnp.asarray(rows[kept]), jnp.asarray(train.indices[kept]), num_items)


def _negative(train: CSR, num_items: int, user: jax.Array, key: jax.Array) -> jax.Array:
    absent = num_items - (train.indptr[user + 1] - train.indptr[user])
    return csr.complement(train, user, jax.random.randint(key, user.shape, 0, absent))
