"""A_hat against the dense formula D^-1/2 A D^-1/2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lgcn_jax.data import csr
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError
from lgcn_jax.graph import normalization

USERS, ITEMS = 30, 20


@pytest.fixture
def train() -> csr.CSR:
    """Random pairs; the last two users and items have none."""
    random = np.random.default_rng(0)
    return csr.from_pairs(random.integers(0, USERS - 2, 150), random.integers(0, ITEMS - 2, 150), (USERS, ITEMS))


def dense(train: csr.CSR) -> np.ndarray:
    """float64[nodes, nodes] from the definition."""
    a = np.zeros((USERS + ITEMS, USERS + ITEMS))
    a[csr.row_of_entry(train), USERS + train.indices] = 1
    a += a.T
    degree = a.sum(0)
    scale = np.array([1 / np.sqrt(d) if d else 0.0 for d in degree])
    return np.diag(scale) @ a @ np.diag(scale)


def test_entries_are_those_of_the_definition(train):
    np.testing.assert_allclose(normalization.normalized_adjacency_bcoo(train, ITEMS).todense(), dense(train), rtol=1e-7)


def test_float64_is_exact(train):
    with jax.enable_x64(True):
        found = normalization.normalized_adjacency_bcoo(train, ITEMS, dtype=jnp.float64)
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found.todense(), dense(train), rtol=1e-15)


def test_entries_are_sorted_unique_and_twice_the_train_pairs(train):
    found = normalization.normalized_adjacency_bcoo(train, ITEMS)
    keys = np.asarray(found.indices[:, 0]).astype(int) * (USERS + ITEMS) + np.asarray(found.indices[:, 1])
    assert (np.diff(keys) > 0).all()
    assert found.nse == 2 * train.nnz
    assert (found.indices_sorted, found.unique_indices) == (True, True)
    assert found.indices.dtype == jnp.int32


def test_the_largest_eigenvalue_is_1(train):
    eigenvalues = np.linalg.eigvalsh(
        np.asarray(normalization.normalized_adjacency_bcoo(train, ITEMS).todense(), np.float64)
    )
    assert eigenvalues.max() == pytest.approx(1, abs=1e-6)
    assert eigenvalues.min() == pytest.approx(-1, abs=1e-6)  # a bipartite graph's spectrum is symmetric


def test_nodes_without_an_edge_have_an_empty_row(train):
    found = np.asarray(normalization.normalized_adjacency_bcoo(train, ITEMS).todense())
    alone = [USERS - 2, USERS - 1, USERS + ITEMS - 2, USERS + ITEMS - 1]
    assert (found[alone] == 0).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("block", [1, 37])
def test_values_are_the_same_whatever_the_blocks(train, block, monkeypatch):
    expected = normalization.normalized_adjacency(train, ITEMS)
    monkeypatch.setattr(csr, "BLOCK", block)
    assert np.array_equal(normalization.normalized_adjacency(train, ITEMS).data, expected.data)


def test_more_entries_than_an_int32_counts_are_refused():
    pairs = np.broadcast_to(np.int32(0), 2**30)
    with pytest.raises(OverflowError, match="2147483648 entries"):
        normalization.normalized_adjacency(csr.CSR(np.array([0, 2**30], np.int32), pairs), 1)


def test_published_graph_has_twice_its_interactions(published):
    from lgcn_jax.data import datasets

    interactions = datasets.load(DataSettings(dataset="gowalla", data_dir=published("gowalla")))
    found = normalization.normalized_adjacency_bcoo(interactions.train, interactions.num_items)
    assert (found.nse, found.shape) == (2 * 810_128, (29_858 + 40_981,) * 2)


def weights_of(train: csr.CSR) -> np.ndarray:
    return np.random.default_rng(1).lognormal(0, 1.5, train.nnz).astype(np.float32)


@pytest.mark.parametrize("block", [1, 37, 1 << 20])
def test_weighted_entries_are_those_of_the_definition(train, block, monkeypatch):
    """A holds the weights, D their sums: in float64, against the dense matrices."""
    monkeypatch.setattr(csr, "BLOCK", block)
    weights = weights_of(train)
    a = np.zeros((USERS + ITEMS, USERS + ITEMS))
    a[csr.row_of_entry(train), USERS + train.indices] = weights
    a += a.T
    scale = np.diag([1 / np.sqrt(d) if d else 0.0 for d in a.sum(0)])
    found = normalization.normalized_adjacency(train, ITEMS, weights, np.float64)
    np.testing.assert_allclose(found.toarray(), scale @ a @ scale, rtol=1e-14)
    np.testing.assert_allclose(normalization.weighted_degrees(train, ITEMS, weights), a.sum(0), rtol=1e-14)
    assert (found.dtype, found.indices.dtype) == (np.float64, np.int32)


def test_weights_of_one_give_the_same_bits_as_none(train):
    expected = normalization.normalized_adjacency(train, ITEMS)
    found = normalization.normalized_adjacency(train, ITEMS, np.ones(train.nnz, np.float32))
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype


def test_all_weights_scaled_alike_change_nothing(train):
    weights = weights_of(train)
    once, thrice = (normalization.normalized_adjacency(train, ITEMS, w, np.float64) for w in (weights, 3 * weights))
    np.testing.assert_allclose(once.data, thrice.data, rtol=1e-6)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_weights_that_are_none_are_refused(train, bad):
    weights = weights_of(train)
    weights[7] = bad
    with pytest.raises(InputError, match=r"--weight_col: found 1 weights such as .*, expected finite numbers above 0"):
        normalization.normalized_adjacency(train, ITEMS, weights)


def test_a_weight_for_each_pair_is_expected(train):
    with pytest.raises(InputError, match=rf"expected one for each of the {train.nnz} pairs"):
        normalization.normalized_adjacency(train, ITEMS, np.ones(train.nnz - 1, np.float32))
