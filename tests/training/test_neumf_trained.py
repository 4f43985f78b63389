"""NeuMF through the same trainer, checkpoints, devices and uses as the models whose scores are dot products."""

import json

import jax
import numpy as np
import oracle
import pytest

import lgcn_jax as lg
from lgcn_jax.cli import main
from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.errors import InputError
from lgcn_jax.training import estimate, loop, state
from lgcn_jax.training.programs import compile_block
from lgcn_jax.training.setup import build_setup

WORLD = {"dataset": "synthetic", "num_users": 120, "num_items": 80, "num_interactions": 2500}
RUN = {"model": "neumf", "embedding_dim": 8, "batch_size": 240, "learning_rate": 0.02, "top_k": (5,), "save_every": 1}


@pytest.fixture(scope="module")
def data() -> lg.Interactions:
    return lg.load("synthetic", num_users=120, num_items=80, num_interactions=2500)


def fitted(data: lg.Interactions, epochs: int, workdir=None, **more) -> lg.Model:
    return lg.Model(**RUN | {"epochs": epochs, "eval_every": 1} | more).fit(data, workdir, quiet=True)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """A run of two epochs."""
    path = tmp_path_factory.mktemp("neumf") / "run"
    fitted(data, 2, path)
    return path


@pytest.fixture(scope="module")
def model(data, folder) -> lg.Model:
    return lg.load_model(folder)


def scores_of(model: lg.Model) -> np.ndarray:
    """float64[120, 80], by the formula of the paper: layers of concatenated rows."""
    params = {name: value.astype(np.float64) for name, value in model._trained.replicated.items()}
    rows = model._trained.table.astype(np.float64)
    users, items = (part.ravel() for part in np.indices((120, 80)))
    user, item = rows[users], rows[120 + items]
    hidden = np.concatenate([user[:, 8:], item[:, 8:]], axis=1)
    for layer in (1, 2, 3):
        hidden = np.maximum(hidden @ params[f"weights_{layer}"] + params[f"bias_{layer}"], 0)
    return (np.concatenate([user[:, :8] * item[:, :8], hidden], axis=1) @ params["output"]).reshape(120, 80)


def test_the_checkerboard_is_completed(checkerboard):
    """Which popularity cannot do, since all items are equally popular."""
    settings = {"dataset": "checkerboard", "embedding_dim": 16, "batch_size": 64, "epochs": 60, "eval_every": 60}
    config = Config.of(**settings, model="neumf", loss="bpr", learning_rate=0.05, top_k=(1,))
    result = loop.fit(build_setup(config, checkerboard))
    assert oracle.metrics(oracle.popularity(checkerboard), checkerboard, "test", (1,))["recall@1"] < 0.3
    assert result.last["recall@1"] > 0.9


def steps_on(mesh: str, **settings) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """All parameters before and after three steps, and the sum of the gradients' norms."""
    config = Config.of(**WORLD | RUN | {"mesh": mesh} | settings)
    setup = build_setup(config, datasets.load(config.data))
    start = setup.initial_snapshot()
    before = setup.parameters(start.state.params)
    indices = setup.mesh.replicate((jax.random.key(7), np.int32(0), np.int32(3)))
    after, totals = compile_block(setup, start)(start.state, start.totals, setup.adjacency, setup.sampler, *indices)
    for value in state.replicated_parameters(after.params).values():
        first, *others = (np.asarray(shard.data) for shard in value[...].addressable_shards)
        for other in others:
            np.testing.assert_array_equal(other, first)
    both = before, setup.parameters(after.params)
    return *([each.table, *each.replicated.values()] for each in both), np.asarray(totals.sums["grad_norm"])


@pytest.mark.parametrize("negatives", ["uniform", "in-batch", pytest.param("shared", marks=pytest.mark.long)])
def test_devices_together_do_what_one_does(negatives):
    """Whatever scores are computed for: pairs, a table of users and shared items, or one that devices share."""
    more = {"num_shared": 60} if negatives == "shared" else {}
    settings = {"negatives": negatives, "loss": "bpr", **more}
    begun, expected, norm = steps_on("data:1", **settings)
    for mesh in ("data:2", "nodes:2"):
        _, found, other = steps_on(mesh, **settings)
        assert other == pytest.approx(norm, rel=1e-5)
        for mine, one, before in zip(found, expected, begun, strict=True):
            np.testing.assert_allclose(mine, one, rtol=0, atol=2e-5, err_msg=mesh)
            assert np.abs(one - before).max() > 1e-3


def digest(folder) -> str:
    return json.loads((folder / "result.json").read_text())["parameters_sha256"]


def test_a_run_that_goes_on_is_the_longer_run_bit_for_bit(data, folder, tmp_path):
    whole, half = fitted(data, 3, tmp_path / "whole"), fitted(data, 2, tmp_path / "half")
    assert digest(tmp_path / "half") == digest(folder)
    again = fitted(data, 3, tmp_path / "half")
    assert digest(tmp_path / "half") == digest(tmp_path / "whole") != digest(folder)
    assert len(whole._trained.replicated) == 7
    for name, value in whole._trained.replicated.items():
        np.testing.assert_array_equal(again._trained.replicated[name], value)
        assert (half._trained.replicated[name] != value).any()


@pytest.mark.long
def test_a_run_moves_between_meshes_and_is_evaluated_there(data, tmp_path):
    still = fitted(data, 3)
    for epochs, mesh in ((1, "nodes:3"), (2, "data:2,nodes:2"), (3, "data:1")):
        moved = fitted(data, epochs, tmp_path / "run", mesh=mesh)
    np.testing.assert_allclose(moved._trained.table, still._trained.table, rtol=0, atol=2e-5)
    for name, value in still._trained.replicated.items():
        np.testing.assert_allclose(moved._trained.replicated[name], value, rtol=0, atol=2e-5)
    evaluated = [[row["recall@5"] for row in each.history if row["split"] == "test"] for each in (still, moved)]
    assert evaluated[1] == pytest.approx(evaluated[0], abs=5e-3)


def test_a_fitted_model_recommends_predicts_and_evaluates_by_its_network(data, model, tmp_path):
    scores = scores_of(model)
    logged = [row["recall@5"] for row in model.history if row["split"] == "test"]
    expected = oracle.metrics(scores, data, "test", (5,))["recall@5"]
    assert model.evaluate(data, k=5)["recall@5"] == pytest.approx(expected, abs=1e-3)
    assert max(logged) == pytest.approx(expected, abs=1e-3)
    np.testing.assert_allclose(model.predict([3, 4, 5], [7, 8, 9]), scores[[3, 4, 5], [7, 8, 9]], rtol=1e-4, atol=1e-6)
    masked = scores.copy()
    for user, seen in enumerate(oracle.rows(data.train)):
        masked[user, seen] = -np.inf
    best = np.argsort(-masked, axis=1, kind="stable")[:, :4]
    for mesh in ("data:1,nodes:1", "data:2,nodes:2"):
        found = model.recommend(model.users, k=4, mesh=mesh)
        np.testing.assert_allclose(found.scores, np.take_along_axis(masked, best, axis=1), rtol=1e-4, atol=1e-6)
        assert (found.ids == best).mean() > 0.99
    model.save(tmp_path / "model")
    loaded = lg.load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(3, [1, 2]), model.predict(3, [1, 2]))
    assert (model.vector_width, loaded.vector_width) == (None, None)
    assert lg.load_model(tmp_path / "model").recommend(3, k=4).ids.tolist() == model.recommend(3, k=4).ids.tolist()


def test_what_needs_vectors_is_refused_in_one_line(model, tmp_path):
    line = "found the model neumf, whose scores are no dot products of vectors, expected recommend or predict, or a"
    for asked, call in {
        "similar_items": lambda: model.similar_items(3, k=2),
        "similar_users": lambda: model.similar_users(3, k=2),
        "export": lambda: model.export(tmp_path / "vectors"),
    }.items():
        with pytest.raises(InputError, match=f"^{asked}: {line}") as error:
            call()
        assert "\n" not in str(error.value)
    assert not (tmp_path / "vectors").exists()
    with pytest.raises(InputError, match="fold_in: found the model neumf, which embeds no new node"):
        model.fold_in({1000: [3]}, k=3)


def test_a_mixture_takes_scores_and_has_no_vectors(data, model):
    mixture = lg.Mixture(model, lg.Popularity(), weight=1.0).fit(data)
    assert mixture.recommend(3, k=4).ids.tolist() == model.recommend(3, k=4).ids.tolist()
    both = lg.Mixture(model, lg.IALS(width=4, sweeps=1), weight=0.5).fit(data)
    assert both.vector_width is None
    with pytest.raises(InputError, match="Mixture: found one with a Model model, without vectors"):
        both.similar_items(3, k=2)


def test_a_warm_start_has_the_network_of_its_source(data, model):
    begun = lg.Model(**RUN | {"epochs": 1, "learning_rate": 1e-12, "eval_split": "none"})
    begun.fit(data, quiet=True, warm_start=model)
    np.testing.assert_allclose(begun._trained.table, model._trained.table, rtol=0, atol=1e-6)
    for name, value in model._trained.replicated.items():
        np.testing.assert_allclose(begun._trained.replicated[name], value, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match=r"found a run with output of shape \(10,\), expected shape \(9,\)"):
        lg.Model(**RUN | {"epochs": 1, "mlp_layers": 4}).fit(data, quiet=True, warm_start=model)


def test_parameters_that_are_not_finite_are_no_model(data):
    """Those of the network, too, are looked at by an evaluation."""
    from lgcn_jax.training.programs import make_evaluate

    config = Config.of(**WORLD | RUN)
    setup = build_setup(config, data)
    params = setup.initial_snapshot().state.params
    params["bias_2"][...] = params["bias_2"][...].at[0].set(np.nan)
    sums = jax.jit(make_evaluate(setup, setup.graphdef()))(params, setup.adjacency, setup.task)
    assert np.isnan(sums).all()


def test_a_run_goes_through_the_command_line(folder, tmp_path, capsys):
    world = [f"--{name}={value}" for name, value in WORLD.items()]
    train = ["train", *world, "--model=neumf", "--embedding_dim=8", "--epochs=1", "--top_k=5", "--quiet"]
    run, other = (f"--workdir={tmp_path / name}" for name in ("run", "other"))
    assert main.main([*train, "--mlp_layers=2", run, "--batch_size=600", "--mesh=nodes:2"]) == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["vector_width"] is None
    assert main.main(["evaluate", run, "--mesh=data:2,nodes:2"]) == 0
    assert main.main(["recommend", run, "--user=3", "--k=4"]) == 0
    (tmp_path / "pairs.csv").write_text("3,4\n5,6\n")
    assert main.main(["predict", run, f"--pairs_file={tmp_path / 'pairs.csv'}"]) == 0
    assert main.main(["report", run]) == 0
    assert "nan" not in (tmp_path / "run" / "report.html").read_text().lower().split("<script")[0].split()
    capsys.readouterr()
    for command, told in (
        (
            [*train, "--loss=ssm", other],
            "--loss: found ssm, which needs scores that are products of vectors",
        ),
        (["evaluate", run, "--popularity_prior=0.5"], "--popularity_prior: found 0.5, expected 0 with --model=neumf"),
        (["similar", run, "--item=3", "--k=2"], "similar_items: found the model neumf"),
        (["export", run, f"--out={tmp_path / 'out'}"], "export: found the model neumf"),
    ):
        assert main.main(command) == 2
        line = capsys.readouterr().err
        assert told in line
        assert line.count("\n") == 1


def test_a_report_of_a_model_is_that_of_its_run(data, folder, model, tmp_path):
    from lgcn_jax.reporting import collect
    from lgcn_jax.reporting.contents import MODEL

    of_run, of_model = collect.from_folder(folder, data).findings, collect.from_model(model, data).findings
    scores = scores_of(model)
    assert of_run.quality.auc == pytest.approx(of_model.quality.auc, abs=1e-6)
    assert of_run.quality.means[MODEL]["recall@5"] == pytest.approx(
        oracle.metrics(scores, data, "test", (5,))["recall@5"], abs=1e-3
    )
    for shown in of_run.users:
        np.testing.assert_allclose(shown.scores, scores[shown.user, shown.recommended], rtol=1e-4, atol=1e-6)


def test_the_estimate_counts_both_halves_of_the_table(data):
    table, product = (estimate.run_memory_bytes(Config.of(**RUN | {"model": name}), data) for name in ("neumf", "mf"))
    assert (table["state"], table["layer"]) == (2 * product["state"], 2 * product["layer"])
