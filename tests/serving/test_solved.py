"""Baselines at the front door: every registered one fits, recommends, is evaluated, saved and loaded."""

import json

import numpy as np
import oracle
import pytest

import lgcn_jax as lg
from lgcn_jax.baselines import BASELINES, baseline
from lgcn_jax.cli import main
from lgcn_jax.serving import solved

SIZE = {"num_users": 80, "num_items": 60, "num_interactions": 1200}
FLAGS = ["--dataset=synthetic", *(f"--{name}={value}" for name, value in SIZE.items()), "--top_k=5"]
SMALL = {"neighbors": 10, "rank": 8, "order": 3, "width": 8, "sweeps": 6}


@pytest.fixture(scope="module")
def interactions():
    return lg.load("synthetic", **SIZE)


def settings(name):
    return {key: value for key, value in SMALL.items() if hasattr(BASELINES[name], key)}


@pytest.fixture(params=list(BASELINES))
def model(request, interactions):
    return solved.make_solved_model(request.param, **settings(request.param)).fit(interactions)


def test_each_has_a_class_and_a_scorer_of_which_all_else_follows(model, interactions, tmp_path):
    """Metrics, lists and scores of pairs are those of the scores; and all of it survives a folder."""
    assert type(model).__name__ == type(model.baseline).__name__
    assert type(model) is getattr(lg, type(model).__name__)
    users = np.arange(80, dtype=np.int32)
    scores = np.asarray(model.scorer.scores(users))
    found = model.evaluate(interactions, k=5)
    assert found == pytest.approx(oracle.metrics(scores, interactions, "test", (5,)), abs=2e-3)
    lists = model.recommend(interactions.user_ids, k=4, exclude_seen=False)
    np.testing.assert_allclose(lists.scores, -np.sort(-scores, axis=1)[:, :4], atol=1e-5)
    items = interactions.item_ids[:3]
    np.testing.assert_allclose(model.predict(interactions.user_ids[7], items), scores[7, :3], atol=1e-5)
    model.save(tmp_path / "model")
    loaded = lg.load_model(tmp_path / "model")
    assert type(loaded) is type(model)
    assert loaded.get_params() == model.get_params()
    np.testing.assert_array_equal(loaded.recommend(interactions.user_ids, k=4).ids, model.recommend(users, k=4).ids)
    assert loaded.evaluate(interactions, k=5) == found


def test_a_model_of_popularity_of_an_older_version_is_loaded(interactions, tmp_path):
    lg.Popularity().fit(interactions).save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k in ("format", "kind")}))
    assert lg.load_model(tmp_path / "model").recommend(3, k=5).ids.shape == (1, 5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: lg.EASE(l2=0), "l2: found 0, expected a number above 0"),
        (lambda: lg.EASE(rank=3), "rank: found 3, expected a setting of ease: l2"),
        (lambda: lg.Popularity(rank=3), "rank: found 3, expected a setting of popularity: nothing"),
        (lambda: lg.SolvedModel("lightgcn"), "model: found 'lightgcn', expected one of popularity, itemknn"),
    ],
)
def test_bad_settings_are_refused_at_once(make, text):
    with pytest.raises(lg.InputError) as error:
        make()
    assert str(error.value).startswith(text)


def test_memory_that_would_not_fit_is_refused_with_what_is_needed(interactions, monkeypatch):
    monkeypatch.setattr(baseline, "total_bytes", lambda: 20_000)
    with pytest.raises(lg.InputError, match=r"model=ease: found 0\.0 GB needed for 60 x 60 weights, twice, expected"):
        lg.EASE().fit(interactions)


def test_a_baseline_with_a_fit_of_its_own_recommends_and_is_not_saved(interactions, tmp_path, monkeypatch):
    monkeypatch.setattr(BASELINES, "_parts", dict(BASELINES._parts))

    @BASELINES.register("mine")
    class Mine(baseline.Baseline):
        def fit(self, interactions):
            return BASELINES["popularity"]().fit(interactions)

    model = lg.SolvedModel("mine").fit(interactions)
    np.testing.assert_array_equal(model.recommend(3).ids, lg.Popularity().fit(interactions).recommend(3).ids)
    with pytest.raises(lg.InputError, match="mine: found a baseline with a fit of its own, expected solve and scorer"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_train_solves_a_baseline_into_a_folder(interactions, tmp_path, capsys):
    command = ["train", "--model=gf-cf", "--rank=8", "--alpha=0.5", *FLAGS, f"--workdir={tmp_path / 'model'}"]
    assert main.main(command) == 0
    model, out = lg.load_model(tmp_path / "model"), capsys.readouterr().out
    assert isinstance(model, lg.GFCF)
    assert model.get_params() == {"rank": 8, "alpha": 0.5}
    assert f"{model.evaluate(interactions, k=5)['recall@5']:.4f}" in out
    assert f"{lg.Popularity().fit(interactions).evaluate(interactions, k=5)['recall@5']:.4f}" in out
    assert main.main(["evaluate", *command[1:-1]]) == 0
    assert f"{model.evaluate(interactions, k=5)['recall@5']:.4f}" in capsys.readouterr().out
    assert main.main(["recommend", f"--workdir={tmp_path / 'model'}", "--user=3", "--k=2"]) == 0
    assert str(model.recommend(3, k=2).ids[0, 0]) in capsys.readouterr().out
    saved = ["evaluate", f"--workdir={tmp_path / 'model'}"]
    assert main.main([*saved, *FLAGS]) == 0
    assert f"{model.evaluate(interactions, k=5)['recall@5']:.4f}" in capsys.readouterr().out
    for flags, text in (
        ([], "--dataset: found nothing, expected the data set on which"),
        ([*FLAGS, "--rank=3"], "--rank: found 3, expected nothing beside a saved model"),
        ([*FLAGS, "--num_users=90"], "found 90 users and 60 items, expected the 80 and 60 of the model"),
    ):
        assert main.main([*saved, *flags]) == 2
        assert text in capsys.readouterr().err
    assert main.main(command) == 2
    assert "found a model, expected a new folder, or --overwrite" in capsys.readouterr().err
    assert main.main([*command, "--overwrite", "--quiet"]) == 0


def test_a_solved_model_leaves_a_record_in_the_form_of_a_runs(interactions, tmp_path):
    flags = [*FLAGS, "--neighbors=7", f"--workdir={tmp_path / 'model'}", "--quiet"]
    assert main.main(["train", "--model=itemknn", *flags]) == 0
    record, model = json.loads((tmp_path / "model" / "result.json").read_text()), lg.load_model(tmp_path / "model")
    best = record["best"]
    assert (record["status"], record["epochs"], best["split"], record["last"]) == ("completed", 0, "test", best)
    assert {name: best[name] for name in best if "@" in name} == model.evaluate(interactions, k=5)
    assert record["seconds"] == pytest.approx(record["fit_seconds"] + best["seconds"], abs=2e-3)
    assert record["usage"]["wall_seconds"] >= record["usage"]["startup_seconds"] + record["seconds"] - 0.01
    assert record["usage"]["peak_bytes"] > 0
    config = record["config"]
    assert (config["model"], config["neighbors"], config["num_users"], config["top_k"]) == ("itemknn", 7, 80, [5])
    assert record["environment"]["dataset"]["content_sha256"] == interactions.content_hash()
    assert (record["vector_width"], "test" in record) == (None, False)


def test_a_record_has_the_test_part_beside_the_validation_part_and_the_width_of_vectors(tmp_path):
    flags = [*FLAGS, "--validation_fraction=0.2", f"--workdir={tmp_path / 'model'}", "--quiet"]
    assert main.main(["train", "--model=ials", "--width=8", "--sweeps=2", "--eval_split=valid", *flags]) == 0
    record = json.loads((tmp_path / "model" / "result.json").read_text())
    assert (record["best"]["split"], record["test"]["split"], record["vector_width"]) == ("valid", "test", 8)
    assert record["best"]["recall@5"] != record["test"]["recall@5"]
    assert main.main(["train", "--model=popularity", "--eval_split=none", *flags, "--overwrite"]) == 0
    assert json.loads((tmp_path / "model" / "result.json").read_text())["best"] is None


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ["--model=ease", "--rank=8"],
            "--rank: found 8, expected nothing with --model=ease, which has none (--model=",
        ),
        (["--model=ease", "--epochs=8"], "--epochs: found 8, expected nothing with --model=ease, which is not trained"),
        (["--model=gf-cf", "--rank=61"], "--rank: found 61, expected at most 60"),
        (["--rank=8"], "--rank: found 8, expected nothing with --model=lightgcn, which has none (--model=gf-cf or"),
    ],
)
def test_flags_that_do_not_go_together_end_in_one_line(tmp_path, capsys, flags, text):
    assert main.main(["train", *flags, *FLAGS, f"--workdir={tmp_path / 'model'}"]) == 2
    found = capsys.readouterr().err
    assert found.startswith(text)
    assert found.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_vectors_are_exported_and_have_neighbors(interactions, tmp_path):
    model = lg.IALS(width=8, sweeps=3).fit(interactions)
    model.save(tmp_path / "model")
    loaded = lg.load_model(tmp_path / "model")
    loaded.export(tmp_path / "vectors")
    with np.load(tmp_path / "vectors" / "vectors.npz") as file:
        scores = file["user_embeddings"] @ file["item_embeddings"].T
    np.testing.assert_allclose(scores, model.scorer.scores(np.arange(80)), atol=1e-5)
    np.testing.assert_array_equal(loaded.similar_items(3, k=4).ids, model.similar_items(3, k=4).ids)


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "diary.txt").write_text("")
    assert main.main(["train", "--model=ease", *FLAGS, f"--workdir={tmp_path}", "--overwrite"]) == 2
    assert "found something that is no model" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]
