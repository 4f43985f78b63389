"""Cosine contrastive loss: negatives count only where they come too close."""

import dataclasses

import jax

from lgcn_jax.losses.loss import EmbeddedBatch, Loss, scores
from lgcn_jax.losses.scored import vectors_for_score
from lgcn_jax.settings import real


@dataclasses.dataclass(frozen=True, kw_only=True)
class CCL(Loss):
    """(1 - cos_ui) + weight * mean_j max(0, cos_uj - margin).

    From Mao et al. 2021, "SimpleX: A Simple and Strong Baseline for Collaborative Filtering", eq. 1, with 800 to 2,000
    uniform negatives for each example, margin .9 and weight 150 on Yelp2018.
    """

    margin: float = real(
        0.9, "cosine from which a negative item counts", lambda v: -1 <= v <= 1, "a number from -1 to 1"
    )
    negative_weight: float = real(150.0, "weight of the negative items' mean", lambda v: v >= 0, "at least 0")

    @property
    def weights(self) -> dict[str, float]:
        return {"positive": 1.0, "negative": self.negative_weight}

    def scores(self, batch: EmbeddedBatch) -> tuple[jax.Array, jax.Array]:
        return scores(batch._replace(final=vectors_for_score(batch.final, "cosine")))

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        positive, negative = self.scores(batch)
        return {"positive": 1 - positive, "negative": jax.nn.relu(negative - self.margin).mean(0)}
