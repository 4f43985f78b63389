"""The encoder against layers written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lgcn_jax.data import csr
from lgcn_jax.graph import normalization, propagation
from lgcn_jax.models import Nodes
from lgcn_jax.models.lightgcn import LightGCN, LightGCNSettings


def model(weights, nodes=50, dim=8, std=0.1) -> LightGCN:
    settings = LightGCNSettings(num_layers=len(weights) - 1, layer_weights=weights, embedding_dim=dim, init_std=std)
    return settings.create(jax.random.key(0), Nodes(jnp.arange(nodes), nodes, 0))


@pytest.fixture
def layout():
    random = np.random.default_rng(0)
    return propagation.make_layout(
        normalization.normalized_adjacency(
            csr.from_pairs(random.integers(0, 30, 200), random.integers(0, 20, 200), (30, 20)), 20
        )
    )


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 0.5), (0.25,) * 4, (0.0, 0.2, -0.7, 1.5)])
def test_the_final_embedding_is_the_weighted_sum_of_the_layers(layout, weights):
    encoder = model(weights)
    layers = encoder.layers(layout)
    assert len(layers) == len(weights)
    expected = sum(weight * np.asarray(layer, np.float64) for weight, layer in zip(weights, layers, strict=True))
    np.testing.assert_allclose(encoder(layout), expected, atol=1e-6)


def test_each_layer_is_the_product_with_the_one_before(layout):
    first, second, third = model((1 / 3,) * 3).layers(layout)
    np.testing.assert_array_equal(second, propagation.propagate(layout, first))
    np.testing.assert_array_equal(third, propagation.propagate(layout, second))


def test_without_layers_the_table_is_the_embedding(layout):
    encoder = model((1.0,))
    np.testing.assert_array_equal(encoder(layout), encoder.table[...])


def test_the_table_is_drawn_with_the_given_deviation():
    table = np.asarray(model((1.0,), nodes=5000, dim=64, std=0.3).table[...])
    assert table.shape == (5000, 64)
    assert table.dtype == jnp.float32
    # 320,000 draws: the mean is within 5 / sqrt(320,000) deviations of 0, the deviation within .7 %.
    assert abs(table.mean()) < 0.3 * 0.009
    assert table.std() == pytest.approx(0.3, rel=0.007)


def test_xavier_is_uniform_up_to_a_bound_of_each_table():
    """As torch.nn.init.xavier_uniform_, which knows the users' table and the items' apart."""
    nodes = Nodes(jnp.arange(-1, 4000, dtype=jnp.int32), 1000, 3000)
    table = np.asarray(LightGCNSettings(num_layers=0, init="xavier").create(jax.random.key(0), nodes).table[...])
    assert (table[0] == 0).all()
    for rows, size in ((table[1:1001], 1000), (table[1001:], 3000)):
        bound = (6 / (size + 64)) ** 0.5
        assert bound * 0.999 < np.abs(rows).max() <= bound
        assert scipy.stats.kstest(rows.ravel() / bound, "uniform", (-1, 2)).pvalue > 1e-3
