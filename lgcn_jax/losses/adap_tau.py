"""Adap-tau: a softmax whose temperatures are computed of the model, one of all users and one of each."""

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.errors import InputError
from lgcn_jax.losses.lambert import lambert_w
from lgcn_jax.losses.loss import EmbeddedBatch, WholeModel
from lgcn_jax.losses.scored import l2_normalize
from lgcn_jax.losses.softmax import Contrastive
from lgcn_jax.settings import integer, real

ACTIVE_QUANTILE = 0.2  # quantile of the users' numbers of pairs up to which they have no part in the gap
SAMPLED_ITEMS = 4096  # of which a user's loss is estimated


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdapTau(Contrastive):
    """log(sum_j exp(s_uj / T_u)) - s_ui / T, s the cosine, j the items of the batch's other examples.

    From Chen et al. 2023, "Adap-tau: Adaptively Modulating Embedding Magnitude for Recommendation", as in the published
    code (github.com/junkangwu/Adap_tau, "weight_mean"). Both temperatures are computed before every epoch:

        T   = gap / log(U I / (2 P)), of the U users with more pairs than a fifth of all have, their P pairs, I items,
              the gap being how much higher the mean cosine of these pairs is than that of all U x I
        T_u = T exp(W(max(-1/e, min(1000, (l_u - mean l) / spread)))), with Lambert's W function and l_u the user's loss
              at temperature 1, log(mean_j exp(s_uj)) - mean_i s_ui, averaged over the start and the end of the epoch
              before (the published code averages over its steps)

    In the first `assumed_epochs` epochs the gap is `assumed_gap`, and in the first one all T_u are T. With a very large
    spread all T_u are T: Adap-tau_0. Published settings for Gowalla: three layers, spread .6, l2 1e-5.
    """

    NEGATIVES: ClassVar[str | None] = "in-batch"
    IN_BATCH_ONLY: ClassVar[bool] = True
    USER_STATISTICS: ClassVar[tuple[str, ...]] = ("user_temperature", "user_loss")
    RUN_STATISTICS: ClassVar[tuple[str, ...]] = ("temperature",)

    spread: float = real(
        0.6,
        "how much above the mean is the loss of a user whose temperature is 1.763 times that of all",
        lambda v: v > 0,
        "a number above 0",
    )
    assumed_gap: float = real(
        0.7, "how much higher train pairs' cosines are taken to be than all", lambda v: v > 0, "a number above 0"
    )
    assumed_epochs: int = integer(100, "epochs in which that is assumed; from then on it is measured", least=1)

    def __post_init__(self):
        super().__post_init__()
        if self.score != "cosine":
            raise InputError("--score", self.score, "cosine with --loss=adap-tau")
        if self.logq:
            raise InputError(
                "--logq", "true", "false with --loss=adap-tau, whose temperatures count popular items more"
            )

    @property
    def weights(self) -> dict[str, float]:
        return {"softmax": 1.0}

    def terms(self, batch: EmbeddedBatch) -> dict[str, jax.Array]:
        found = batch.statistics
        positive, negative = self.contrast(batch, found["temperature"], found["user_temperature"])
        return {"softmax": jnp.where(jnp.isneginf(negative), 0, negative - positive)}

    def validate(self, pairs: np.ndarray, num_items: int) -> None:
        often = pairs[pairs > np.quantile(pairs, ACTIVE_QUANTILE)]
        if not 0 < 2 * often.sum() < len(often) * num_items:
            expected = "another on data whose users have equally many pairs, or pairs with half of all items"
            raise InputError("--loss", "adap-tau", expected)

    def renewal_due(self, epoch: int) -> bool:
        del epoch
        return True

    def renewed(self, model: WholeModel) -> dict[str, jax.Array]:
        users, items = map(l2_normalize, model.final)
        own = (users * model.mean_of_own(items)).sum(-1)  # the mean cosine of each user's train pairs
        temperature = self._common_temperature(model, own, (users * items.mean(0)[None]).sum(-1))
        log_mean_exp = _log_mean_exp_of(items, model.positive_probability)
        loss = model.each_user(log_mean_exp, users, min(len(items), SAMPLED_ITEMS)) - own
        mean_loss = (model.previous["user_loss"] + loss) / 2
        overall = jnp.where(model.pairs > 0, mean_loss, 0).sum() / (model.pairs > 0).sum().astype(loss.dtype)
        adapted = temperature * jnp.exp(lambert_w(jnp.clip((mean_loss - overall) / self.spread, -1 / math.e, 1000)))
        return {
            "temperature": temperature,
            "user_temperature": jnp.where((model.epoch > 1) & (model.pairs > 0), adapted, temperature),
            "user_loss": loss,  # of this moment: the next renewal averages it with its own
        }

    def _common_temperature(self, model: WholeModel, own: jax.Array, every: jax.Array) -> jax.Array:
        """float[]: that of all users, of their mean cosines with the items of train pairs (`own` float[U]) and with all
        items (`every` float[U])."""
        often = model.pairs > jnp.quantile(model.pairs, ACTIVE_QUANTILE)
        pairs, users = jnp.where(often, model.pairs, 0), often.astype(model.pairs.dtype)
        measured = (pairs * own).sum() / pairs.sum() - (users * every).sum() / users.sum()
        usable = (model.epoch > self.assumed_epochs) & (measured > 0)  # below 0 no temperature would be above 0
        gap = jnp.where(usable, measured, self.assumed_gap)
        return gap / (math.log(len(model.positive_probability) / 2) + jnp.log(users.sum()) - jnp.log(pairs.sum()))


def _log_mean_exp_of(items: jax.Array, probability: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """Rows [b, d] -> log(sum_j p_j exp(row . item_j)), p the probabilities, float[b].

    Of more than SAMPLED_ITEMS items these are looked at that stand at so many equal steps of the sum of probabilities.
    """
    weight = jnp.log(probability)
    if len(items) > SAMPLED_ITEMS:
        step = (jnp.arange(SAMPLED_ITEMS, dtype=probability.dtype) + 0.5) / SAMPLED_ITEMS
        place = jnp.minimum(jnp.searchsorted(jnp.cumsum(probability), step), len(items) - 1)
        items, weight = items[place], jnp.full(SAMPLED_ITEMS, -math.log(SAMPLED_ITEMS), probability.dtype)

    def found(rows: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(jnp.matmul(rows, items.T, precision="highest") + weight[None], axis=1)

    return found
