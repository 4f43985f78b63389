"""One step of training as pure functions: propagate -> loss -> gradient -> update, on one device or on many."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from lgcn_jax.config import Config
from lgcn_jax.devices.mesh import total
from lgcn_jax.graph import propagation
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.losses import terms
from lgcn_jax.models.lightgcn import LightGCN, initial_table
from lgcn_jax.sampling.samplers import Triples
from lgcn_jax.training import optimizer
from lgcn_jax.training.state import StepMetrics, TrainState


def init(config: Config, node: jax.Array) -> tuple[nnx.GraphDef, TrainState]:
    """The model's definition and the state of epoch 0, drawn from the seed; `node` int32[num_rows] is each row's."""
    table = initial_table(stream(config.seed, "init"), node, config.embedding_dim, config.init_std)
    graphdef, params = nnx.split(LightGCN(table, config.weights))
    return graphdef, TrainState(params, optimizer.build(config).init(params))


def stream(seed: int, name: str) -> jax.Array:
    """The key of one of the two independent random streams of a run: 'init' or 'data'."""
    return jax.random.fold_in(jax.random.key(seed), ("init", "data").index(name))


def make_gradient(config: Config, graphdef: nnx.GraphDef, num_users: int, axis_name: str | None = None) -> Callable:
    """`gradient(params, adjacency, triples)`, the gradient of the batch's loss and the loss with its three terms.

    Args:
      config: loss settings.
      graphdef: the model's definition, of `init`.
      num_users: offset of the items among the nodes.
      axis_name: where batches are cut over devices, the axis over which they are; the result is that of one device on
        the union of the batches, padded rows included.
    """
    # Each device of the axis computes the whole gradient; where its bits may differ, a mean keeps their tables equal.
    differs = axis_name is not None and not propagation.deterministic(config.propagation)

    def loss(params, adjacency: Adjacency, triples: Triples):
        model = nnx.merge(graphdef, params)
        nodes = jnp.stack([triples.user, num_users + triples.positive, num_users + triples.negative])
        final, initial = model.rows(adjacency.layout, adjacency.row[nodes], axis_name)
        user, positive, negative = _columns(final)
        s_pos, s_neg = (user * positive).sum(-1), (user * negative).sum(-1)
        share = triples.weight.astype(s_pos.dtype)
        share = share / total(share.sum(), axis_name)
        ranking = (share * terms.ranking(s_pos, s_neg, config.margin)).sum()
        contrastive = (share * terms.contrastive(s_pos, s_neg, config.temperature)).sum()
        l2 = (share * terms.l2(*_columns(initial))).sum()
        return terms.combine(ranking, contrastive, l2, config.alpha, config.l2), (ranking, contrastive, l2)

    def gradient(params, adjacency: Adjacency, triples: Triples):
        (combined, parts), found = jax.value_and_grad(loss, has_aux=True)(params, adjacency, triples)
        found = jax.lax.pmean(found, axis_name) if differs else found
        return found, tuple(total(term, axis_name) for term in (combined, *parts))

    return gradient


def _columns(rows: jax.Array) -> list[jax.Array]:
    """[3, B, d] as three of [B, d], by one split, whose gradient is one concatenation."""
    return jnp.split(rows.reshape(-1, rows.shape[-1]), 3)


def make_update(config: Config) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """`update(state, gradient, terms)`: clip, Adam and plateau scale applied, and what the step reports."""
    optimize = optimizer.build(config).update

    def update(state: TrainState, gradient, terms) -> tuple[TrainState, StepMetrics]:
        updates, optimizer_state = optimize(gradient, state.optimizer, state.params)
        metrics = StepMetrics(*terms, optax.tree.norm(gradient))
        return TrainState(optax.apply_updates(state.params, updates), optimizer_state), metrics

    return update


def make_train_step(config: Config, graphdef: nnx.GraphDef, num_users: int, axis_name: str | None = None) -> Callable:
    """`step(state, adjacency, triples) -> (state, StepMetrics)`; arguments as for `make_gradient`.

    With an axis name it runs under `jax.pmap`, each device with its part of the batch and the whole table.
    """
    gradient, update = make_gradient(config, graphdef, num_users, axis_name), make_update(config)

    def step(state: TrainState, adjacency: Adjacency, triples: Triples) -> tuple[TrainState, StepMetrics]:
        return update(state, *gradient(state.params, adjacency, triples))

    return step
