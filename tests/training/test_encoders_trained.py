"""All encoders through the same trainer: a world whose answer is known, devices, checkpoints, warm starts."""

import json

import jax
import numpy as np
import oracle
import pytest

import lgcn_jax as lg
from lgcn_jax.cli import main
from lgcn_jax.config import Config
from lgcn_jax.data import csr, datasets
from lgcn_jax.errors import InputError
from lgcn_jax.graph import normalization, propagation
from lgcn_jax.training import estimate, loop, programs, state, warm_start
from lgcn_jax.training.programs import compile_block
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.warm_start import WarmStart

LEARNED = {"model": "lightgcn", "layer_combination": "learned", "num_layers": 2}
MODELS = [{"model": "mf"}, LEARNED, {"model": "lightgcn++"}, {"model": "ngcf", "num_layers": 2}]
NAMES = ["mf", "learned", "lightgcn++", "ngcf"]
EGCF = {"model": "egcf", "loss": "egcf", "num_layers": 2}
WORLD = {"dataset": "synthetic", "num_users": 120, "num_items": 80, "num_interactions": 2500}
RUN = {"embedding_dim": 8, "batch_size": 240, "learning_rate": 0.02, "eval_every": 1, "save_every": 1, "top_k": (5,)}


@pytest.mark.parametrize("settings", MODELS, ids=NAMES)
def test_the_checkerboard_is_completed(checkerboard, settings):
    """Which popularity cannot do, since all items are equally popular."""
    config = Config.of(
        dataset="checkerboard", **settings, embedding_dim=16, batch_size=64, epochs=60, eval_every=60, top_k=(1,)
    )
    result = loop.fit(build_setup(config.replace(learning_rate=0.05), checkerboard))
    assert oracle.metrics(oracle.popularity(checkerboard), checkerboard, "test", (1,))["recall@1"] < 0.3
    assert result.last["recall@1"] > 0.9


def steps_on(mesh: str, settings: dict) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """All parameters before and after three steps, and the sum of the gradients' norms."""
    config = Config.of(**WORLD | RUN | {"mesh": mesh} | settings)
    setup = build_setup(config, datasets.load(config.data))
    start = setup.initial_snapshot()
    before = setup.parameters(start.state.params)
    indices = setup.mesh.replicate((jax.random.key(7), np.int32(0), np.int32(3)))
    block = compile_block(setup, start)
    after, totals = block(start.state, start.totals, setup.adjacency, setup.sampler, *indices)
    for value in state.replicated_parameters(after.params).values():
        first, *others = (np.asarray(shard.data) for shard in value[...].addressable_shards)
        for other in others:
            np.testing.assert_array_equal(other, first)
    both = (before, setup.parameters(after.params))
    return *([each.table, *each.replicated.values()] for each in both), np.asarray(totals.sums["grad_norm"])


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(MODELS[0], id="mf"),
        pytest.param(LEARNED, id="learned", marks=pytest.mark.long),
        *(pytest.param(settings, id=name) for settings, name in zip(MODELS[2:], NAMES[2:], strict=True)),
    ],
)
def test_devices_together_do_what_one_does(settings):
    """Gradients of matrices of weights included, which Adam makes a step of whatever their size."""
    begun, expected, norm = steps_on("data:1", settings)
    for mesh in ("data:2", "nodes:2"):
        _, found, other = steps_on(mesh, settings)
        assert other == pytest.approx(norm, rel=1e-5)
        for mine, one, before in zip(found, expected, begun, strict=True):
            np.testing.assert_allclose(mine, one, rtol=0, atol=1e-5, err_msg=mesh)
            assert np.abs(one - before).max() > 1e-3


@pytest.fixture(scope="module")
def data() -> lg.Interactions:
    return lg.load("synthetic", num_users=120, num_items=80, num_interactions=2500)


def fitted(settings: dict, data: lg.Interactions, epochs: int = 2, **more) -> lg.Model:
    return lg.Model(**RUN | {"epochs": epochs} | settings).fit(data, quiet=True, **more)


class Models(dict):
    """Fitted when they are asked for."""

    def __init__(self, data: lg.Interactions):
        self.data = data

    def __missing__(self, name: str) -> lg.Model:
        self[name] = fitted((dict(zip(NAMES, MODELS, strict=True)) | {"egcf": EGCF})[name], self.data)
        return self[name]


@pytest.fixture(scope="module")
def models(data) -> Models:
    return Models(data)


@pytest.mark.parametrize("settings", [LEARNED, MODELS[3]], ids=["learned", "ngcf"])
def test_a_run_that_goes_on_is_the_longer_run_bit_for_bit(data, settings, tmp_path):
    """Matrices of weights, and what Adam keeps of them, are in the checkpoints and in the digest."""

    def digest(folder) -> str:
        return json.loads((tmp_path / folder / "result.json").read_text())["parameters_sha256"]

    whole = fitted(settings, data, 3, workdir=tmp_path / "whole")
    half = fitted(settings, data, 2, workdir=tmp_path / "half")
    before = digest("half")
    again = fitted(settings, data, 3, workdir=tmp_path / "half")
    assert digest("half") == digest("whole") != before
    assert whole._trained.replicated.keys() == again._trained.replicated.keys()
    loaded = lg.load_model(tmp_path / "half")
    for name, value in whole._trained.replicated.items():
        np.testing.assert_array_equal(again._trained.replicated[name], value)
        np.testing.assert_array_equal(loaded._trained.replicated[name], value)
        assert (half._trained.replicated[name] != value).any()
    np.testing.assert_array_equal(loaded.user_embeddings, whole.user_embeddings)
    others = {name: value + 1 for name, value in whole._trained.replicated.items()}
    assert state.table_sha256(whole._trained.table, others) != state.table_sha256(whole._trained.table)


def test_a_run_with_matrices_moves_between_meshes_through_its_checkpoints(data, tmp_path):
    still = fitted(MODELS[3], data, 3)
    for epochs, mesh in ((1, "nodes:3"), (2, "data:2,nodes:2"), (3, "data:1")):
        moved = fitted(MODELS[3] | {"mesh": mesh}, data, epochs, workdir=tmp_path / "run")
    np.testing.assert_allclose(moved._trained.table, still._trained.table, rtol=0, atol=1e-5)
    for name, value in still._trained.replicated.items():
        np.testing.assert_allclose(moved._trained.replicated[name], value, rtol=0, atol=1e-5)


def test_dropout_is_that_of_seed_epoch_and_step_and_items_are_ranked_without_it(data, models):
    """`test_a_run_that_goes_on` and `test_devices_together` hold that it is resumed and cut over devices."""
    dropping = models["ngcf"]
    assert dropping.config.model.message_dropout == 0.1
    tables = [fitted(MODELS[3] | {"message_dropout": rate}, data)._trained.table for rate in (0.1, 0.0)]
    np.testing.assert_array_equal(tables[0], dropping._trained.table)
    assert np.abs(tables[1] - tables[0]).max() > 1e-3
    matrix = normalization.normalized_adjacency(data.train, data.num_items).toarray().astype(np.float64)
    trained = dropping._trained
    layer, parts = trained.table.astype(np.float64), [trained.table]
    for of_sum, of_product in zip(*(trained.replicated[f"{name}_weights"] for name in ("sum", "product")), strict=True):
        message = (matrix @ layer + layer) @ of_sum + (matrix @ layer * layer) @ of_product
        layer = np.where(message > 0, message, 0.2 * message)
        parts.append(layer / np.linalg.norm(layer, axis=1, keepdims=True).clip(1e-30))
    vectors = np.concatenate([dropping.user_embeddings, dropping.item_embeddings])
    np.testing.assert_allclose(vectors, np.concatenate(parts, axis=1), rtol=0, atol=1e-5)


def test_every_step_drops_other_elements(data, monkeypatch):
    config = Config.of(**WORLD | RUN | MODELS[3] | {"epochs": 1})
    setup, original = build_setup(config, data), programs.noise_key
    found = loop.fit(setup).table
    monkeypatch.setattr(programs, "noise_key", lambda key, number: original(key, np.int32(0)))
    assert (loop.fit(setup).table != found).any()


@pytest.mark.parametrize("name", [*NAMES, "egcf"])
def test_a_fitted_model_is_used_like_every_other(models, data, name, tmp_path):
    model = models[name]
    width = 24 if name == "ngcf" else 8
    assert (model.user_embeddings.shape, model.item_embeddings.shape) == ((120, width), (80, width))
    scores = model.user_embeddings.astype(np.float64) @ model.item_embeddings.astype(np.float64).T
    expected = oracle.metrics(scores, data, "test", (5,))
    assert model.evaluate(data, k=(5,))["recall@5"] == pytest.approx(expected["recall@5"], abs=1e-3)
    found = model.recommend([3], k=4)
    seen = oracle.rows(data.train)[3]
    scores[3, seen] = -np.inf
    assert found.ids[0].tolist() == np.argsort(-scores[3], kind="stable")[:4].tolist()
    model.save(tmp_path / "model")
    loaded = lg.load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.item_embeddings, model.item_embeddings)
    for parameter, value in model._trained.replicated.items():
        np.testing.assert_array_equal(loaded._trained.replicated[parameter], value)
    loaded.export(tmp_path / "vectors")
    exported = [np.load(path) for path in (tmp_path / "vectors").glob("*.npz")]
    assert any((120, width) in [file[key].shape for key in file] for file in exported)
    assert model.similar_items([2], k=3).ids.shape == (1, 3)


def test_they_train_and_continue_from_the_command_line(tmp_path, capsys):
    world = [f"--{name}={value}" for name, value in (WORLD | {"embedding_dim": 8, "batch_size": 600}).items()]
    flags = ["train", *world, "--top_k=5", "--quiet", f"--workdir={tmp_path / 'run'}", "--model=lightgcn++"]
    assert main.main([*flags, "--epochs=1", "--layer0_weight=0.1"]) == 0
    assert main.main([*flags, "--epochs=2", "--layer0_weight=0.1", "--mesh=nodes:2"]) == 0
    capsys.readouterr()
    assert main.main([*flags, "--epochs=3", "--layer0_weight=0.3"]) == 2
    assert "--layer0_weight" in capsys.readouterr().err
    assert main.main(["recommend", f"--workdir={tmp_path / 'run'}", "--user=3", "--k=4"]) == 0
    refused = ["train", *world, "--model=mf", f"--workdir={tmp_path / 'other'}"]
    assert main.main([*refused, "--propagation=bcoo"]) == 2
    line = "--propagation: found a setting without effect here, expected a model that multiplies by the graph\n"
    assert capsys.readouterr().err.endswith(line)
    assert not (tmp_path / "other").exists()


def test_an_inserted_user_has_the_vector_of_one_layer(data):
    """For K = 1 folding in LightGCN++ is what a graph with the user gives, were the user's layer 0 absent."""
    model = fitted({"model": "lightgcn++", "num_layers": 1, "layer0_weight": 0.25}, data)
    table, history = model._trained.table.astype(np.float64), [3, 7, 11]
    degree = oracle.dense(data.train, data.num_items).sum(0)[history] + 1
    items = table[data.num_users :][history]
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    expected = 3**-0.6 * (degree**0.1 @ items)
    found = model.fold_in({1000: history}, k=3)
    np.testing.assert_allclose(found.vectors[0], expected, rtol=1e-5)
    known = model.fold_in({5: oracle.rows(data.train)[5]}, k=3)
    np.testing.assert_allclose(known.vectors[0], model.user_embeddings[5], rtol=1e-5, atol=1e-7)


def test_a_known_user_without_news_keeps_the_vector_of_more_layers(data, models):
    model = models["lightgcn++"]
    known = model.fold_in({5: oracle.rows(data.train)[5]}, k=3)
    np.testing.assert_allclose(known.vectors[0], model.user_embeddings[5], rtol=1e-5, atol=1e-7)


def test_folding_in_takes_the_weights_that_were_learned(data, models):
    model = models["learned"]
    weights = np.asarray(jax.nn.softmax(model._trained.replicated["logits"]))
    assert np.abs(weights - 1 / 3).max() > 1e-3
    known = model.fold_in({5: oracle.rows(data.train)[5]}, k=3)
    np.testing.assert_allclose(known.vectors[0], model.user_embeddings[5], rtol=1e-5, atol=1e-7)
    how = model.config.model.fold_in(trained=model._trained.replicated)
    assert (how.own, how.scale) == pytest.approx((weights[0], 1 / (1 - weights[0])), rel=1e-6)


@pytest.mark.parametrize("name", ["mf", "ngcf"])
def test_models_that_embed_no_node_without_a_row_say_so(models, name, tmp_path, capsys):
    with pytest.raises(InputError, match=f"fold_in: found the model {name}, which embeds no new node"):
        models[name].fold_in({1000: [3]}, k=3)
    models[name].save(tmp_path / "model")
    (tmp_path / "new.csv").write_text("user,item\n1000,3\n")
    assert main.main(["recommend", f"--workdir={tmp_path / 'model'}", f"--fold_in={tmp_path / 'new.csv'}"]) == 2
    assert f"--fold_in={tmp_path / 'new.csv'}: found the model {name}, which" in capsys.readouterr().err


def begun(data, source: lg.Model, **more):
    config = Config.of(**lg.Model(**source.get_params() | more)._stated_for(data, None))
    setup = build_setup(config, data)
    trained = source._trained
    warm = WarmStart("earlier", source.config, source.users, source.items, trained.table, trained.replicated)
    return setup, warm_start.make_warm_start_point(setup, data, warm).start.state.params


@pytest.mark.parametrize(("name", "mesh"), [("ngcf", "data:1"), ("learned", "nodes:2")])
def test_a_warm_start_begins_with_the_weights_of_its_source(data, models, name, mesh):
    setup, params = begun(data, models[name], mesh=mesh)
    found, source = setup.parameters(params), models[name]._trained
    np.testing.assert_array_equal(found.table, source.table)
    assert found.replicated.keys() == source.replicated.keys()
    for parameter, value in source.replicated.items():
        np.testing.assert_array_equal(found.replicated[parameter], value)


def test_a_warm_start_of_new_users_normalizes_as_the_model_does(data, models):
    """User 7 is new; LightGCN++ of two layers, in the new graph, with the user's layer 0 absent."""
    source = models["lightgcn++"]
    kept = np.delete(np.arange(120), 7)
    table = np.delete(source._trained.table, 7, axis=0)
    setup = build_setup(source.config, data)
    warm = WarmStart("earlier", source.config, source.users[kept], source.items, table, {})
    found = setup.table(warm_start.make_warm_start_point(setup, data, warm).start.state.params)
    dense = np.zeros((200, 200))
    dense[csr.row_of_entry(data.train), 120 + data.train.indices] = 1
    dense += dense.T
    matrix = dense.sum(0)[:, None] ** -0.6 * dense * dense.sum(0) ** 0.1
    layer = np.insert(table.astype(np.float64), 7, 0, axis=0)
    sums = 0
    for _ in range(2):
        length = np.linalg.norm(layer, axis=1, keepdims=True)
        layer = matrix @ (layer / np.where(length > 0, length, 1))
        sums = sums + layer / 2
    np.testing.assert_allclose(found[7], sums[7], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.delete(found, 7, axis=0), table)


def test_a_warm_start_with_matrices_of_another_shape_is_refused(data, models):
    line = r"--warm_start=earlier: found a run with product_weights of shape \(2, 8, 8\), expected shape \(1, 8, 8\)"
    with pytest.raises(InputError, match=line):
        begun(data, models["ngcf"], num_layers=1)


def test_a_matrix_factorization_multiplies_by_no_graph(data, monkeypatch):
    """And is LightGCN with K = 0, to rounding."""
    none = fitted({"num_layers": 0}, data)

    def forbidden(*arguments):
        raise AssertionError("a product")

    for name in ("product", "product_at", "product_of_rows"):
        monkeypatch.setattr(propagation.LAYOUTS[propagation.resolve_layout_name()], name, forbidden)
    found = fitted({"model": "mf"}, data)
    np.testing.assert_allclose(found._trained.table, none._trained.table, rtol=0, atol=1e-6)


def test_the_estimate_counts_what_an_encoder_keeps_within_a_step(data):
    layers = [
        estimate.run_memory_bytes(Config.of(**RUN | {"embedding_dim": 64} | settings), data)["layer"]
        for settings in ({}, *MODELS)
    ]
    assert layers[0] == layers[1] == 4 * 200 * 64
    assert layers[0] < layers[2] < layers[4]
