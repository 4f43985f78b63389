"""SL@K: a softmax whose examples count as far as their positive item is among the user's best K."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.errors import InputError
from lgcn_jax.losses.loss import EmbeddedBatch, Embeddings, WholeModel
from lgcn_jax.losses.scored import vectors_for_score
from lgcn_jax.losses.softmax import SoftmaxLoss
from lgcn_jax.settings import integer, real


@dataclasses.dataclass(frozen=True, kw_only=True)
class SLatK(SoftmaxLoss):
    """sigmoid((s_ui - beta_u) / weight_temperature) * (log(sum_j exp(s_uj / T)) - s_ui / T), j the negatives.

    From Yang et al. 2025, "Breaking the Top-K Barrier: Advancing Top-K Ranking Metrics Optimization in Recommender
    Systems". beta_u is the K-th best score of user u, 0 before it is computed for the first time; the gradient flows
    through the weight, too, as in the published code (github.com/Tiny-Snow/IR-Benchmark), which finds beta_u among the
    user's own items and 1,000 others, where here it is that of all items. Published settings for LightGCN with two
    layers on their Gowalla: T .1, weight_temperature .75, K 20, 1,000 uniform negatives, batches of 1,024.
    """

    USER_STATISTICS: ClassVar[tuple[str, ...]] = ("beta",)

    temperature: float = real(0.1, "temperature of the contrastive term", lambda v: v > 0, "a number above 0")
    weight_temperature: float = real(0.75, "temperature of an example's weight", lambda v: v > 0, "a number above 0")
    weight_k: int = integer(20, "place in the user's ranking from which on a positive item has less than half a weight")
    renew_every: int = integer(5, "epochs between computations of the score at that place")

    @property
    def weights(self) -> dict[str, float]:
        return {"softmax": 1.0}

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        user, positive, _ = vectors_for_score(batch.final._replace(negative=None), self.score)
        excess = (user * positive).sum(-1) - batch.statistics["beta"]
        own, negative = self.contrast(batch, self.temperature)
        contrast = jnp.where(jnp.isneginf(negative), 0, negative - own)
        return {"softmax": jax.nn.sigmoid(excess / self.weight_temperature) * contrast}

    def validate(self, pairs: np.ndarray, num_items: int) -> None:
        del pairs
        if self.weight_k > num_items:
            raise InputError("--weight_k", self.weight_k, f"at most {num_items}, the number of items")

    def renewal_due(self, epoch: int) -> bool:
        return epoch > 1 and (epoch - 1) % self.renew_every == 0

    def renewed(self, model: WholeModel) -> dict[str, jax.Array]:
        users, items, _ = vectors_for_score(Embeddings(*model.final, None), self.score)

        def last_of_the_best(rows: jax.Array) -> jax.Array:
            return jax.lax.top_k(jnp.matmul(rows, items.T, precision="highest"), self.weight_k)[0][:, -1]

        return {"beta": model.each_user(last_of_the_best, users, len(items))}
