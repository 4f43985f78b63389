"""InfoNCE: a node in one view is to be nearer to itself in another than all other nodes of the batch are."""

import jax
import jax.numpy as jnp

from lgcn_jax.losses.bpr import ranking_loss
from lgcn_jax.losses.logsumexp import logsumexp_of_products
from lgcn_jax.losses.loss import EmbeddedBatch, scores
from lgcn_jax.losses.scored import l2_normalize


def info_nce(batch: EmbeddedBatch, first: jax.Array, second: jax.Array, temperature: float) -> jax.Array:
    """log sum_c exp(cos(x_b, y_c) / T) - cos(x_b, y_b) / T, c all examples of the whole batch, b included: float[B].

    Examples of one node are contrasted with each other as with any; padding is left out.

    Args:
      batch: of the rows.
      first, second: float[B, d], x and y; either may be the other.
      temperature: T.
    """
    return _info_nce_term(batch, first, second, temperature, batch.weight)


def info_nce_of_nodes(
    batch: EmbeddedBatch, node: jax.Array, first: jax.Array, second: jax.Array, temperature: float
) -> jax.Array:
    """InfoNCE among the distinct nodes of the whole batch, each once: float[B].

    A node's value stands at its first example and the others have 0; it is scaled, so that the batch's mean of the
    examples is the mean of the nodes.

    Args:
      node: int32[B], that of each example.
      batch, first, second, temperature: as for `info_nce`.
    """
    nodes, weights = batch.of_all_devices(node, batch.weight)
    counts = first_occurrences(nodes, weights > 0)
    own = jax.lax.dynamic_slice_in_dim(counts, batch.first, len(node)).astype(first.dtype)
    found = _info_nce_term(batch, first, second, temperature, own)
    mean = own / (counts.sum().astype(first.dtype) * jnp.where(own > 0, batch.weight, 1))
    return found * mean


def _info_nce_term(
    batch: EmbeddedBatch, first: jax.Array, second: jax.Array, temperature: float, counts: jax.Array
) -> jax.Array:
    """InfoNCE with the examples whose `counts` [B] is above 0."""
    rows, columns = l2_normalize(first) / temperature, l2_normalize(second)
    others, counting = batch.of_all_devices(columns, counts)
    offset = jnp.where(counting > 0, 0.0, -jnp.inf).astype(rows.dtype)
    nobody = jnp.full(len(rows), -1, jnp.int32)
    total = logsumexp_of_products(rows, others, offset, nobody, jnp.zeros(len(others), jnp.int32))
    return total - (rows * columns).sum(-1)


def first_occurrences(nodes: jax.Array, counts: jax.Array) -> jax.Array:
    """bool[B]: whether an example is the first one, among those that count, of its node."""
    place = jnp.where(counts, nodes, jnp.iinfo(nodes.dtype).max)
    order = jnp.argsort(place, stable=True)
    ordered = place[order]
    starts = jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])
    return jnp.zeros_like(counts).at[order].set(starts) & counts


def ranking_and_contrast(batch: EmbeddedBatch, temperature: float) -> dict[str, jax.Array]:
    """BPR, and InfoNCE between the two views of the batch's distinct users plus that of its distinct items."""
    assert batch.user is not None
    first, second = batch.views
    return {
        "ranking": ranking_loss(*scores(batch), margin=0.0),
        "contrastive": info_nce_of_nodes(batch, batch.user, first.user, second.user, temperature)
        + info_nce_of_nodes(batch, batch.item, first.positive, second.positive, temperature),
    }
