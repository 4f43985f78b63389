"""Sampled softmax, the contrast of a positive item with the items of the batch's other examples."""

import dataclasses

import jax
import jax.numpy as jnp

from lgcn_jax.losses.loss import EmbeddedBatch
from lgcn_jax.losses.softmax import SoftmaxLoss
from lgcn_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSM(SoftmaxLoss):
    """log(exp(s_ui / T) + sum_j exp(s_uj / T)) - s_ui / T, s the cosine or the dot product, j the negatives.

    From Wu et al. 2022, "On the Effectiveness of Sampled Softmax Loss for Item Recommendation". Without the positive
    item in the sum (`keep_positive` false) it is SL of Wu et al. 2023, "BSL" (arXiv:2312.12882), whose settings for
    Gowalla are one layer, T .12, batches of 2,048 and l2 1e-5; an example without any negative then adds nothing.
    """

    keep_positive: bool = setting(
        True, "whether the positive item stands in the sum, too", lambda v: isinstance(v, bool), "true or false"
    )

    @property
    def weights(self) -> dict[str, float]:
        return {"softmax": 1.0}

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        positive, negative = self.contrast(batch, self.temperature)
        total = jnp.logaddexp(positive, negative) if self.keep_positive else negative
        return {"softmax": jnp.where(jnp.isneginf(total), 0, total - positive)}
