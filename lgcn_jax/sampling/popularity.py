"""Negatives that are drawn by how popular items are."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.sampling.negatives import KnownPairs, PerExampleSettings
from lgcn_jax.sampling.pairs import LocalPairs, Negatives, Ownership
from lgcn_jax.settings import real

MASS = 2**30  # of all items together: whole numbers, so that no sum is rounded


@pytree
class PopularityNegatives(Negatives):
    """For each example items that the user does not have, each with a probability proportional to its mass.

    Without rejection: the items stand side by side, each as wide as its mass, a user's own ones are cut out, and a
    place in what is left is drawn. A user of whom nothing is left gets uniform items.

    Attributes:
      start: int32[num_items + 1], where each item begins.
      own: int32[pairs], the mass of a row's items before each of its entries.
      left: int32[rows], the mass that each row's own items leave.
      count: items of each example; static.
    """

    start: jax.Array | np.ndarray
    own: jax.Array | np.ndarray
    left: jax.Array | np.ndarray
    count: int = static()

    def draw(self, pairs: LocalPairs, row: jax.Array, here: jax.Array, key: jax.Array) -> jax.Array:
        """int32[B, count]; see `Negatives.draw`."""
        by_mass, uniform = jax.random.split(key)
        row = jnp.repeat(row, self.count)
        left = self.left[row]
        place = integers_below(jax.random.bits(by_mass, row.shape, jnp.uint32), left)

        def beyond(position: jax.Array, offset: jax.Array) -> jax.Array:
            del offset
            return self.start[pairs.train.indices[position]] - self.own[position] > place

        passed = csr.first_offset(pairs.train, row, beyond)
        position = jnp.minimum(pairs.train.indptr[row] + passed, pairs.train.nnz - 1)
        inside = jnp.where(passed < pairs.degree(row), self.own[position], self._total_mass() - left)
        found = jnp.searchsorted(self.start, place + inside, side="right", method="scan_unrolled").astype(jnp.int32) - 1
        items = jnp.where(left > 0, found, pairs.missing_item(row, uniform)).reshape(-1, self.count)
        return pairs.broadcast_from_owner(here[:, None], items)[0]

    def negative_probability(self, pairs: LocalPairs, items: jax.Array | None) -> jax.Array:
        """Before a user's own items are cut out."""
        del pairs
        assert items is not None
        return (self.start[items + 1] - self.start[items]).astype(jnp.float32) / self._total_mass().astype(jnp.float32)

    def _total_mass(self) -> jax.Array:
        return jnp.asarray(self.start)[-1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PopularitySettings(PerExampleSettings):
    """Items are drawn by (number of train pairs) ** beta, as words are by Mikolov et al. 2013 with .75."""

    KNOWS_PROBABILITIES: ClassVar[bool] = True

    beta: float = real(0.75, "power of an item's popularity", lambda v: v >= 0, "a number of at least 0")

    def build(self, known: KnownPairs, owned: Ownership) -> PopularityNegatives:
        mass = item_masses(np.bincount(known.train.indices, minlength=known.num_items), self.beta)
        pairs = owned.take(known.train)
        start, before = _running_sum(mass), _running_sum(mass[pairs.indices])
        first, last = before[pairs.indptr[:-1]], before[pairs.indptr[1:]]
        own = before[:-1].copy()
        own[: pairs.indptr[-1]] -= np.repeat(first, csr.degrees(pairs))
        start, own, left = (array.astype(np.int32) for array in (start, own, start[-1] - (last - first)))
        return PopularityNegatives(start=start, own=own, left=left, count=self.num_negatives)


def integers_below(bits: jax.Array, span: jax.Array) -> jax.Array:
    """int32: floor(bits * span / 2**32), evenly spread over range(span), of uint32 bits and an int32 span.

    `jax.random.randint` takes a remainder of 32 bits, and makes the first quarter of a span near 2**30 a quarter more
    probable than the rest.
    """
    span = span.astype(jnp.uint32)
    low, high = bits & 0xFFFF, bits >> 16
    first, second = span & 0xFFFF, span >> 16
    middle = high * first + (low * first >> 16)
    carried = (low * second + (middle & 0xFFFF)) >> 16
    return (high * second + (middle >> 16) + carried).astype(jnp.int32)


def item_masses(popularity: np.ndarray, beta: float) -> np.ndarray:
    """int64[num_items], proportional to popularity ** beta, at least 1 where that is not 0, MASS in all (about)."""
    weight = popularity.astype(np.float64) ** beta
    return np.where(weight > 0, np.maximum(1, np.round(weight * (MASS / weight.sum()))), 0).astype(np.int64)


def _running_sum(mass: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(mass)])
