"""One step of training as a pure function: propagate -> loss -> gradient -> update, on one device or under `pmap`."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from lgcn_jax import losses, optimizer
from lgcn_jax.config import Config
from lgcn_jax.layout import Layout
from lgcn_jax.model import LightGCN
from lgcn_jax.sampling import Triples
from lgcn_jax.state import StepMetrics, TrainState


def init(config: Config, num_nodes: int) -> tuple[nnx.GraphDef, TrainState]:
    """The model's definition and the state of epoch 0, drawn from the seed."""
    rngs = nnx.Rngs(params=stream(config.seed, "init"))
    model = LightGCN(num_nodes, config.embedding_dim, config.weights, config.init_std, rngs)
    graphdef, params = nnx.split(model)
    return graphdef, TrainState(params, optimizer.build(config).init(params))


def stream(seed: int, name: str) -> jax.Array:
    """The key of one of the two independent random streams of a run: 'init' or 'data'."""
    return jax.random.fold_in(jax.random.key(seed), ("init", "data").index(name))


def make_train_step(config: Config, graphdef: nnx.GraphDef, num_users: int, axis_name: str | None = None):
    """The train step as a pure function `step(state, layout, triples) -> (state, StepMetrics)`.

    Args:
      config: loss and optimizer settings.
      graphdef: the model's definition, of `nnx.split`.
      num_users: offset of the items among the nodes.
      axis_name: where the step is mapped over devices (`jax.pmap`), the axis over which gradients and metrics are
        averaged; the result is that of one device on the union of the batches, padded rows included.
    """
    update = optimizer.build(config).update

    def average(tree):
        return tree if axis_name is None else jax.lax.pmean(tree, axis_name)

    def loss(params, layout: Layout, triples: Triples):
        model = nnx.merge(graphdef, params)
        nodes = jnp.concatenate([triples.user, num_users + triples.positive, num_users + triples.negative])
        final, initial = model.rows(layout, nodes)
        user, positive, negative = jnp.split(final, 3)
        s_pos, s_neg = (user * positive).sum(-1), (user * negative).sum(-1)
        share = triples.weight.astype(s_pos.dtype)
        share = share / average(share.sum())
        ranking = (share * losses.ranking(s_pos, s_neg, config.margin)).sum()
        contrastive = (share * losses.contrastive(s_pos, s_neg, config.temperature)).sum()
        l2 = (share * losses.l2(*jnp.split(initial, 3))).sum()
        return losses.combine(ranking, contrastive, l2, config.alpha, config.l2), (ranking, contrastive, l2)

    def step(state: TrainState, layout: Layout, triples: Triples) -> tuple[TrainState, StepMetrics]:
        (total, terms), gradients = jax.value_and_grad(loss, has_aux=True)(state.params, layout, triples)
        gradients, total, terms = average((gradients, total, terms))
        metrics = StepMetrics(total, *terms, optax.tree.norm(gradients))
        updates, optimizer_state = update(gradients, state.optimizer, state.params)
        return TrainState(optax.apply_updates(state.params, updates), optimizer_state), metrics

    return step
