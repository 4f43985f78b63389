"""What a score is in training: a dot product or a cosine, and a margin of the positive item's angle."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from lgcn_jax.errors import InputError
from lgcn_jax.losses.loss import EmbeddedBatch, Embeddings, Loss, scores
from lgcn_jax.settings import choice, real


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredLoss(Loss):
    """Base of the losses of scores that are dot products or cosines, of which the positive one may have a margin.

    The angular margin turns the positive item's score cos(angle) into cos(angle + margin). It takes off
    2 sin(angle + margin / 2) sin(margin / 2), about margin * sin(angle): most at a right angle, next to nothing where
    user and item agree already. A margin of scores, such as that of the enhanced loss' ranking term, takes the same
    off at every angle, and off that term alone. Both may be used at once, and then both are taken off.
    """

    score: str = choice("dot", ("cosine", "dot"), "what scores are in training; items are ranked by dot products")
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
    def needs_vectors(self) -> bool:
        return self.score != "dot"

    def scores(self, batch: EmbeddedBatch) -> tuple[jax.Array, jax.Array]:
        """The scores of the positive items, [B], with the angular margin, and of the negative ones, [n, B]."""
        positive, negative = scores(batch._replace(final=vectors_for_score(batch.final, self.score)))
        return with_angular_margin(positive, self.angular_margin), negative


def vectors_for_score(embeddings: Embeddings, score: str) -> Embeddings:
    """The vectors whose dot products are the scores: these, or for "cosine" these at length 1."""
    if score == "dot":
        return embeddings
    user, positive, negative = embeddings
    return Embeddings(l2_normalize(user), l2_normalize(positive), None if negative is None else l2_normalize(negative))


def l2_normalize(rows: jax.Array) -> jax.Array:
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
