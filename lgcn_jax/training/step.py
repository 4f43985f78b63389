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
from lgcn_jax.models import Nodes
from lgcn_jax.sampling import Batch
from lgcn_jax.training.embedding import apply_head, embed_batch, embed_with_dropout, embed_with_views, head_at_rows
from lgcn_jax.training.state import StepMetrics, TrainState
from lgcn_jax.training.statistics import batch_statistics, initial_statistics


def init_train_state(config: Config, nodes: Nodes) -> tuple[nnx.GraphDef, TrainState]:
    """The model's definition and the state of epoch 0, drawn from the seed, for these nodes."""
    graphdef, params = nnx.split(config.model.create(named_key(config.training.seed, "init"), nodes))
    return graphdef, TrainState(params, config.build_optimizer().init(params), initial_statistics(config.loss, params))


def state_of_one_node(config: Config) -> tuple[nnx.GraphDef, TrainState]:
    """`init_train_state` for a single node, from which the model's definition and the shapes of the rest are taken."""
    return init_train_state(config, Nodes(jnp.zeros(1, jnp.int32), 1, 0))


def named_key(seed: int | jax.Array, name: str) -> jax.Array:
    """The key of one of the two independent random streams of a run: 'init' or 'data'."""
    return jax.random.fold_in(jax.random.key(seed), ("init", "data").index(name))


def epoch_key(seed: int | jax.Array, epoch: jax.Array) -> jax.Array:
    """The key of the data of `epoch` (from 1)."""
    return jax.random.fold_in(named_key(seed, "data"), epoch)


def needs_noise(config: Config) -> bool:
    """Whether a step has randomness beside that of its batch: views, or dropout."""
    return config.loss.views is not None or config.model.dropout_rate > 0


def noise_key(key: jax.Array, number: jax.Array) -> jax.Array:
    """The key of the noise of an epoch's step `number`, none that samplers draw by; `key` is that of the epoch."""
    return jax.random.fold_in(jax.random.fold_in(key, 2**32 - 1), number)


def make_gradient_and_metrics(
    config: Config, graphdef: nnx.GraphDef, num_users: int, axis_name: str | None = None
) -> Callable:
    """`gradient(params, adjacency, batch, statistics, key)`: the gradient of the batch's loss, and its other metrics.

    The key is that of the step's noise or dropout: of nothing, and left out, unless `needs_noise`.

    Args:
      config: names the loss.
      graphdef: the model's definition, of `init`.
      num_users: offset of the items among the nodes.
      axis_name: where batches are cut over devices, the axis over which they are; the result is that of one device on
        the union of the batches, padded rows included.
    """
    # Each device of the axis computes the whole gradient; where its bits may differ, a mean keeps their tables equal.
    differs = axis_name is not None and not propagation.is_deterministic(config.graph.propagation)

    def loss(params, adjacency: Adjacency, batch: Batch, statistics: dict[str, jax.Array], key: jax.Array | None):
        what = nnx.merge(graphdef, params), adjacency, batch, num_users, axis_name, config.loss.NEEDS_TABLES
        embedded = _embed_for_training(config, what, key)
        if not config.model.HAS_VECTORS:
            embedded = apply_head(embedded, head_at_rows(config.model, params, adjacency.layout, axis_name))
        embedded = embedded._replace(statistics=batch_statistics(config.loss, statistics, adjacency, batch.user))
        if config.negatives.hardest:
            embedded = losses.keep_hardest_negatives(embedded, config.loss, config.negatives.hardest)
        terms = config.loss.terms(embedded) | {"l2": losses.l2_penalty(embedded)}
        means = {name: (embedded.weight * terms[name]).sum() for name in config.loss.names}
        return config.loss.total(means), means

    def gradient(
        params, adjacency: Adjacency, batch: Batch, statistics: dict[str, jax.Array], key: jax.Array | None = None
    ):
        (combined, means), found = jax.value_and_grad(loss, has_aux=True)(params, adjacency, batch, statistics, key)
        # Of a replicated parameter, each device of the axis `nodes` has what the embeddings of its rows give.
        found = map_arrays(lambda table: table, adjacency.layout.psum, found)
        found = jax.lax.pmean(found, axis_name) if differs else found
        metrics = {"loss": combined} | {f"loss_{name}": value for name, value in means.items()}
        return found, {name: psum(value, axis_name) for name, value in metrics.items()}

    return gradient


def _embed_for_training(config: Config, what: tuple, key: jax.Array | None) -> losses.EmbeddedBatch:
    """A batch as the loss sees it in training; `what` are the first arguments of `embed_batch`."""
    if not needs_noise(config):
        return embed_batch(*what)
    assert key is not None
    if config.loss.views is not None:
        return embed_with_views(*what, config.loss.views, key)
    return embed_with_dropout(*what, config.model.dropout_rate, key)


def make_update(config: Config) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """`update(state, gradient, metrics)`: clip, Adam and the schedule's scale applied, and what the step reports."""
    optimize = config.build_optimizer().update

    def update(state: TrainState, gradient, metrics: StepMetrics) -> tuple[TrainState, StepMetrics]:
        updates, optimizer_state = optimize(gradient, state.optimizer, state.params)
        metrics = metrics | {"grad_norm": optax.tree.norm(gradient)}
        return state._replace(params=optax.apply_updates(state.params, updates), optimizer=optimizer_state), metrics

    return update


def make_train_step(config: Config, graphdef: nnx.GraphDef, num_users: int, axis_name: str | None = None) -> Callable:
    """`step(state, adjacency, batch, key) -> (state, StepMetrics)`; arguments as for `make_gradient_and_metrics`.

    With an axis name it runs under `jax.pmap`, each device with its part of the batch and the whole table.
    """
    gradient, update = make_gradient_and_metrics(config, graphdef, num_users, axis_name), make_update(config)

    def step(
        state: TrainState, adjacency: Adjacency, batch: Batch, key: jax.Array | None = None
    ) -> tuple[TrainState, StepMetrics]:
        return update(state, *gradient(state.params, adjacency, batch, state.statistics, key))

    return step
