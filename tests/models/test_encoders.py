"""The encoders beside LightGCN, and LightGCN with trained layer weights, against their formulas in dense NumPy."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lgcn_jax.config import Config
from lgcn_jax.data import csr
from lgcn_jax.errors import InputError
from lgcn_jax.graph import normalization, propagation
from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.perturbation import MessageDropout
from lgcn_jax.models import Encoder, Nodes
from lgcn_jax.models.encoder import unit_rows
from lgcn_jax.models.lightgcn import LearnedLightGCN, LightGCN, LightGCNSettings
from lgcn_jax.models.lightgcnpp import LightGCNPlusPlus, LightGCNPlusPlusSettings
from lgcn_jax.models.mf import MF
from lgcn_jax.models.ngcf import NGCF, NGCFSettings

USERS, ITEMS, DIM = 13, 10, 3
NODES = USERS + ITEMS


class World(NamedTuple):
    """A weighted graph whose last user and item have no edge: dense, and as a layout; and float64 numbers."""

    adjacency: np.ndarray
    layout: Layout
    random: np.random.Generator

    def draw(self, *shape: int) -> np.ndarray:
        return self.random.standard_normal(shape)


@pytest.fixture(params=["bcsr", "bcoo"])
def world(request):
    random = np.random.default_rng(3)
    train = csr.from_pairs(random.integers(0, USERS - 1, 60), random.integers(0, ITEMS - 1, 60), (USERS, ITEMS))
    weights = random.uniform(0.2, 3, train.nnz)
    dense = np.zeros((NODES, NODES))
    dense[csr.row_of_entry(train), USERS + train.indices] = weights
    with jax.enable_x64(True):
        matrix = normalization.normalized_adjacency(train, ITEMS, weights, dtype=np.float64)
        layout = propagation.make_layout(matrix, request.param, degree=dense.sum(0) + dense.sum(1))
        exact = dataclasses.replace(layout, degree=jnp.asarray((dense + dense.T).sum(0)))
        yield World(dense + dense.T, exact, random)


def scaled(adjacency: np.ndarray, left: float, right: float) -> np.ndarray:
    """D^-left A D^-right."""
    degree = adjacency.sum(0)
    with np.errstate(divide="ignore"):
        powers = [np.where(degree > 0, degree**-exponent, 0) for exponent in (left, right)]
    return powers[0][:, None] * adjacency * powers[1]


def unit(x: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, where=length > 0, out=np.zeros_like(x))


def mf(world: World) -> tuple[Encoder, np.ndarray]:
    table = world.draw(NODES, DIM)
    return MF(jnp.asarray(table)), table


def learned(world: World) -> tuple[Encoder, np.ndarray]:
    table, logits = world.draw(NODES, DIM), world.draw(4)
    model = LearnedLightGCN(jnp.asarray(table), (0.3,) * 4)
    model.logits[...] = jnp.asarray(logits)
    weights, a_hat = 1.2 * np.exp(logits) / np.exp(logits).sum(), scaled(world.adjacency, 0.5, 0.5)
    return model, sum(weights[k] * np.linalg.matrix_power(a_hat, k) @ table for k in range(4))


def plus(world: World) -> tuple[Encoder, np.ndarray]:
    settings = LightGCNPlusPlusSettings(num_layers=3, left_exponent=0.6, right_exponent=-0.1, layer0_weight=0.2)
    table = world.draw(NODES, DIM)
    layers, matrix = [table], scaled(world.adjacency, 0.6, -0.1)
    for _ in range(3):
        layers.append(matrix @ unit(layers[-1]))
    return LightGCNPlusPlus(jnp.asarray(table), settings), 0.8 * np.mean(layers[1:], 0) + 0.2 * table


def ngcf(world: World, factors: Sequence[np.ndarray | float] = (1.0, 1.0)) -> tuple[Encoder, np.ndarray]:
    """`factors` are those of dropout, 0 or 1 / (1 - rate), of each layer."""
    table, first, second = world.draw(NODES, DIM), world.draw(2, DIM, DIM), world.draw(2, DIM, DIM)
    a_hat, layer, parts = scaled(world.adjacency, 0.5, 0.5), table, [table]
    for of_sum, of_product, factor in zip(first, second, factors, strict=True):
        message = (a_hat + np.eye(NODES)) @ layer @ of_sum + (a_hat @ layer * layer) @ of_product
        layer = factor * np.where(message > 0, message, 0.2 * message)
        parts.append(unit(layer))
    return NGCF(*map(jnp.asarray, (table, first, second))), np.concatenate(parts, axis=1)


def dropout_of(rate: float) -> tuple[MessageDropout, list[np.ndarray]]:
    """Dropout of all nodes, and the factors of its two layers."""
    dropout = MessageDropout(jnp.array([3, 4], jnp.uint32), jnp.arange(NODES, dtype=jnp.int32), rate)
    return dropout, [np.asarray(dropout.applied(jnp.ones((NODES, DIM)), layer)) for layer in (1, 2)]


def test_dropout_of_ngcf_is_that_of_the_formula(world):
    """A dropped element neither counts itself nor is passed on; of rate 0 nothing is dropped."""
    from flax import nnx

    dropout, factors = dropout_of(0.4)
    assert 0.2 < np.mean([factor == 0 for factor in factors]) < 0.6
    model, expected = ngcf(world, factors)
    np.testing.assert_allclose(model.dropped(world.layout, dropout), expected, rtol=0, atol=1e-13 * expected.max())
    np.testing.assert_array_equal(model.dropped(world.layout, dropout_of(0.0)[0]), model(world.layout))
    nodes, (graphdef, params) = jnp.array([[0, 3, 0], [USERS - 1, 5, USERS + 1]], jnp.int32), nnx.split(model)
    final, own = model.dropped_at(dropout, world.layout, nodes)
    np.testing.assert_allclose(final, expected[nodes.ravel()], rtol=0, atol=1e-13 * expected.max())
    np.testing.assert_array_equal(own, model.table[...][nodes.ravel()])

    def total(params):
        return jnp.sin(nnx.merge(graphdef, params).dropped_at(dropout, world.layout, nodes)[0]).sum()

    check_grads(total, (params,), order=1, modes=["rev"])


CASES = pytest.mark.parametrize("case", [mf, learned, plus, ngcf], ids=lambda case: case.__name__)


@CASES
def test_final_embeddings_are_those_of_the_formula(world, case):
    model, expected = case(world)
    found = model(world.layout)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@CASES
@pytest.mark.parametrize("with_shared", [False, True])
def test_rows_of_a_batch_and_their_gradient_are_those_of_the_whole(world, case, with_shared):
    """The rows' own way is another one for most of the encoders; nodes repeat, and one has no edge."""
    from flax import nnx

    model, _ = case(world)
    nodes = jnp.array([[0, 3, 0], [USERS - 1, 5, USERS + 1]], jnp.int32)
    shared = jnp.array([4, 4, NODES - 1], jnp.int32) if with_shared else None
    rows = nodes.ravel() if shared is None else jnp.concatenate([nodes.ravel(), shared])
    graphdef, params = nnx.split(model)
    weight = jnp.asarray(world.draw(len(rows), 1))

    def by_rows(params):
        final, own = nnx.merge(graphdef, params).embeddings_at(world.layout, nodes, shared)
        return (weight * (jnp.sin(final).sum(1, keepdims=True) + jnp.cos(2 * own).sum(1, keepdims=True))).sum()

    def by_all(params):
        model = nnx.merge(graphdef, params)
        final, own = model(world.layout)[rows], model.table[...][rows]
        return (weight * (jnp.sin(final).sum(1, keepdims=True) + jnp.cos(2 * own).sum(1, keepdims=True))).sum()

    (found, gradient), (expected, reference) = (jax.value_and_grad(each)(params) for each in (by_rows, by_all))
    assert float(found) == pytest.approx(float(expected), rel=1e-12)
    for mine, other in zip(*map(jax.tree.leaves, (gradient, reference)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-11 * float(jnp.abs(other).max()))
    if not with_shared:
        check_grads(by_rows, (params,), order=1, modes=["rev"])


def test_rows_of_zeros_stay_and_have_no_gradient():
    x = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(unit_rows(x), [[0.6, 0.8], [0, 0]], rtol=1e-6)
    assert not jax.grad(lambda x: unit_rows(x).sum())(x)[1].any()


def test_learned_weights_begin_where_fixed_ones_stay():
    """With equal ones, and to rounding with others."""
    nodes = Nodes(jnp.arange(4, dtype=jnp.int32), 2, 2)
    for weights in ((), (0.5, 0.2, 0.1, 0.4)):
        settings = [
            LightGCNSettings(layer_weights=weights, layer_combination=how, embedding_dim=2)
            for how in ("fixed", "learned")
        ]
        fixed, trained = (each.create(jax.random.key(0), nodes) for each in settings)
        assert (type(fixed), type(trained)) == (LightGCN, LearnedLightGCN)
        np.testing.assert_array_equal(fixed.table[...], trained.table[...])
        found = [float(weight) for weight in trained.weights()]
        assert found == pytest.approx(fixed.weights, rel=1e-6)
        if not weights:
            assert found == [0.25] * 4


def test_weights_of_ngcf_are_drawn_by_xavier():
    made = NGCFSettings(embedding_dim=64, num_layers=2).create(jax.random.key(1), Nodes(jnp.arange(3), 2, 1))
    bound = (6 / 128) ** 0.5
    for weights in (made.sum_weights[...], made.product_weights[...]):
        assert weights.shape == (2, 64, 64)
        assert bound * 0.99 < float(jnp.abs(weights).max()) <= bound
    assert not (made.sum_weights[...] == made.product_weights[...]).any()


@pytest.mark.parametrize(
    ("stated", "line"),
    [
        ({"model": "mf", "num_layers": 1}, "--num_layers: found 1, expected nothing with --model=mf, which has none"),
        ({"model": "mf", "layer_weights": (1.0,)}, "--layer_weights: found 1.0, expected nothing with --model=mf"),
        ({"model": "ngcf", "num_layers": 0}, "--num_layers: found 0, expected an integer from 1 to 64"),
        (
            {"model": "ngcf", "message_dropout": 1.0},
            "--message_dropout: found 1.0, expected a number of at least 0 and",
        ),
        ({"model": "ngcf", "message_dropout": -0.1}, "--message_dropout: found -0.1, expected a number of at least 0"),
        ({"message_dropout": 0.1}, "--message_dropout: found 0.1, expected nothing with --model=lightgcn"),
        ({"model": "ngcf", "loss": "simgcl"}, "--loss: found simgcl, whose noise goes between layers, with"),
        ({"model": "lightgcn++", "layer0_weight": 1.5}, "--layer0_weight: found 1.5, expected a number from 0 to 1"),
        ({"model": "lightgcn++", "left_exponent": 9}, "--left_exponent: found 9, expected a number from -2 to 2"),
        ({"left_exponent": 0.5}, "--left_exponent: found 0.5, expected nothing with --model=lightgcn"),
        ({"layer_combination": "mean"}, "--layer_combination: found mean, expected one of fixed, learned"),
        ({"layer_combination": "learned", "num_layers": 0}, "--layer_combination: found learned with --num_layers=0"),
        (
            {"layer_combination": "learned", "num_layers": 1, "layer_weights": (0.5, 0.0)},
            "--layer_weights: found 0.0 with --layer_combination=learned, expected numbers above 0",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(stated, line):
    with pytest.raises(InputError) as error:
        Config.of(**stated)
    assert str(error.value).startswith(line)
