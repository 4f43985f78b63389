"""Bayesian personalised ranking (Rendle et al. 2009), LightGCN's own loss."""

import dataclasses

import jax

from lgcn_jax.losses.loss import EmbeddedBatch
from lgcn_jax.losses.scored import ScoredLoss


@dataclasses.dataclass(frozen=True, kw_only=True)
class BPR(ScoredLoss):
    """-log sigmoid(s_pos - s_neg): the enhanced loss' ranking term at margin 0, alone."""

    @property
    def weights(self) -> dict[str, float]:
        return {"ranking": 1.0}

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        return {"ranking": ranking_loss(*self.scores(batch), margin=0.0)}


def ranking_loss(positive_scores: jax.Array, negative_scores: jax.Array, margin: float) -> jax.Array:
    """softplus(s_neg - s_pos + margin), a mean over the negatives: float[B].

    From "Research on LightGCN Recommendation Algorithm with Enhanced Loss Function", section 3.1; at margin 0 it is
    -log sigmoid(s_pos - s_neg).

    Args:
      positive_scores: float[B].
      negative_scores: float[n, B].
      margin: added to each difference.
    """
    return jax.nn.softplus(negative_scores - positive_scores[None, :] + margin).mean(0)
