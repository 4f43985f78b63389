"""Weighted edges in whole runs: every layout, order and mesh multiplies by the same weighted matrix."""

import dataclasses

import numpy as np
import pytest

from lgcn_jax.data import csr, datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.graph import propagation
from lgcn_jax.training import estimate, loop
from lgcn_jax.training.setup import build_setup


@pytest.fixture
def weighted(small) -> Interactions:
    plain = datasets.load(small.data)
    weights = np.random.default_rng(0).lognormal(0, 1, plain.train.nnz).astype(np.float32)
    return dataclasses.replace(plain, weights=weights)


def final(table: np.ndarray, data: Interactions, layers: int) -> np.ndarray:
    """float64[num_nodes, d]: the mean of the layers, by dense products."""
    a = np.zeros((data.num_users + data.num_items,) * 2)
    a[csr.row_of_entry(data.train), data.num_users + data.train.indices] = data.weights
    a += a.T
    scale = 1 / np.sqrt(np.maximum(a.sum(0), 1e-300))
    a *= scale[:, None] * scale
    total = layer = table.astype(np.float64)
    for _ in range(layers):
        layer = a @ layer
        total = total + layer
    return total / (layers + 1)


CASES = [
    *({"propagation": name} for name in propagation.available_layouts()),
    *({"node_order": order} for order in ("natural", "local")),
    *({"mesh": mesh} for mesh in ("data:2", "nodes:3")),
]


@pytest.mark.parametrize("how", CASES, ids=lambda how: "-".join(how.values()))
def test_final_embeddings_are_those_of_the_weighted_matrix(small, weighted, how):
    setup = build_setup(small.replace(**how), weighted, trains=False)
    params = setup.init_state().params
    expected = final(setup.table(params), weighted, small.model.num_layers)
    np.testing.assert_allclose(setup.final_embeddings(params), expected, rtol=0, atol=1e-7)
    alike = final(setup.table(params), dataclasses.replace(weighted, weights=np.ones(weighted.train.nnz)), 2)
    assert np.abs(alike - expected).max() > 1e-3  # which the weights make


@pytest.mark.parametrize("how", [{"propagation": "bucket"}, {"mesh": "data:2,nodes:2"}], ids=str)
def test_training_on_weighted_edges_is_the_same_however_it_is_computed(small, weighted, how):
    one, other = (
        loop.fit(build_setup(config.replace(epochs=1, batch_size=1024), weighted)).table
        for config in (small, small.replace(**how))
    )
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_weights_of_one_train_to_the_same_bits(small):
    plain = datasets.load(small.data)
    ones = dataclasses.replace(plain, weights=np.ones(plain.train.nnz, np.float32))
    first, second = (
        loop.fit(build_setup(small.replace(epochs=1), data)).to_json()["parameters_sha256"] for data in (plain, ones)
    )
    assert first == second


def test_bad_weights_are_one_line(small, weighted):
    weights = weighted.weights.copy()
    weights[3] = -2
    with pytest.raises(InputError, match=r"--weight_col: found 1 weights such as -2\.0"):
        build_setup(small, dataclasses.replace(weighted, weights=weights))


def test_weights_count_in_the_estimate_of_memory(small, weighted):
    plain = dataclasses.replace(weighted, weights=None)
    more, less = (sum(estimate.run_memory_bytes(small, data).values()) for data in (weighted, plain))
    assert more - less == 4 * weighted.train.nnz
