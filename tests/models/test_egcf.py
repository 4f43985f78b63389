"""EGCF against its formula in PyTorch, and runs of it."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import torch
from events_of import pairs

import lgcn_jax as lg
from lgcn_jax.config import Config
from lgcn_jax.data import csr, datasets
from lgcn_jax.data.interactions import assemble
from lgcn_jax.graph import normalization, propagation
from lgcn_jax.models import EGCF, EGCFSettings, Nodes
from lgcn_jax.training import loop
from lgcn_jax.training.setup import build_setup

USERS, ITEMS, DIM = 12, 9, 4


def train() -> np.ndarray:
    """A 0/1 matrix in which the last user and the last item have no pair."""
    matrix = np.random.default_rng(1).random((USERS, ITEMS)) < 0.3
    matrix[-1], matrix[:, -1] = False, False
    return matrix


def table() -> np.ndarray:
    rows = np.random.default_rng(2).standard_normal((USERS + ITEMS, DIM))
    rows[:USERS] = 0
    return rows


def theirs(items: torch.Tensor, num_layers: int) -> torch.Tensor:
    """As github.com/BlueGhostYi/EGCF: R normalized by both degrees, A of both halves."""
    matrix = train()
    scale = [np.divide(1, np.sqrt(n := matrix.sum(axis)), where=n > 0, out=np.zeros(len(n))) for axis in (1, 0)]
    weighted = torch.tensor(scale[0][:, None] * matrix * scale[1])
    users, found = torch.tanh(weighted @ items), 0
    for _ in range(num_layers):
        users, items = torch.tanh(weighted @ items), torch.tanh(weighted.T @ users)
        found = found + torch.cat([users, items])
    return found


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_embeddings_and_gradient_are_the_formula_s(num_layers):
    with jax.enable_x64(True):
        matrix = csr.from_pairs(*np.nonzero(train()), (USERS, ITEMS))
        layout = propagation.make_layout(normalization.normalized_adjacency(matrix, ITEMS, dtype=np.float64))
        rows = jnp.asarray([[0, 3, 3, USERS - 1], [USERS, USERS + 4, USERS + 2, USERS + ITEMS - 1]], jnp.int32)
        shared = jnp.asarray([1, USERS + 5, 1], jnp.int32)
        at = np.concatenate([rows.ravel(), shared])
        items = torch.tensor(table()[USERS:], requires_grad=True)
        expected = theirs(items, num_layers)
        np.testing.assert_allclose(EGCF(jnp.asarray(table()), num_layers)(layout), expected.detach(), atol=1e-14)
        torch.sin(expected[at]).sum().backward()

        def loss(table):
            return jnp.sin(EGCF(table, num_layers).embeddings_at(layout, rows, shared)[0]).sum()

        found, initial = EGCF(jnp.asarray(table()), num_layers).embeddings_at(layout, rows, shared)
        np.testing.assert_allclose(found, expected.detach()[at], atol=1e-14)
        np.testing.assert_array_equal(initial, table()[at])
        slope = np.asarray(jax.grad(loss)(jnp.asarray(table())))
        np.testing.assert_allclose(slope[USERS:], items.grad, atol=1e-13)
        assert (slope[:USERS] == 0).all()


def test_users_have_no_rows_and_items_those_of_xavier():
    nodes = Nodes(jnp.arange(-1, 400, dtype=jnp.int32), 100, 300)
    rows = np.asarray(EGCFSettings().create(jax.random.key(0), nodes).table[...])
    assert (rows[:101] == 0).all()
    assert np.abs(rows[101:]).max() == pytest.approx((6 / 364) ** 0.5, rel=1e-2)


@pytest.fixture
def config(small) -> Config:
    return small.replace(model="egcf", loss="egcf", num_layers=3, sampler="edge", learning_rate=0.01, epochs=3)


def test_it_beats_popularity_and_users_stay_zero(config):
    data = datasets.load(config.data)
    result = loop.fit(build_setup(config.replace(epochs=8, eval_every=4), data))
    expected = oracle.metrics(oracle.popularity(data), data, "test", (20,))
    assert result.best["recall@20"] > 1.15 * expected["recall@20"]
    assert (result.table[: data.num_users] == 0).all()
    assert (result.table[data.num_users :] != 0).any(1).all()


def test_nodes_without_a_train_pair_do_no_harm():
    shown = [(user, item) for user in range(10) for item in range(8) if (user + item) % 2 == 0]
    data = assemble("gaps", pairs(shown, listed=[20]), pairs([(0, 1), (3, 30), (21, 30), (21, 0)]))
    config = Config.of(dataset="gaps", model="egcf", loss="egcf", embedding_dim=4, batch_size=8, epochs=3, top_k=(1, 3))
    setup = build_setup(config.replace(learning_rate=0.1), data)
    result = loop.fit(setup)
    final = setup.final_embeddings(result.params)
    lonely = [*range(10, data.num_users), data.num_users + data.num_items - 1]
    assert (final[lonely] == 0).all()
    assert np.isfinite(result.table).all()
    assert 0 <= result.last["recall@3"] <= 1


@pytest.mark.parametrize("mesh", ["data:2", "data:2,nodes:2"])
def test_several_devices_give_what_one_gives(config, mesh):
    config, data = config.replace(epochs=1), datasets.load(config.data)
    one, more = (loop.fit(build_setup(each, data)).table for each in (config, config.replace(mesh=mesh)))
    np.testing.assert_allclose(one, more, rtol=0, atol=5e-5)


def test_a_run_goes_on_bit_for_bit(config):
    data = datasets.load(config.data)
    whole = loop.fit(build_setup(config, data))
    half = loop.fit(build_setup(config.replace(epochs=1), data))
    goes_on = loop.fit(build_setup(config, data), start=half.snapshot)
    assert goes_on.to_json()["parameters_sha256"] == whole.to_json()["parameters_sha256"]


def test_its_contrast_goes_with_lightgcn(config):
    data = datasets.load(config.data)
    found = loop.fit(build_setup(config.replace(model="lightgcn", loss="egcf", init="xavier", epochs=6), data))
    expected = oracle.metrics(oracle.popularity(data), data, "test", (20,))
    assert found.best["recall@20"] > 1.15 * expected["recall@20"]


def test_every_node_is_folded_in_by_its_neighbors():
    """Known ones without news have their trained vectors, and a new user that of its items' layers."""
    data = lg.load("synthetic", num_users=60, num_items=40, num_interactions=900)
    settings = {"embedding_dim": 4, "epochs": 2, "batch_size": 128, "learning_rate": 0.1, "top_k": (5,)}
    model = lg.Model("egcf", loss="egcf", **settings).fit(data, quiet=True)
    found = model.fold_in({3: [], 9: [], 1001: [4, 7]}, k=5)
    np.testing.assert_allclose(found.vectors[:2], model.user_embeddings[[3, 9]], rtol=1e-5, atol=1e-7)
    items = model.fold_in_items({5: [], 11: []})
    np.testing.assert_allclose(items.vectors, model.item_embeddings[[5, 11]], rtol=1e-5, atol=1e-7)

    matrix = oracle.dense(data.train, data.num_items)
    users, rows = matrix.sum(1), model._trained.table[data.num_users :].astype(np.float64)
    weighted = matrix / np.sqrt(np.outer(users, np.maximum(matrix.sum(0), 1)))
    layers, others = [rows], np.tanh(weighted @ rows)
    for _ in range(2):
        others, rows = np.tanh(weighted @ rows), np.tanh(weighted.T @ others)
        layers.append(rows)
    shares = 1 / np.sqrt(2 * (matrix.sum(0)[[4, 7]] + 1))
    expected = sum(np.tanh(shares @ layer[[4, 7]]) for layer in layers)
    np.testing.assert_allclose(found.vectors[2], expected, rtol=1e-5, atol=1e-7)
