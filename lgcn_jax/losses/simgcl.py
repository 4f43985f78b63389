"""SimGCL: BPR, and a contrast between two propagations with noise."""

import dataclasses

import jax

from lgcn_jax.losses.infonce import ranking_and_contrast
from lgcn_jax.losses.logsumexp import num_block_scores
from lgcn_jax.losses.loss import EmbeddedBatch, Loss, StepSizes, Views
from lgcn_jax.settings import real


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimGCL(Loss):
    """-log sigmoid(s_pos - s_neg) + contrast_weight * (InfoNCE of the users + InfoNCE of the items).

    InfoNCE is mean over nodes n of -log(exp(cos(x_n, y_n) / T) / sum_m exp(cos(x_n, y_m) / T)), x and y the final
    embeddings of two further propagations in which each embedding e of each layer is moved by noise * sign(e) * u, u a
    random vector of length 1 without negative elements. n and m are the distinct users of the whole batch, or its
    distinct positive items: a node that stands in several examples counts once, as in the published code
    (github.com/Coder-Yu/SELFRec).

    From Yu et al. 2022, "Are Graph Augmentations Necessary? Simple Graph Contrastive Learning for Recommendation"
    (arXiv:2112.08679); on Yelp2018 contrast_weight .5, noise .1, T .2, and three layers whose weights are
    0,1/3,1/3,1/3: the published encoder leaves layer 0 out, where --layer_weights has to say so. The L2 penalty is
    that of every loss here, on layer 0.

    >>> from lgcn_jax.losses import SimGCL
    >>> SimGCL(noise=0.2).views
    Views(noise=0.2, layer=0)
    """

    contrast_weight: float = real(0.5, "weight of the contrastive term", lambda v: v >= 0, "at least 0")
    noise: float = real(0.1, "length of the noise that is added to each embedding", lambda v: v >= 0, "at least 0")
    temperature: float = real(0.2, "temperature of the contrastive term", lambda v: v > 0, "a number above 0")

    @property
    def weights(self) -> dict[str, float]:
        return {"ranking": 1.0, "contrastive": self.contrast_weight}

    @property
    def uses_in_batch_negatives(self) -> bool:
        return True

    @property
    def views(self) -> Views | None:
        return Views(self.noise)

    def num_scores_in_memory(self, sizes: StepSizes) -> int:
        """Of users and of items, each with its gradient."""
        return super().num_scores_in_memory(sizes) + 4 * num_block_scores(sizes.examples, sizes.batch)

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        return ranking_and_contrast(batch, self.temperature)
