"""A batch of examples -> the embeddings of it that the loss looks at."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from lgcn_jax.devices.mesh import psum
from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.perturbation import MessageDropout, Noise
from lgcn_jax.graph.propagation import Adjacency, at_rows
from lgcn_jax.losses import EmbeddedBatch, Embeddings, Tables, View, Views
from lgcn_jax.models import Encoder, EncoderSettings, Head
from lgcn_jax.sampling import Batch
from lgcn_jax.training.state import replicated_parameters


def embed_batch(
    model: Encoder,
    adjacency: Adjacency,
    batch: Batch,
    num_users: int,
    axis: str | None = None,
    tables: bool = False,
    embed: Callable[..., tuple[jax.Array, ...]] | None = None,
) -> EmbeddedBatch:
    """The embeddings of a batch as a loss sees them; with `tables` those of all users and items, too.

    `embed` is what takes the place of `model.embeddings_at`: the first rows that it gives are the final embeddings, the
    last ones are layer 0, and those between them are views.
    """
    negative = batch.negative
    each = () if negative is None or negative.ndim == 1 else num_users + negative.T
    nodes = jnp.stack([batch.user, num_users + batch.positive, *each])
    shared = [num_users + negative] if negative is not None and negative.ndim == 1 else []
    shared += [jnp.arange(len(adjacency.row_of_node), dtype=jnp.int32)] if tables else []
    found = (embed or model.embeddings_at)(
        adjacency.layout,
        adjacency.row_of_node[nodes],
        adjacency.row_of_node[jnp.concatenate(shared)] if shared else None,
        axis,
    )
    (final, rest), *between, (initial, _) = (_split_batch_rows(rows, nodes.shape, negative) for rows in found)
    weight = batch.weight.astype(found[0].dtype)
    weight = weight / psum(weight.sum(), axis)
    whole = Tables(rest[:num_users], rest[num_users:]) if tables else None
    negatives = batch.negative_probability
    probabilities = batch.positive_probability, negatives if negatives is None else negatives.T
    views = tuple(View(rows.user, rows.positive) for rows, _ in between)
    return EmbeddedBatch(
        final, initial, weight, batch.positive, whole, axis, *probabilities, user=batch.user, views=views
    )


def _split_batch_rows(
    rows: jax.Array, shape: tuple[int, ...], negative: jax.Array | None
) -> tuple[Embeddings, jax.Array]:
    """Rows [m, d] as users, positive and negative items, and what is left of them: those of all nodes.

    By one split, whose gradient is one concatenation.
    """
    roles, size = shape
    shared = len(negative) if negative is not None and negative.ndim == 1 else 0
    user, positive, each, common, rest = jnp.split(rows, [size, 2 * size, roles * size, roles * size + shared])
    if negative is not None:
        negative = common if shared else each.reshape(roles - 2, size, -1)
    return Embeddings(user, positive, negative), rest


def embed_with_views(
    model: Encoder,
    adjacency: Adjacency,
    batch: Batch,
    num_users: int,
    axis: str | None,
    tables: bool,
    views: Views,
    key: jax.Array,
) -> EmbeddedBatch:
    """`embed_batch` with the views that a loss asks for, the noise of which is that of a key, equal on all devices."""
    noises = [Noise.of(each, adjacency, views.noise) for each in jax.random.split(key)]
    if not views.layer:
        embedded = embed_batch(model, adjacency, batch, num_users, axis, tables)
        return embedded._replace(
            views=tuple(_perturbed_view(model, adjacency, embedded, num_users, noise) for noise in noises)
        )

    def embed(layout, *where):
        return model.perturbed_at(layout, noises[0], views.layer, *where)

    embedded = embed_batch(model, adjacency, batch, num_users, axis, tables, embed)
    final = View(embedded.final.user, embedded.final.positive)
    return embedded._replace(views=(final, *embedded.views))


def embed_with_dropout(
    model: Encoder,
    adjacency: Adjacency,
    batch: Batch,
    num_users: int,
    axis: str | None,
    tables: bool,
    rate: float,
    key: jax.Array,
) -> EmbeddedBatch:
    """`embed_batch` with the dropout of an encoder, which is that of a key, equal on all devices."""
    embed = functools.partial(model.dropped_at, MessageDropout.of(key, adjacency, rate))
    return embed_batch(model, adjacency, batch, num_users, axis, tables, embed)


def _perturbed_view(
    model: Encoder, adjacency: Adjacency, embedded: EmbeddedBatch, num_users: int, noise: Noise
) -> View:
    """The final embeddings of a further propagation, with noise.

    Encoders that have one are linear, and so their slope is that of the embeddings without noise: the backward pass is
    the one that these need anyway, whatever the number of views.
    """
    nodes = adjacency.row_of_node[jnp.stack([embedded.user, num_users + embedded.item])]
    noisy = jax.lax.stop_gradient(model.perturbed_at(adjacency.layout, noise, 0, nodes, None, embedded.axis)[0])
    clean = jnp.concatenate([embedded.final.user, embedded.final.positive])
    return View(*jnp.split(clean + (noisy - jax.lax.stop_gradient(clean)), 2))


def head_at_rows(settings: EncoderSettings, params: nnx.State, layout: Layout, axis: str | None) -> Head:
    """What makes the scores of a batch, of a model without vectors; its gradient is as that of `at_rows`."""
    named = {name: at_rows(layout, value[...], axis) for name, value in replicated_parameters(params).items()}
    head = settings.head(named)
    assert head is not None
    return head


def apply_head(embedded: EmbeddedBatch, head: Head) -> EmbeddedBatch:
    """A batch whose `final` is what the head makes scores of."""
    user, positive, negative = embedded.final
    items = head.project_items(positive), None if negative is None else head.project_items(negative)
    return embedded._replace(final=Embeddings(head.project_users(user), *items), head=head)
