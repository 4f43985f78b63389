"""Folding in against dense matrices in float64 into which the node was really put."""

import jax.numpy as jnp
import numpy as np
import pytest

from lgcn_jax.data import csr
from lgcn_jax.errors import InputError
from lgcn_jax.graph import fold_in, normalization, propagation
from lgcn_jax.models import LightGCNSettings

USERS, ITEMS, DIM = 40, 30, 5
HISTORY = [2, 7, 11, 29]  # nobody else has item 29
WEIGHTS = [1.0, 3.5, 0.25, 2.0]
ALPHA = (0.4, 0.1, 0.2, 0.3)


@pytest.fixture
def world():
    random = np.random.default_rng(0)
    train = csr.from_pairs(random.integers(0, USERS, 300), random.integers(0, ITEMS - 1, 300), (USERS, ITEMS))
    weights = random.lognormal(0, 1, train.nnz).astype(np.float32)
    return train, weights, random.normal(0, 0.1, (USERS + ITEMS, DIM))


def weighted(train, weights) -> np.ndarray:
    """float64[nodes, nodes]: A, with the weights on both sides of its diagonal."""
    a = np.zeros((USERS + ITEMS,) * 2)
    a[csr.row_of_entry(train), USERS + train.indices] = weights
    return a + a.T


def normalized(a: np.ndarray) -> np.ndarray:
    scale = np.array([1 / np.sqrt(d) if d else 0.0 for d in a.sum(0)])
    return scale[:, None] * a * scale


def combined(a_hat: np.ndarray, table: np.ndarray, alpha: tuple[float, ...]) -> np.ndarray:
    total, layer = alpha[0] * table, table
    for weight in alpha[1:]:
        layer = a_hat @ layer
        total = total + weight * layer
    return total


def folded(world, alpha, edges=(HISTORY, WEIGHTS, WEIGHTS), own=None) -> np.ndarray:
    """float32[d]: the vector of a node with these neighbors, weights, and what of the weights is new."""
    train, weights, table = world
    settings = LightGCNSettings(num_layers=len(alpha) - 1, layer_weights=alpha, embedding_dim=DIM)
    how = settings.fold_in()
    layout = propagation.make_layout(normalization.normalized_adjacency(train, ITEMS, weights))
    messages = how.messages(layout, jnp.asarray(table, jnp.float32))[USERS:]
    neighbors, *amounts = edges
    rows = csr.CSR(np.array([0, len(neighbors)], np.int32), np.array(neighbors, np.int32))
    degree = normalization.weighted_degrees(train, ITEMS, weights)[USERS:]
    found = fold_in.multiply(fold_in.adjacency_rows(rows, *map(np.array, amounts), degree), messages)[0]
    return how.scale * found if own is None else found + how.own * own


@pytest.mark.parametrize("alpha", [ALPHA, (0.25,) * 4, (0.5, 0.5), (0.0, 0.3, 0.7)], ids=str)
def test_a_new_node_takes_from_its_neighbors_as_the_definition_says(world, alpha):
    """A row and a column more: the row has the node's normalized edges, degrees counted with them; the column is empty,
    since nobody takes from the node."""
    train, weights, table = world
    a = weighted(train, weights)
    a_hat = np.pad(normalized(a), (0, 1))
    items = USERS + np.array(HISTORY)
    a_hat[-1, items] = WEIGHTS / np.sqrt(sum(WEIGHTS) * (a.sum(0)[items] + WEIGHTS))
    final = combined(a_hat, np.pad(table, ((0, 1), (0, 0))), alpha)
    expected = final[-1] * sum(alpha) / sum(alpha[1:])
    np.testing.assert_allclose(folded(world, alpha), expected, rtol=2e-6, atol=1e-8)
    np.testing.assert_allclose(final[:-1], combined(normalized(a), table, alpha), rtol=1e-12)  # all others as before


def inserted(world, alpha, weights_of_node) -> np.ndarray:
    """float64[d]: the vector of a node that all take from, in a graph normalized anew; its layer 0 is zero."""
    train, weights, table = world
    a = np.pad(weighted(train, weights), (0, 1))
    a[-1, USERS + np.array(HISTORY)] = a[USERS + np.array(HISTORY), -1] = weights_of_node
    final = combined(normalized(a), np.pad(table, ((0, 1), (0, 0))), alpha)
    return final[-1] * sum(alpha) / sum(alpha[1:])


def test_with_one_layer_it_is_the_inserted_node_exactly(world):
    found = folded(world, (0.5, 0.5))
    np.testing.assert_allclose(found, inserted(world, (0.5, 0.5), WEIGHTS), rtol=2e-6, atol=1e-9)


def test_with_more_layers_it_is_near_the_inserted_node(world):
    """Neighbors of a tenth of all weight each would change, too: that is left out."""
    found, expected = folded(world, (0.25,) * 4), inserted(world, (0.25,) * 4, WEIGHTS)
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 0.9


def test_a_known_node_without_new_edges_has_its_trained_vector(world):
    train, weights, table = world
    mine = slice(*train.indptr[3:5])
    edges = train.indices[mine], weights[mine].astype(np.float64), np.zeros(mine.stop - mine.start)
    expected = combined(normalized(weighted(train, weights)), table, ALPHA)[3]
    np.testing.assert_allclose(folded(world, ALPHA, edges, table[3]), expected, rtol=2e-6, atol=1e-8)


def test_a_known_node_with_new_edges_has_the_degrees_of_both(world):
    train, weights, table = world
    mine = slice(*train.indptr[3:5])
    item = int(np.setdiff1d(np.arange(ITEMS - 1), train.indices[mine])[0])
    edges = np.append(train.indices[mine], item), np.append(weights[mine], 2.0), np.append(0 * weights[mine], 2.0)
    a = weighted(train, weights)
    a_hat, degree = normalized(a), a.sum(0)
    messages = combined(a_hat, table, ALPHA[1:])
    row = [w / np.sqrt(edges[1].sum() * (degree[USERS + i] + n)) for i, w, n in zip(*edges, strict=True)]
    expected = ALPHA[0] * table[3] + row @ messages[USERS + edges[0]]
    np.testing.assert_allclose(folded(world, ALPHA, edges, table[3]), expected, rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("block", [1, 3, 1 << 20])
@pytest.mark.parametrize("count", [1, 2, 5, 33])
def test_blocks_and_padding_change_nothing(world, block, count, monkeypatch):
    train, weights, table = world
    matrix = normalization.normalized_adjacency(train, ITEMS, weights)[:count, USERS:]
    monkeypatch.setattr(csr, "BLOCK", block)
    found = fold_in.multiply(matrix, jnp.asarray(table[USERS:], jnp.float32))
    np.testing.assert_allclose(found, matrix @ table[USERS:].astype(np.float32), rtol=1e-5, atol=1e-7)
    assert found.shape == (count, DIM)


@pytest.mark.parametrize(("layers", "alpha"), [(0, ()), (1, (1.0, 0.0)), (1, (-2.0, 1.0)), (2, (1.0, 1.0, -1.0))])
def test_models_without_layers_to_take_from_fold_nothing_in(layers, alpha):
    assert LightGCNSettings(num_layers=layers, layer_weights=alpha).fold_in() is None


def test_weights_of_the_layers_add_up_as_before():
    how = LightGCNSettings(num_layers=3, layer_weights=ALPHA).fold_in()
    assert how.own == 0.4
    assert how.scale * sum(ALPHA[1:]) == pytest.approx(sum(ALPHA))


def test_bad_weights_are_named():
    with pytest.raises(InputError, match=r"weights: found 1 weights such as 0\.0"):
        normalization.require_weights(np.array([1.0, 0.0]), 2, "weights")
