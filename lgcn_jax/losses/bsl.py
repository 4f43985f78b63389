"""BSL: a softmax that is robust to false positives as well as to false negatives."""

import dataclasses

import jax
import jax.numpy as jnp

from lgcn_jax.losses.loss import EmbeddedBatch
from lgcn_jax.losses.softmax import SoftmaxLoss
from lgcn_jax.settings import real


@dataclasses.dataclass(frozen=True, kw_only=True)
class BSL(SoftmaxLoss):
    """ratio * log(sum_j exp(s_uj / T)) - s_ui / T, j the negatives, the positive item left out.

    From Wu et al. 2023, "BSL: Understanding and Improving Softmax Loss for Recommendation" (arXiv:2312.12882), in the
    form of the published code ("reweight"; github.com/junkangwu/BSL). The ratio is T over the temperature of the
    positive side: .84 for Gowalla, 1.12 for Yelp2018; at 1 it is SL. An example without any negative adds nothing.
    """

    ratio: float = real(0.84, "weight of the negatives' logarithmic sum", lambda v: v > 0, "a number above 0")

    @property
    def weights(self) -> dict[str, float]:
        return {"softmax": 1.0}

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        positive, negative = self.contrast(batch, self.temperature)
        return {"softmax": jnp.where(jnp.isneginf(negative), 0, self.ratio * negative - positive)}
