"""Top-k ranking metrics of one list of recommendations per user, with binary relevance."""

import jax
import jax.numpy as jnp

NAMES = ("precision", "recall", "ndcg")  # those that training evaluates
PER_USER = (*NAMES, "mrr", "hit_rate", "map")


def precision_recall_ndcg(hits: jax.Array, num_relevant: jax.Array, k: int) -> tuple[jax.Array, jax.Array, jax.Array]:
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


def reciprocal_rank(hits: jax.Array, k: int) -> jax.Array:
    """float[users]: 1 / rank of the first relevant item, 0 where none of the first k is; its mean is MRR@k.

    Voorhees, "The TREC-8 question answering track report", 1999.
    """
    hits = hits[:, :k]
    first = jnp.argmax(hits, -1).astype(jnp.result_type(float))
    return jnp.where(hits.any(-1), 1 / (first + 1), 0)


def hit_rate(hits: jax.Array, k: int) -> jax.Array:
    """float[users]: 1 where one of the first k items is relevant, else 0."""
    return hits[:, :k].any(-1).astype(jnp.result_type(float))


def average_precision(hits: jax.Array, num_relevant: jax.Array, k: int) -> jax.Array:
    """float[users]: the precision at the rank of each hit, summed and divided by min(k, num_relevant); mean: MAP@k.

    So a list with nothing but relevant items has 1, also where more than k are relevant. trec_eval (`map_cut`) divides
    by num_relevant instead: its value is this one times min(k, num_relevant) / num_relevant.
    """
    dtype = jnp.result_type(float)
    hits = hits[:, :k].astype(dtype)
    precision = jnp.cumsum(hits, -1) / jnp.arange(1, k + 1).astype(dtype)[None, :]
    return (precision * hits).sum(-1) / jnp.clip(num_relevant, 1, k).astype(dtype)


def user_metrics(hits: jax.Array, num_relevant: jax.Array, k: int) -> tuple[jax.Array, ...]:
    """Every metric of PER_USER at k, in that order, float[users] each; arguments as of `precision_recall_ndcg`."""
    return (
        *precision_recall_ndcg(hits, num_relevant, k),
        reciprocal_rank(hits, k),
        hit_rate(hits, k),
        average_precision(hits, num_relevant, k),
    )
