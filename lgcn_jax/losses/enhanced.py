"""The enhanced loss: margin-softplus ranking plus log-softmax contrast, weighted.

Formulas are those of "Research on LightGCN Recommendation Algorithm with Enhanced Loss Function", sections 3.1 to 3.3.
"""

import dataclasses

import jax
import jax.numpy as jnp

from lgcn_jax.losses.bpr import ranking_loss
from lgcn_jax.losses.loss import EmbeddedBatch
from lgcn_jax.losses.scored import ScoredLoss
from lgcn_jax.settings import real


@dataclasses.dataclass(frozen=True, kw_only=True)
class Enhanced(ScoredLoss):
    """alpha * ranking + (1 - alpha) * contrastive (section 3.3), of dot products as in the paper, or of cosines.

    The margin asks the ranking term for a positive score that is higher by so much than the negative one, whatever
    scores are: .05 is little among dot products, and a fortieth of the range of cosines. An angular margin is in the
    positive score of both terms; see `ScoredLoss` for what it asks.
    """

    margin: float = real(0.05, "margin of the ranking term", lambda v: True, "a finite number")
    temperature: float = real(0.2, "temperature of the contrastive term", lambda v: v > 0, "a number above 0")
    alpha: float = real(
        0.8,
        "weight of the ranking term; the contrastive term has 1 - alpha",
        lambda v: 0 <= v <= 1,
        "a number from 0 to 1",
    )

    @property
    def weights(self) -> dict[str, float]:
        return {"ranking": self.alpha, "contrastive": 1 - self.alpha}

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        positive, negative = self.scores(batch)
        return {
            "ranking": ranking_loss(positive, negative, self.margin),
            "contrastive": contrastive_loss(positive, negative, self.temperature),
        }


def contrastive_loss(positive_scores: jax.Array, negative_scores: jax.Array, temperature: float) -> jax.Array:
    """-log_softmax([s_pos, s_neg, ...] / temperature)[0], float[B] (section 3.2, two ways where there is one negative).

    Args:
      positive_scores: float[B].
      negative_scores: float[n, B].
      temperature: divides the scores.
    """
    if len(negative_scores) == 1:  # as ever, so that such runs keep their bits
        logits = jnp.stack([positive_scores, negative_scores[0]], axis=-1) / temperature
        return -jax.nn.log_softmax(logits, axis=-1)[..., 0]
    logits = jnp.concatenate([positive_scores[None, :], negative_scores]) / temperature
    return -jax.nn.log_softmax(logits, axis=0)[0]
