"""What the losses share that contrast a positive item with a softmax over many others."""

import dataclasses
import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lgcn_jax.errors import InputError
from lgcn_jax.losses.logsumexp import logsumexp_of_products, num_block_scores
from lgcn_jax.losses.loss import EmbeddedBatch, StepSizes
from lgcn_jax.losses.scored import ScoredLoss, vectors_for_score, with_angular_margin
from lgcn_jax.settings import choice, real, setting


class Contrast(NamedTuple):
    """What an example is made of: float[B] each.

    Attributes:
      positive: the logit of the positive item.
      negative: the logarithm of the sum of the exponentials of the negative items' logits; -inf without any.
    """

    positive: jax.Array
    negative: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrastive(ScoredLoss):
    """Base of the losses whose negatives compete in a sum of exponentials of score / temperature.

    Negatives are those that the batch has: by default the positive items of its other examples. An item that stands in
    the batch several times counts several times, also for an example whose own item it is, as in the published code
    (github.com/junkangwu/BSL takes out the diagonal alone); with `mask_duplicates` the example's own item never counts.
    """

    NEGATIVES: ClassVar[str | None] = "in-batch"

    score: str = choice("cosine", ("cosine", "dot"), "what scores are in training; items are ranked by dot products")
    in_batch: bool = setting(
        False,
        "whether the items of the batch's other examples are negatives beside those of --negatives",
        lambda v: isinstance(v, bool),
        "true or false",
    )
    mask_duplicates: bool = setting(
        False,
        "whether the other examples' items are left out where they are the example's own",
        lambda v: isinstance(v, bool),
        "true or false",
    )
    logq: bool = setting(
        False,
        "whether log(expected number of times that an item is drawn) is taken off a negative item's logit",
        lambda v: isinstance(v, bool),
        "true or false",
    )

    @property
    def needs_vectors(self) -> bool:
        return True

    @property
    def uses_in_batch_negatives(self) -> bool:
        return self.in_batch

    @property
    def needs_probabilities(self) -> bool:
        return self.logq

    def num_scores_in_memory(self, sizes: StepSizes) -> int:
        parts = [sizes.columns] + ([sizes.batch] if self.in_batch and not sizes.in_batch else [])
        return sum(num_block_scores(sizes.examples, columns) for columns in parts)

    def contrast(
        self, batch: EmbeddedBatch, temperature: float | jax.Array, user_temperature: jax.Array | None = None
    ) -> Contrast:
        """The logits of the positive items, and the logarithmic sums of the negative ones'.

        Scores are divided by the temperature, those of negative items by `user_temperature` [B] where it is given.
        With `logq` each negative counts 1 / (how often it is expected to be drawn), so that the sum estimates that over
        all items (importance sampling, Bengio and Senecal 2008; in-batch, Yi et al. 2019); of two kinds of negatives,
        the mean of both estimates is taken. The positive item is there for certain and is not corrected.
        """
        user, positive, negative = vectors_for_score(batch.final, self.score)
        own = with_angular_margin((user * positive).sum(-1), self.angular_margin)
        rows, parts = user / (temperature if user_temperature is None else user_temperature[:, None]), []
        if negative is None or self.in_batch:
            parts.append(self._in_batch_logsumexp(batch, rows, positive))
        if negative is not None:
            parts.append(self._sampled_logsumexp(batch, rows, negative))
        if self.logq:
            parts = [part - math.log(len(parts)) for part in parts]
        return Contrast(own / temperature, parts[0] if len(parts) == 1 else jnp.logaddexp(*parts))

    def _in_batch_logsumexp(self, batch: EmbeddedBatch, rows: jax.Array, positive: jax.Array) -> jax.Array:
        number = jnp.arange(len(rows), dtype=jnp.int32) + batch.first
        label = batch.item if self.mask_duplicates else number
        items, labels, weight = batch.of_all_devices(positive, label, batch.weight)
        offset = jnp.where(weight > 0, 0.0, -jnp.inf).astype(rows.dtype)
        if self.logq:
            (probability,) = batch.of_all_devices(require_probability(batch.positive_probability))
            count = (weight > 0).sum().astype(probability.dtype)
            offset = offset - jnp.log(count * probability).astype(rows.dtype)
        return logsumexp_of_products(rows, items, offset, label, labels)

    def _sampled_logsumexp(self, batch: EmbeddedBatch, rows: jax.Array, negative: jax.Array) -> jax.Array:
        offset = jnp.zeros(negative.shape[:-1], rows.dtype)
        if self.logq:
            offset = offset - jnp.log(len(negative) * require_probability(batch.negative_probability)).astype(
                rows.dtype
            )
        if negative.ndim == 2:  # the same for all examples
            nobody = jnp.full(len(negative), -1, jnp.int32)
            return logsumexp_of_products(rows, negative, offset, jnp.zeros(len(rows), jnp.int32), nobody)
        return jax.nn.logsumexp((rows[None] * negative).sum(-1) + offset, axis=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftmaxLoss(Contrastive):
    """Base of the contrastive losses with a temperature that is set."""

    temperature: float = real(0.12, "temperature of the contrastive term", lambda v: v > 0, "a number above 0")


def require_probability(probability: jax.Array | None) -> jax.Array:
    """The probabilities, which a sampler from elsewhere need not know."""
    if probability is None:
        raise InputError("--logq", "true", "false with a sampler that does not tell how often items are drawn")
    return probability
