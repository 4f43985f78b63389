"""DirectAU: alignment and uniformity on the sphere, without negatives."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lgcn_jax.losses.logsumexp import logsumexp_of_products, num_block_scores
from lgcn_jax.losses.loss import EmbeddedBatch, Loss, StepSizes
from lgcn_jax.losses.scored import vectors_for_score
from lgcn_jax.settings import real


@dataclasses.dataclass(frozen=True, kw_only=True)
class DirectAU(Loss):
    """|u - i|^2 + gamma / 2 * (uniformity of the batch's users + that of its items), all of length 1.

    From Wang et al. 2022, "Towards Representation Alignment and Uniformity in Collaborative Filtering", eq. 8.
    Uniformity is log of the mean of exp(-2 |x - y|^2) over the pairs of different examples, also where they have the
    same user or item, as in the published code (github.com/THUwangcy/DirectAU).
    """

    NEGATIVES: ClassVar[str | None] = "in-batch"  # it looks at none, and these cost nothing

    gamma: float = real(2.0, "weight of the uniformity", lambda v: v >= 0, "a number of at least 0")

    @property
    def weights(self) -> dict[str, float]:
        return {"alignment": 1.0, "uniformity": self.gamma}

    @property
    def uses_in_batch_negatives(self) -> bool:
        return True

    def num_scores_in_memory(self, sizes: StepSizes) -> int:
        """Of both uniformities; it looks at no negatives."""
        return 2 * num_block_scores(sizes.examples, sizes.batch)

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        user, positive, _ = vectors_for_score(batch.final._replace(negative=None), "cosine")
        spread = (uniformity(batch, user) + uniformity(batch, positive)) / 2
        return {"alignment": jnp.square(user - positive).sum(-1), "uniformity": jnp.broadcast_to(spread, (len(user),))}


def uniformity(batch: EmbeddedBatch, rows: jax.Array) -> jax.Array:
    """log mean exp(-2 |x - y|^2) over the pairs of different examples of the whole batch; 0 where there is no pair.

    Args:
      batch: of the rows; padding is left out.
      rows: float[B, d] of length 1, so that -2 |x - y|^2 = 4 x.y - 4.
    """
    number = jnp.arange(len(rows), dtype=jnp.int32) + batch.first
    others, numbers, weight = batch.of_all_devices(rows, number, batch.weight)
    offset = jnp.where(weight > 0, -4.0, -jnp.inf).astype(rows.dtype)
    (found,) = batch.of_all_devices(logsumexp_of_products(4 * rows, others, offset, number, numbers))
    count = (weight > 0).sum().astype(rows.dtype)
    found = jnp.where(count > 1, found, 0)
    mean = (
        jax.nn.logsumexp(jnp.where(weight > 0, found, -jnp.inf)) - jnp.log(count) - jnp.log(jnp.maximum(count - 1, 1))
    )
    return jnp.where(count > 1, mean, 0)
