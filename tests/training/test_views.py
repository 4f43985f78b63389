"""Losses between perturbed views: a step written out in PyTorch, devices, resume, settings that do not go together."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import torch
from flax import nnx

from lgcn_jax.config import Config
from lgcn_jax.data import csr, datasets
from lgcn_jax.errors import InputError
from lgcn_jax.graph import normalization, order, propagation
from lgcn_jax.graph.perturbation import Noise
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.models import LightGCN
from lgcn_jax.sampling import Batch
from lgcn_jax.training import loop, programs, step
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.step import make_gradient_and_metrics

USERS, ITEMS, DIM, K = 12, 9, 4, 3
WEIGHTS = (0.0, 0.5, 0.2, 0.3)
USER, POSITIVE, NEGATIVE = [0, 3, 3, 5, 7], [2, 2, 4, 1, 2], [1, 5, 6, 3, 7]
OWN = {"simgcl": {}, "xsimgcl": {"contrast_layer": 2}}


def torch_step(name: str, matrix: np.ndarray, table: torch.Tensor, added: list[torch.Tensor], config) -> torch.Tensor:
    """The loss of a batch, layer by layer, `added` [K, n, d] of each propagation being noise of positive signs."""
    layers_of = []
    for noise in added:
        layers = [table]
        for number in range(K):
            layer = torch.tensor(matrix) @ layers[-1]
            layers.append(layer + torch.sign(layer) * noise[number])
        layers_of.append(layers)
    clean = [table]
    for _ in range(K):
        clean.append(torch.tensor(matrix) @ clean[-1])
    final = [sum(w * layer for w, layer in zip(WEIGHTS, layers, strict=True)) for layers in (clean, *layers_of)]
    ranked, *views = final if name == "simgcl" else (final[1], final[1], layers_of[0][2])
    contrast = 0
    for nodes in (np.unique(USER), USERS + np.unique(POSITIVE)):
        first, second = (torch.nn.functional.normalize(view[nodes], dim=1) for view in views[:2])
        logits = first @ second.T / config.loss.temperature
        contrast = contrast + torch.nn.functional.cross_entropy(logits, torch.arange(len(nodes)))
    rows = [np.array(nodes) for nodes in (USER, [USERS + i for i in POSITIVE], [USERS + i for i in NEGATIVE])]
    user, positive, negative = (ranked[nodes] for nodes in rows)
    bpr = -torch.nn.functional.logsigmoid((user * (positive - negative)).sum(1)).mean()
    l2 = config.loss.l2 * 0.5 * sum(table[nodes].pow(2).sum() for nodes in rows) / len(USER)
    return bpr + config.loss.contrast_weight * contrast + l2


@pytest.mark.parametrize("name", OWN)
def test_a_step_is_the_published_one_s(name):
    config = Config.of(loss=name, noise=0.3, contrast_weight=0.7, num_layers=K, layer_weights=WEIGHTS, **OWN[name])
    with jax.enable_x64(True):
        random = np.random.default_rng(3)
        pairs = csr.from_pairs(random.integers(0, USERS, 40), random.integers(0, ITEMS, 40), (USERS, ITEMS))
        matrix = normalization.normalized_adjacency(pairs, ITEMS, dtype=np.float64)
        rows = random.permutation(USERS + ITEMS).astype(np.int32)
        placed = order.Order(rows, USERS + ITEMS)
        adjacency = Adjacency(propagation.make_layout(order.permute(matrix, placed)), jnp.asarray(rows))
        table, key = random.standard_normal((USERS + ITEMS, DIM)), jax.random.key(5)
        model = LightGCN(jnp.zeros_like(table).at[rows].set(table), WEIGHTS)
        graphdef, params = nnx.split(model)
        drawn = Batch(*(jnp.asarray(part, jnp.int32) for part in (USER, POSITIVE)), None, jnp.ones(5))
        drawn = drawn._replace(negative=jnp.asarray(NEGATIVE, jnp.int32)[:, None])
        slopes, metrics = make_gradient_and_metrics(config, graphdef, USERS)(params, adjacency, drawn, {}, key)

        noises = [Noise.of(each, adjacency, 0.3) for each in jax.random.split(key)]
        ones = jnp.ones((USERS + ITEMS, DIM))
        added = [[np.array(noise.add_to_layer(ones, k + 1) - 1)[rows] for k in range(K)] for noise in noises]
        theirs = torch.tensor(table, requires_grad=True)
        expected = torch_step(name, matrix.toarray(), theirs, torch.tensor(np.array(added)), config)
        expected.backward()
        assert float(metrics["loss"]) == pytest.approx(expected.item(), rel=1e-10)
        np.testing.assert_allclose(slopes["table"][...][rows], theirs.grad, rtol=0, atol=1e-10)


@pytest.fixture
def config(small) -> Config:
    return small.replace(sampler="edge", init="xavier", epochs=3, learning_rate=0.01)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("mesh", [pytest.param("data:2", marks=pytest.mark.long), "data:2,nodes:2"])
def test_several_devices_give_what_one_gives(config, name, mesh):
    config = config.replace(epochs=1, loss=name, **OWN[name])
    data = datasets.load(config.data)
    one, more = (loop.fit(build_setup(each, data)).table for each in (config, config.replace(mesh=mesh)))
    np.testing.assert_allclose(one, more, rtol=0, atol=5e-5)


@pytest.mark.parametrize("name", OWN)
def test_a_run_goes_on_bit_for_bit_and_every_step_has_its_own_noise(config, name):
    config = config.replace(loss=name, **OWN[name])
    data = datasets.load(config.data)
    whole = loop.fit(build_setup(config, data))
    half = loop.fit(build_setup(config.replace(epochs=1), data))
    goes_on = loop.fit(build_setup(config, data), start=half.snapshot)
    assert goes_on.to_json()["parameters_sha256"] == whole.to_json()["parameters_sha256"]
    quiet = loop.fit(build_setup(config.replace(noise=0.0), data))
    assert (quiet.table != whole.table).any()


def test_noise_is_that_of_seed_epoch_and_step(config, monkeypatch):
    keys = [step.noise_key(jax.random.key(epoch), jnp.int32(number)) for epoch in range(3) for number in range(4)]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 12
    setup = build_setup(config.replace(loss="simgcl", epochs=1), datasets.load(config.data))
    found, original = loop.fit(setup).table, step.noise_key
    monkeypatch.setattr(programs, "noise_key", lambda key, number: original(key, jnp.int32(0)))
    assert (loop.fit(setup).table != found).any()


@pytest.mark.parametrize("name", OWN)
def test_it_beats_popularity(config, name):
    config = config.replace(loss=name, noise=0.05, contrast_weight=0.1, learning_rate=0.02, epochs=12, eval_every=12)
    data = datasets.load(config.data)
    result = loop.fit(build_setup(config, data))
    expected = oracle.metrics(oracle.popularity(data), data, "test", (20,))
    assert result.best["recall@20"] > 1.15 * expected["recall@20"]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (
            {"loss": "simgcl", "model": "egcf"},
            r"--loss: found simgcl, whose noise .* with --model=egcf .* expected one",
        ),
        ({"loss": "simgcl", "num_layers": 0}, r"--loss: found simgcl, .* with at least one layer"),
        ({"loss": "simgcl", "layer_combination": "learned"}, r"--loss: found simgcl, .* and fixed weights"),
        ({"loss": "xsimgcl", "model": "lightgcn++"}, r"--loss: found xsimgcl, .* with --model=lightgcn\+\+ as it is"),
        ({"loss": "xsimgcl", "num_layers": 2, "contrast_layer": 3}, r"--contrast_layer: found 3, expected at most 2"),
        ({"loss": "simgcl", "batch_size": 1}, r"--batch_size: found 1 with in-batch negatives"),
        ({"loss": "egcf", "batch_size": 1}, r"--batch_size: found 1 with in-batch negatives"),
        ({"loss": "simgcl", "noise": -1.0}, r"--noise: found -1.0, expected at least 0"),
        ({"loss": "egcf", "noise": 0.1}, r"--noise: found 0.1, expected nothing with --loss=egcf"),
        ({"model": "egcf", "num_layers": 0}, r"--num_layers: found 0, expected an integer from 1"),
        ({"model": "egcf", "layer_weights": (0.5, 0.5)}, r"--layer_weights: found .* nothing with --model=egcf"),
    ],
)
def test_what_does_not_go_together_is_refused(stated, message):
    with pytest.raises(InputError, match=message):
        Config.of(**stated)
