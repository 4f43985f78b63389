"""EGCF's loss: BPR, and InfoNCE between the batch's users, between its items, and between both."""

import dataclasses

import jax

from lgcn_jax.losses.bpr import ranking_loss
from lgcn_jax.losses.infonce import info_nce
from lgcn_jax.losses.logsumexp import num_block_scores
from lgcn_jax.losses.loss import EmbeddedBatch, Loss, StepSizes, scores
from lgcn_jax.settings import real


@dataclasses.dataclass(frozen=True, kw_only=True)
class EGCFLoss(Loss):
    """-log sigmoid(s_pos - s_neg) + contrast_weight * (InfoNCE(u, u) + InfoNCE(i, i) + InfoNCE(u, i)).

    InfoNCE(x, y) is mean_b of -log(exp(cos(x_b, y_b) / T) / sum_c exp(cos(x_b, y_c) / T)), b and c the examples of the
    whole batch, u their users and i their positive items. So InfoNCE(u, u) drives users apart, and InfoNCE(u, i) is the
    softmax over in-batch negatives. A node that stands in several examples counts in each of them, as in the published
    code (github.com/BlueGhostYi/EGCF), whose 1e-5 and 1e-7 within logarithms are left out.

    From Zhang et al. 2024, "Simplify to the Limit! Embedding-less Graph Collaborative Filtering for Recommender
    Systems" (ACM TOIS); T .1 and contrast_weight .1 on Yelp2018, .3 on Amazon-Book. It goes with every encoder that has
    embeddings. With --model=egcf the L2 penalty is that of the items, since users have no rows of their own.

    >>> from lgcn_jax.losses import EGCFLoss
    >>> EGCFLoss(contrast_weight=0.3).weights
    {'ranking': 1.0, 'contrast_users': 0.3, 'contrast_items': 0.3, 'contrast_pairs': 0.3}
    """

    contrast_weight: float = real(0.1, "weight of the contrastive term", lambda v: v >= 0, "at least 0")
    temperature: float = real(0.1, "temperature of the contrastive term", lambda v: v > 0, "a number above 0")

    @property
    def weights(self) -> dict[str, float]:
        return {"ranking": 1.0} | dict.fromkeys(
            ("contrast_users", "contrast_items", "contrast_pairs"), self.contrast_weight
        )

    @property
    def uses_in_batch_negatives(self) -> bool:
        return True

    def num_scores_in_memory(self, sizes: StepSizes) -> int:
        return super().num_scores_in_memory(sizes) + 3 * num_block_scores(sizes.examples, sizes.batch)

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        user, positive, _ = batch.final
        return {
            "ranking": ranking_loss(*scores(batch), margin=0.0),
            "contrast_users": info_nce(batch, user, user, self.temperature),
            "contrast_items": info_nce(batch, positive, positive, self.temperature),
            "contrast_pairs": info_nce(batch, user, positive, self.temperature),
        }
