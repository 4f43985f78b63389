"""The terms of the enhanced loss, one value for each triple (user, positive item, negative item).

Formulas are those of "Research on LightGCN Recommendation Algorithm with Enhanced Loss Function", sections 3.1 to
3.3. Scores are raw dot products. Averaging over the batch is left to the caller, who knows which rows count.
"""

import jax
import jax.numpy as jnp


def ranking(positive: jax.Array, negative: jax.Array, margin: float) -> jax.Array:
    """softplus(s_neg - s_pos + margin), float[B]; BPR's -log sigmoid(s_pos - s_neg) at margin 0 (section 3.1)."""
    return jax.nn.softplus(negative - positive + margin)


def contrastive(positive: jax.Array, negative: jax.Array, temperature: float) -> jax.Array:
    """-log_softmax([s_pos, s_neg] / temperature)[0], float[B] (section 3.2)."""
    logits = jnp.stack([positive, negative], axis=-1) / temperature
    return -jax.nn.log_softmax(logits, axis=-1)[..., 0]


def l2(*rows: jax.Array) -> jax.Array:
    """0.5 * the squared norms of a triple's layer-0 rows, each float[B, d], added up: float[B]."""
    return 0.5 * sum(jnp.sum(jnp.square(row), axis=-1) for row in rows)


def combine(ranking: jax.Array, contrastive: jax.Array, l2: jax.Array, alpha: float, l2_weight: float) -> jax.Array:
    """alpha * ranking + (1 - alpha) * contrastive + l2_weight * l2 (section 3.3)."""
    return alpha * ranking + (1 - alpha) * contrastive + l2_weight * l2
