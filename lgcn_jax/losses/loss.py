"""What a loss gets and gives: the embeddings of a batch -> a value of each of its terms for each example."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lgcn_jax.settings import Settings, real


class Tables(NamedTuple):
    """The final embeddings of all users [U, d] and all items [I, d], in the order of their ids."""

    users: jax.Array
    items: jax.Array


class Embeddings(NamedTuple):
    """Embeddings of a batch's users, positive items and negative items.

    Attributes:
      user, positive: [B, d].
      negative: [n, B, d], n negatives of each example; [n, d], where all examples share them; None for in-batch ones.
    """

    user: jax.Array
    positive: jax.Array
    negative: jax.Array | None


class EmbeddedBatch(NamedTuple):
    """A batch as a loss sees it.

    Attributes:
      final: propagated embeddings; their dot products are the scores.
      initial: layer-0 embeddings, the trained rows, of the same nodes.
      weight: [B], of each example in the batch's mean: they add up to 1 over all devices, padding has 0.
      item: int32[B], the positive items.
      tables: what the loss asked for by `NEEDS_TABLES`, else None.
      axis: the mesh axis over which the batch is cut, None where it is not.
    """

    final: Embeddings
    initial: Embeddings
    weight: jax.Array
    item: jax.Array
    tables: Tables | None
    axis: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(Settings):
    """Base of all losses; a subclass adds its settings as fields, `weights` and `terms`.

    The total is the sum of weights[name] * mean(terms[name]), and of l2 * 0.5 * (the batch's squared layer-0 rows) / B.
    """

    NEEDS_TABLES: ClassVar[bool] = False  # whether `terms` looks at `EmbeddedBatch.tables`

    l2: float = real(1e-4, "weight of the batch's squared layer-0 rows", lambda v: v >= 0, "a number of at least 0")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term in the total; the first term is the one by which divergence is recognised."""
        raise NotImplementedError

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        """The terms' values for each example, float[B]; the names are those of `weights`."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the terms, that of the penalty included, in the order in which they are added."""
        return (*self.weights, "l2")

    def total(self, means: dict[str, jax.Array]) -> jax.Array:
        """The weighted sum of the terms' means."""
        weights = self.weights | {"l2": self.l2}
        total: jax.Array = sum(weights[name] * means[name] for name in self.names)  # type: ignore[assignment]
        return total


def scores(batch: EmbeddedBatch) -> tuple[jax.Array, jax.Array]:
    """The scores of the positive items, [B], and of the negative ones, [n, B].

    In-batch negatives are the positive items of all other examples, of all devices; where one of them is the example's
    own item, or padding, its score is -inf.
    """
    user, positive, negative = batch.final
    found = (user * positive).sum(-1)
    if negative is None:
        return found, _in_batch_scores(batch)
    if negative.ndim == 2:
        return found, jnp.matmul(negative, user.T, precision="highest")
    # A sum of another rank is rounded otherwise, and runs with one negative are to keep their bits.
    if len(negative) == 1:
        return found, (user * negative[0]).sum(-1)[None]
    return found, (user[None] * negative).sum(-1)


def _in_batch_scores(batch: EmbeddedBatch) -> jax.Array:
    of_all = batch.final.positive, batch.item, batch.weight
    if batch.axis is not None:
        of_all = tuple(jax.lax.all_gather(array, batch.axis, tiled=True) for array in of_all)
    positive, item, weight = of_all
    every = jnp.matmul(positive, batch.final.user.T, precision="highest")
    return jnp.where((item[:, None] == batch.item[None, :]) | (weight == 0)[:, None], -jnp.inf, every)


def l2_penalty(batch: EmbeddedBatch) -> jax.Array:
    """0.5 * the squared norms of an example's layer-0 rows, added up: float[B]; B examples share shared negatives."""
    user, positive, negative = batch.initial
    found = _squared(user) + _squared(positive)
    if negative is not None and negative.ndim == 3:
        found = found + (_squared(negative[0]) if len(negative) == 1 else _squared(negative).sum(0))
    elif negative is not None:
        size = len(user) if batch.axis is None else len(user) * jax.lax.axis_size(batch.axis)
        found = found + _squared(negative).sum() / size
    return 0.5 * found


def _squared(rows: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(rows), axis=-1)
