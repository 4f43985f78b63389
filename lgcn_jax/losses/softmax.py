"""What the losses share that contrast a positive item with a softmax over many others."""

import dataclasses
import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lgcn_jax.errors import InputError
from lgcn_jax.losses.logsumexp import logsumexp_of_products
from lgcn_jax.losses.loss import EmbeddedBatch, Embeddings, Loss
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
class SoftmaxLoss(Loss):
    """Base of the losses whose negatives compete in a sum of exponentials of score / temperature.

    Negatives are those that the batch has: by default the positive items of its other examples. An item that stands in
    the batch several times counts several times, also for an example whose own item it is, as in the published code
    (github.com/junkangwu/BSL takes out the diagonal alone); with `mask_duplicates` the example's own item never counts.
    """

    NEGATIVES: ClassVar[str | None] = "in-batch"

    temperature: float = real(0.12, "temperature of the contrastive term", lambda v: v > 0, "a number above 0")
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
    angular_margin: float = real(
        0.0,
        "radians by which the positive item's angle is made larger, with --score=cosine",
        lambda v: 0 <= v < math.pi,
        "a number of at least 0 and below pi",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.angular_margin and self.score != "cosine":
            raise InputError("--angular_margin", self.angular_margin, "0 with --score=dot, which knows no angles")

    @property
    def takes_batch(self) -> bool:
        return self.in_batch

    @property
    def needs_shares(self) -> bool:
        return self.logq

    def contrast(self, batch: EmbeddedBatch) -> Contrast:
        """The logits of the positive items, and the logarithmic sums of the negative ones'.

        With `logq` each negative counts 1 / (how often it is expected to be drawn), so that the sum estimates that over
        all items (importance sampling, Bengio and Senecal 2008; in-batch, Yi et al. 2019); of two kinds of negatives,
        the mean of both estimates is taken. The positive item is there for certain and is not corrected.
        """
        user, positive, negative = vectors(batch.final, self.score)
        own = with_angular_margin((user * positive).sum(-1), self.angular_margin)
        rows, parts = user / self.temperature, []
        if negative is None or self.in_batch:
            parts.append(self._of_the_batch(batch, rows, positive))
        if negative is not None:
            parts.append(self._of_the_drawn(batch, rows, negative))
        if self.logq:
            parts = [part - math.log(len(parts)) for part in parts]
        return Contrast(own / self.temperature, parts[0] if len(parts) == 1 else jnp.logaddexp(*parts))

    def _of_the_batch(self, batch: EmbeddedBatch, rows: jax.Array, positive: jax.Array) -> jax.Array:
        number = jnp.arange(len(rows), dtype=jnp.int32) + batch.first
        label = batch.item if self.mask_duplicates else number
        items, labels, weight = batch.of_all_devices(positive, label, batch.weight)
        offset = jnp.where(weight > 0, 0.0, -jnp.inf).astype(rows.dtype)
        if self.logq:
            (share,) = batch.of_all_devices(required(batch.share))
            count = (weight > 0).sum().astype(share.dtype)
            offset = offset - jnp.log(count * share).astype(rows.dtype)
        return logsumexp_of_products(rows, items, offset, label, labels)

    def _of_the_drawn(self, batch: EmbeddedBatch, rows: jax.Array, negative: jax.Array) -> jax.Array:
        offset = jnp.zeros(negative.shape[:-1], rows.dtype)
        if self.logq:
            offset = offset - jnp.log(len(negative) * required(batch.negative_share)).astype(rows.dtype)
        if negative.ndim == 2:  # the same for all examples
            nobody = jnp.full(len(negative), -1, jnp.int32)
            return logsumexp_of_products(rows, negative, offset, jnp.zeros(len(rows), jnp.int32), nobody)
        return jax.nn.logsumexp((rows[None] * negative).sum(-1) + offset, axis=0)


def required(share: jax.Array | None) -> jax.Array:
    """The shares, which a sampler from elsewhere need not know."""
    if share is None:
        raise InputError("--logq", "true", "false with a sampler that does not tell how often items are drawn")
    return share


def vectors(rows: Embeddings, score: str) -> Embeddings:
    """The vectors whose dot products are the scores: these, or for "cosine" these at length 1."""
    if score == "dot":
        return rows
    user, positive, negative = rows
    return Embeddings(normalized(user), normalized(positive), None if negative is None else normalized(negative))


def normalized(rows: jax.Array) -> jax.Array:
    """rows / max(|rows|, 1e-12), along the last axis, as `torch.nn.functional.normalize`."""
    squared = jnp.square(rows).sum(-1, keepdims=True)
    return rows * jax.lax.rsqrt(jnp.maximum(squared, 1e-24))


def with_angular_margin(cosine: jax.Array, margin: float) -> jax.Array:
    """cos(angle + margin) of float[B] cosines, for angles up to pi - margin; from there on -1, with a slope of 0.

    ArcFace's margin (Deng et al. 2019), for recommendations Zhang et al. 2022 (BC loss).
    """
    if not margin:
        return cosine
    sine = jnp.sqrt(jnp.maximum(1 - jnp.square(cosine), 1e-12))
    return jnp.where(cosine < -math.cos(margin), -1.0, cosine * math.cos(margin) - sine * math.sin(margin))
