"""Top-k ranking metrics of one list of recommendations per user, with binary relevance."""

import jax
import jax.numpy as jnp

NAMES = ("precision", "recall", "ndcg")


def top_k(hits: jax.Array, num_relevant: jax.Array, k: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Precision, recall and ndcg at k of every user.

    Args:
      hits: bool[users, at least k], whether the item at each rank is relevant.
      num_relevant: int32[users], how many items are relevant; users with none get 0 everywhere.
      k: list length.

    Returns:
      Three float[users]: hits / k; hits / num_relevant; DCG / ideal DCG, with gains 1 / log2(rank + 1) and an ideal
      list of min(k, num_relevant) relevant items.
    """
    dtype = jnp.result_type(float)
    hits = hits[:, :k].astype(dtype)
    gains = 1 / jnp.log2(jnp.arange(2, k + 2).astype(dtype))
    ideal = jnp.cumsum(gains)[jnp.clip(num_relevant, 1, k) - 1]
    found = hits.sum(-1)
    relevant = jnp.maximum(num_relevant, 1).astype(dtype)
    return found / k, found / relevant, (hits * gains[None, :]).sum(-1) / ideal
