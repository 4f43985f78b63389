"""XSimGCL: SimGCL with one propagation, for scores and contrast."""

import dataclasses

from lgcn_jax.losses.loss import Views
from lgcn_jax.losses.simgcl import SimGCL
from lgcn_jax.settings import integer, real


@dataclasses.dataclass(frozen=True, kw_only=True)
class XSimGCL(SimGCL):
    """-log sigmoid(s_pos - s_neg) + contrast_weight * (InfoNCE of the users + InfoNCE of the items), as `SimGCL`.

    But there is one propagation alone, with noise: the scores are of its final embeddings, and x and y of InfoNCE are
    these and its layer `contrast_layer`. So a step costs one propagation where SimGCL takes three. Items are ranked
    without noise.

    From Yu et al. 2023, "XSimGCL: Towards Extremely Simple Graph Contrastive Learning for Recommendation"
    (arXiv:2209.02544); on Yelp2018 contrast_weight .2, noise .2, T .15, contrast_layer 1, and the layer
    weights of SimGCL.

    >>> from lgcn_jax.losses import XSimGCL
    >>> XSimGCL(contrast_layer=2).views
    Views(noise=0.2, layer=2)
    """

    contrast_weight: float = real(0.2, "weight of the contrastive term", lambda v: v >= 0, "at least 0")
    noise: float = real(0.2, "length of the noise that is added to each embedding", lambda v: v >= 0, "at least 0")
    temperature: float = real(0.15, "temperature of the contrastive term", lambda v: v > 0, "a number above 0")
    contrast_layer: int = integer(1, "layer that the final embeddings are contrasted with", most=64)

    @property
    def views(self) -> Views | None:
        return Views(self.noise, self.contrast_layer)
