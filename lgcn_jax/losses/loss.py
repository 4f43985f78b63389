"""What a loss gets and gives: the embeddings of a batch -> a value of each of its terms for each example."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

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


class Views(NamedTuple):
    """The perturbed embeddings that a loss contrasts.

    Attributes:
      noise: length of the vector that is added to every embedding after each propagation.
      layer: 0: the scores are without noise, and both views are final embeddings of further propagations with it. k of
        at least 1: the scores are of a propagation with noise, whose final embeddings and layer k are the two views.
    """

    noise: float
    layer: int = 0


class View(NamedTuple):
    """Perturbed embeddings [B, d] of a batch's users and positive items."""

    user: jax.Array
    positive: jax.Array


class Head(Protocol):
    """What makes scores of embeddings where they are no dot products."""

    def pair_scores(self, user_vectors: jax.Array, item_vectors: jax.Array) -> jax.Array:
        """float[...]: the score of each pair of users [..., a] and items [..., b]."""

    def score_matrix(self, user_vectors: jax.Array, item_vectors: jax.Array) -> jax.Array:
        """float[n, m]: the scores of all pairs of users [n, a] and items [m, b]."""


class EmbeddedBatch(NamedTuple):
    """A batch as a loss sees it.

    Attributes:
      final: propagated embeddings, whose dot products are the scores; or what `head` makes scores of.
      initial: layer-0 embeddings, the trained rows, of the same nodes.
      weight: [B], of each example in the batch's mean: they add up to 1 over all devices, padding has 0.
      item: int32[B], the positive items.
      tables: what the loss asked for by `NEEDS_TABLES`, else None.
      axis: the mesh axis over which the batch is cut, None where it is not.
      positive_probability: [B], how probable each positive item is to be an example's; None where it is not known.
      negative_probability: [n, B] or [n], likewise each negative item to be drawn.
      statistics: what the loss has by name, [B] of each example's user, [] of the run; none where it has none.
      user: int32[B], the users; None where nobody asks who they are.
      views: two of them where the loss has `views`, else none.
      head: what makes the scores, None where they are dot products; losses with `needs_vectors` never see one.
    """

    final: Embeddings
    initial: Embeddings
    weight: jax.Array
    item: jax.Array
    tables: Tables | None
    axis: str | None
    positive_probability: jax.Array | None = None
    negative_probability: jax.Array | None = None
    statistics: Mapping[str, jax.Array] = {}
    user: jax.Array | None = None
    views: tuple[View, ...] = ()
    head: Head | None = None

    @property
    def first(self) -> jax.Array | int:
        """The number of this device's first example in the whole batch."""
        return 0 if self.axis is None else jax.lax.axis_index(self.axis) * len(self.item)

    def of_all_devices(self, *columns: jax.Array) -> tuple[jax.Array, ...]:
        """Columns [B, ...] of this device's examples, each as that of the whole batch."""
        if self.axis is None:
            return columns
        return tuple(jax.lax.all_gather(column, self.axis, tiled=True) for column in columns)


class StepSizes(NamedTuple):
    """What a train step is made of, as far as scores depend on it.

    Attributes:
      examples: of a device.
      batch: examples of all devices.
      shared: negatives that all examples share; 0: none.
      in_batch: whether the items of the batch's other examples are the negatives.
    """

    examples: int
    batch: int
    shared: int
    in_batch: bool

    @property
    def columns(self) -> int:
        """Negatives that each example is scored with and that are no rows of its own."""
        return self.batch if self.in_batch else self.shared


class WholeModel(NamedTuple):
    """What statistics are made of, at the beginning of an epoch.

    Attributes:
      final: the final embeddings of all users and items.
      epoch: int32[], the epoch that begins, from 1.
      pairs: float32[U], the number of each user's train pairs.
      positive_probability: float32[I], how probable each item is to be the positive one of an example.
      mean_of_own: rows of items [I, d] -> float[U, d], the mean of those that each user has, 0 where there is none; of
        weighted pairs, the weighted mean.
      each_user: (function, rows, width) -> float[U], a function of some users' rows [b, d] -> float[b], applied to all
        rows [U, d] on all devices together, to as many at a time as it can have `width` numbers of each.
      previous: the statistics as they were renewed last, by name; zeros before the first time.
    """

    final: Tables
    epoch: jax.Array
    pairs: jax.Array
    positive_probability: jax.Array
    mean_of_own: Callable[[jax.Array], jax.Array]
    each_user: Callable[[Callable[[jax.Array], jax.Array], jax.Array, int], jax.Array]
    previous: Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(Settings):
    """Base of all losses; a subclass adds its settings as fields, `weights` and `terms`.

    The total is the sum of weights[name] * mean(terms[name]), and of l2 * 0.5 * (the batch's squared layer-0 rows) / B.

    A loss may have statistics of the whole model, which are 0 before they are renewed for the first time, and stay as
    they are until they are renewed again: they are named, `renewal_due` says when, and `renewed` how they are computed.
    """

    NEGATIVES: ClassVar[str | None] = None  # the --negatives that it has by default, None: what all have
    IN_BATCH_ONLY: ClassVar[bool] = False  # whether it takes no other negatives than those of the batch
    USER_STATISTICS: ClassVar[tuple[str, ...]] = ()  # names of the statistics of each user
    RUN_STATISTICS: ClassVar[tuple[str, ...]] = ()  # names of those that all users share
    NEEDS_TABLES: ClassVar[bool] = False  # whether `terms` looks at `EmbeddedBatch.tables`

    l2: float = real(1e-4, "weight of the batch's squared layer-0 rows", lambda v: v >= 0, "a number of at least 0")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term in the total; the first term is the one by which divergence is recognised."""
        raise NotImplementedError

    def scores(self, batch: EmbeddedBatch) -> tuple[jax.Array, jax.Array]:
        """What it takes for the scores of the positive items, [B], and of the negative ones, [n, B]."""
        return scores(batch)

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        """The terms' values for each example, float[B]; the names are those of `weights`."""
        raise NotImplementedError

    @property
    def uses_in_batch_negatives(self) -> bool:
        """Whether items of the batch's other examples are negatives, whatever --negatives is."""
        return False

    @property
    def needs_vectors(self) -> bool:
        """Whether it needs scores that are dot products of embeddings, and not only what `scores` gives."""
        return True

    @property
    def needs_probabilities(self) -> bool:
        """Whether it looks at `EmbeddedBatch.positive_probability` and `EmbeddedBatch.negative_probability`."""
        return False

    def num_scores_in_memory(self, sizes: StepSizes) -> int:
        """How many scores a step holds at a time, those of negatives that are rows of an example's own left out.

        An estimate, for the memory of a run: a matrix of all scores and its gradient.
        """
        return 2 * sizes.examples * sizes.columns

    def validate(self, pairs: np.ndarray, num_items: int) -> None:
        """Raises an InputError where the loss does not go with the data set; int[U] are the users' train pairs."""

    def renewal_due(self, epoch: int) -> bool:
        """Whether the statistics are renewed before the first step of `epoch` (from 1)."""
        del epoch
        return False

    def renewed(self, model: WholeModel) -> dict[str, jax.Array]:
        """The statistics by name: float[U] of the users, in the order of their ids, and float[] of the run."""
        raise NotImplementedError

    @property
    def views(self) -> Views | None:
        """The perturbed embeddings that it looks at, which `EmbeddedBatch.views` then has; None: none."""
        return None

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
    if batch.head is not None:
        return batch.head.pair_scores(user, positive), _scores_by_head(batch, batch.head)
    found = (user * positive).sum(-1)
    if negative is None:
        return found, _in_batch_scores(batch)
    if negative.ndim == 2:
        return found, jnp.matmul(negative, user.T, precision="highest")
    # A sum of another rank is rounded otherwise, and runs with one negative are to keep their bits.
    if len(negative) == 1:
        return found, (user * negative[0]).sum(-1)[None]
    return found, (user[None] * negative).sum(-1)


def _scores_by_head(batch: EmbeddedBatch, head: Head) -> jax.Array:
    user, _, negative = batch.final
    if negative is None:
        return _in_batch_scores(batch)
    return head.score_matrix(user, negative).T if negative.ndim == 2 else head.pair_scores(user[None], negative)


def _in_batch_scores(batch: EmbeddedBatch) -> jax.Array:
    positive, item, weight = batch.of_all_devices(batch.final.positive, batch.item, batch.weight)
    if batch.head is None:
        every = jnp.matmul(positive, batch.final.user.T, precision="highest")
    else:
        every = batch.head.score_matrix(batch.final.user, positive).T
    return jnp.where((item[:, None] == batch.item[None, :]) | (weight == 0)[:, None], -jnp.inf, every)


def keep_hardest_negatives(batch: EmbeddedBatch, loss: Loss, count: int) -> EmbeddedBatch:
    """The batch with no more of each example's negatives than the `count` that have the highest scores of the loss."""
    negative = batch.final.negative
    if negative is None or negative.ndim == 2 or len(negative) <= count:
        return batch
    found = jax.lax.stop_gradient(loss.scores(batch)[1])
    _, place = jax.lax.top_k(found.T, count)  # int32[B, count]

    def kept(rows: Embeddings) -> Embeddings:
        assert rows.negative is not None
        return rows._replace(negative=jnp.take_along_axis(rows.negative, place.T[:, :, None], axis=0))

    return batch._replace(final=kept(batch.final), initial=kept(batch.initial))


def l2_penalty(batch: EmbeddedBatch) -> jax.Array:
    """0.5 * the squared norms of an example's layer-0 rows, added up: float[B]; B examples share shared negatives."""
    user, positive, negative = batch.initial
    found = _sum_of_squares(user) + _sum_of_squares(positive)
    if negative is not None and negative.ndim == 3:
        found = found + (_sum_of_squares(negative[0]) if len(negative) == 1 else _sum_of_squares(negative).sum(0))
    elif negative is not None:
        size = len(user) if batch.axis is None else len(user) * jax.lax.axis_size(batch.axis)
        found = found + _sum_of_squares(negative).sum() / size
    return 0.5 * found


def _sum_of_squares(rows: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(rows), axis=-1)
