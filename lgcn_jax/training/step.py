"""One step of training as pure functions: embed -> loss -> gradient -> update, on one device or on many."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from lgcn_jax import losses
from lgcn_jax.config import Config
from lgcn_jax.devices.mesh import psum
from lgcn_jax.devices.parameters import map_arrays
from lgcn_jax.graph import propagation
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.losses import EmbeddedBatch, Embeddings, Tables
from lgcn_jax.models import Encoder, Nodes
from lgcn_jax.sampling import Batch
from lgcn_jax.training.state import StepMetrics, TrainState
from lgcn_jax.training.statistics import initial_statistics, of_users


def init_train_state(config: Config, nodes: Nodes) -> tuple[nnx.GraphDef, TrainState]:
    """The model's definition and the state of epoch 0, drawn from the seed, for these nodes."""
    graphdef, params = nnx.split(config.model.create(named_key(config.training.seed, "init"), nodes))
    return graphdef, TrainState(params, config.build_optimizer().init(params), initial_statistics(config.loss, params))


def state_of_one_node(config: Config) -> tuple[nnx.GraphDef, TrainState]:
    """`init_train_state` for a single node, from which the model's definition and the shapes of the rest are taken."""
    return init_train_state(config, Nodes(jnp.zeros(1, jnp.int32), 1, 0))


def named_key(seed: int, name: str) -> jax.Array:
    """The key of one of the two independent random streams of a run: 'init' or 'data'."""
    return jax.random.fold_in(jax.random.key(seed), ("init", "data").index(name))


def make_gradient(config: Config, graphdef: nnx.GraphDef, num_users: int, axis_name: str | None = None) -> Callable:
    """`gradient(params, adjacency, batch, statistics)`, the gradient of the batch's loss, and its metrics but the norm.

    Args:
      config: names the loss.
      graphdef: the model's definition, of `init`.
      num_users: offset of the items among the nodes.
      axis_name: where batches are cut over devices, the axis over which they are; the result is that of one device on
        the union of the batches, padded rows included.
    """
    # Each device of the axis computes the whole gradient; where its bits may differ, a mean keeps their tables equal.
    differs = axis_name is not None and not propagation.is_deterministic(config.graph.propagation)

    def loss(params, adjacency: Adjacency, batch: Batch, statistics: dict[str, jax.Array]):
        model = nnx.merge(graphdef, params)
        embedded = embed_batch(model, adjacency, batch, num_users, axis_name, tables=config.loss.NEEDS_TABLES)
        embedded = embedded._replace(statistics=of_users(config.loss, statistics, adjacency, batch.user))
        if config.negatives.hardest:
            embedded = losses.hardest(embedded, config.negatives.hardest)
        terms = config.loss.terms(embedded) | {"l2": losses.l2_penalty(embedded)}
        means = {name: (embedded.weight * terms[name]).sum() for name in config.loss.names}
        return config.loss.total(means), means

    def gradient(params, adjacency: Adjacency, batch: Batch, statistics: dict[str, jax.Array]):
        (combined, means), found = jax.value_and_grad(loss, has_aux=True)(params, adjacency, batch, statistics)
        # Of a replicated parameter, each device of the axis `nodes` has what the embeddings of its rows give.
        found = map_arrays(lambda table: table, adjacency.layout.psum, found)
        found = jax.lax.pmean(found, axis_name) if differs else found
        metrics = {"loss": combined} | {f"loss_{name}": value for name, value in means.items()}
        return found, {name: psum(value, axis_name) for name, value in metrics.items()}

    return gradient


def embed_batch(
    model: Encoder, adjacency: Adjacency, batch: Batch, num_users: int, axis: str | None = None, tables: bool = False
) -> EmbeddedBatch:
    """The embeddings of a batch as a loss sees them; with `tables` those of all users and items, too."""
    negative = batch.negative
    each = () if negative is None or negative.ndim == 1 else num_users + negative.T
    nodes = jnp.stack([batch.user, num_users + batch.positive, *each])
    shared = [num_users + negative] if negative is not None and negative.ndim == 1 else []
    shared += [jnp.arange(len(adjacency.row), dtype=jnp.int32)] if tables else []
    found = model.embeddings_at(
        adjacency.layout,
        adjacency.row[nodes],
        adjacency.row[jnp.concatenate(shared)] if shared else None,
        axis,
    )
    (final, rest), (initial, _) = (_parts(rows, nodes.shape, negative) for rows in found)
    weight = batch.weight.astype(found[0].dtype)
    weight = weight / psum(weight.sum(), axis)
    whole = Tables(rest[:num_users], rest[num_users:]) if tables else None
    share = batch.negative_share
    shares = batch.share, share if share is None else share.T
    return EmbeddedBatch(final, initial, weight, batch.positive, whole, axis, *shares)


def _parts(rows: jax.Array, shape: tuple[int, ...], negative: jax.Array | None) -> tuple[Embeddings, jax.Array]:
    """Rows [m, d] as users, positive and negative items, and what is left of them: those of all nodes.

    By one split, whose gradient is one concatenation.
    """
    roles, size = shape
    shared = len(negative) if negative is not None and negative.ndim == 1 else 0
    user, positive, each, common, rest = jnp.split(rows, [size, 2 * size, roles * size, roles * size + shared])
    if negative is not None:
        negative = common if shared else each.reshape(roles - 2, size, -1)
    return Embeddings(user, positive, negative), rest


def make_update(config: Config) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """`update(state, gradient, metrics)`: clip, Adam and the schedule's scale applied, and what the step reports."""
    optimize = config.build_optimizer().update

    def update(state: TrainState, gradient, metrics: StepMetrics) -> tuple[TrainState, StepMetrics]:
        updates, optimizer_state = optimize(gradient, state.optimizer, state.params)
        metrics = metrics | {"grad_norm": optax.tree.norm(gradient)}
        return state._replace(params=optax.apply_updates(state.params, updates), optimizer=optimizer_state), metrics

    return update


def make_train_step(config: Config, graphdef: nnx.GraphDef, num_users: int, axis_name: str | None = None) -> Callable:
    """`step(state, adjacency, batch) -> (state, StepMetrics)`; arguments as for `make_gradient`.

    With an axis name it runs under `jax.pmap`, each device with its part of the batch and the whole table.
    """
    gradient, update = make_gradient(config, graphdef, num_users, axis_name), make_update(config)

    def step(state: TrainState, adjacency: Adjacency, batch: Batch) -> tuple[TrainState, StepMetrics]:
        return update(state, *gradient(state.params, adjacency, batch, state.statistics))

    return step
