"""What an installation can do: versions, devices, and a ten-second check that the parts give the right numbers."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.baselines import Popularity
from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.evaluation import ranking
from lgcn_jax.graph import normalization, propagation
from lgcn_jax.runs.workdir import versions
from lgcn_jax.training import loop
from lgcn_jax.training.setup import build_setup

__all__ = ["CHECKS", "describe_devices", "versions"]

_WORLD = Config.of(
    dataset="synthetic", num_users=3000, num_items=1000, num_interactions=60_000, num_layers=2, epochs=30
)


def describe_devices() -> dict[str, str]:
    """The devices that JAX sees and the layout of the adjacency matrix chosen for them."""
    kinds = ", ".join(f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices())
    return {"devices": kinds, "propagation": propagation.resolve_layout_name()}


def check_layouts() -> tuple[bool, str]:
    """Every layout that works here gives BCOO's product and gradient."""
    matrix = _matrix()
    x = jax.random.normal(jax.random.key(0), (matrix.shape[0], 64))

    @jax.jit
    def product_and_gradient(layout):
        y, pull = jax.vjp(lambda x: propagation.propagate(layout, x), x)
        return jnp.stack([y, pull(jnp.sin(y))[0]])

    expected = product_and_gradient(propagation.make_layout(matrix, "bcoo"))
    errors = {}
    for name in propagation.available_layouts():
        errors[name] = float(np.abs(product_and_gradient(propagation.make_layout(matrix, name)) - expected).max())
    return max(errors.values()) < 1e-5, ", ".join(f"{name} {error:.1e}" for name, error in errors.items())


def check_speed() -> tuple[bool, str]:
    """One second of products in the chosen layout; passes whatever the speed."""
    layout = propagation.make_layout(_matrix())
    x = jnp.ones((_WORLD.data.num_users + _WORLD.data.num_items, 64))
    product = jax.jit(propagation.propagate)
    product(layout, x).block_until_ready()
    started, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < 1:
        product(layout, x).block_until_ready()
        count += 1
    edges = 2 * datasets.load(_WORLD.data).train.nnz
    return True, f"{propagation.resolve_layout_name()} {1e3 * elapsed / count:.3f} ms for {edges:,} edges x 64"


def check_training() -> tuple[bool, str]:
    """A model trained on the synthetic communities ranks better than popularity."""
    interactions = datasets.load(_WORLD.data)
    setup = build_setup(_WORLD, interactions)
    result = loop.fit(setup)
    popular = ranking.evaluate(Popularity().fit(interactions), setup.task, _WORLD.evaluation.top_k)
    ours, theirs = result.best[_WORLD.evaluation.watched_metric], popular[_WORLD.evaluation.watched_metric]
    return (
        ours > 1.2 * theirs,
        f"{_WORLD.evaluation.watched_metric} {ours:.4f} after {_WORLD.training.epochs} epochs, popularity {theirs:.4f}",
    )


CHECKS = {"layouts against BCOO": check_layouts, "one product": check_speed, "training": check_training}


def _matrix():
    interactions = datasets.load(_WORLD.data)
    return normalization.normalized_adjacency(interactions.train, interactions.num_items)
