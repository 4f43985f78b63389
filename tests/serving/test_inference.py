"""Other layer weights than those of training, and a prior: stated, or chosen on the validation part."""

import dataclasses
import json

import numpy as np
import oracle
import pytest

import lgcn_jax as lg
from lgcn_jax.cli import main
from lgcn_jax.data import csr
from lgcn_jax.graph.normalization import normalized_adjacency

SIZE = {"num_users": 120, "num_items": 80, "num_interactions": 2500, "validation_fraction": 0.2}
SETTINGS = {
    **{"embedding_dim": 8, "batch_size": 400, "learning_rate": 0.05, "epochs": 3, "eval_every": 3, "top_k": (5,)},
    **{"num_layers": 2, "loss": "bpr", "eval_split": "valid", "layer_weights": (0.85, 0.1, 0.05)},
}
AUTO = {"inference_weights": "auto", "popularity_prior": "auto"}


@pytest.fixture(scope="module")
def interactions():
    return lg.load("synthetic", **SIZE)


@pytest.fixture(scope="module")
def trained(interactions, tmp_path_factory):
    """A run that chose nothing, and its model."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, lg.LightGCN(**SETTINGS).fit(interactions, folder, quiet=True)


@pytest.fixture(scope="module")
def chosen(interactions, tmp_path_factory):
    """A run of the same training that chose both."""
    folder = tmp_path_factory.mktemp("chosen") / "run"
    return folder, lg.LightGCN(**SETTINGS, **AUTO).fit(interactions, folder, quiet=True)


def expected_vectors(model, interactions, weights, prior=0.0):
    """The final vectors by their definition, in float64: users, then items."""
    adjacency = normalized_adjacency(interactions.train, interactions.num_items).astype(np.float64)
    layer, final = model._trained.table.astype(np.float64), 0
    for weight in weights:
        final, layer = final + weight * layer, adjacency @ layer
    users, items = np.split(final, [interactions.num_users])
    pairs = csr.column_counts(interactions.train, interactions.num_items)
    return users, items * ((1.0 + pairs) ** prior)[:, None]


def test_stated_weights_and_prior_rank_the_same_table(trained, interactions):
    folder, model = trained
    how = {"inference_weights": (0.7, 0.0, 0.3), "popularity_prior": -0.4}
    fitted = lg.LightGCN(**SETTINGS, **how).fit(interactions, quiet=True)
    loaded = lg.load_model(folder, interactions, **how)
    users, items = expected_vectors(model, interactions, *how.values())
    for found in (fitted, loaded):
        np.testing.assert_array_equal(found._trained.table, model._trained.table)
        np.testing.assert_allclose(found.user_embeddings, users, atol=2e-6)
        np.testing.assert_allclose(found.item_embeddings, items, atol=2e-6)
    watched = [row for row in fitted.history if row["split"] == "valid"][-1]
    scores = users @ items.T
    assert watched["recall@5"] == pytest.approx(
        oracle.metrics(scores, interactions, "valid", (5,))["recall@5"], abs=2e-3
    )
    np.testing.assert_allclose(loaded.predict(interactions.user_ids, 3), scores[:, 3], atol=1e-5)
    same = lg.load_model(folder, interactions, inference_weights=SETTINGS["layer_weights"])
    np.testing.assert_array_equal(same.item_embeddings, model.item_embeddings)


def test_the_choice_is_the_best_of_what_was_tried_on_the_validation_part(trained, chosen, interactions):
    folder, model = chosen
    found = json.loads((folder / "result.json").read_text())["inference"]
    assert found["split"] == "valid"
    assert found["tried"][0] | {"inference_weights": [0.85, 0.1, 0.05], "popularity_prior": 0.0} == found["tried"][0]
    assert 8 < len(found["tried"]) < 60
    recalls = []
    for row in found["tried"]:
        users, items = expected_vectors(trained[1], interactions, row["inference_weights"], row["popularity_prior"])
        of_row = oracle.metrics(users @ items.T, interactions, "valid", (5,))
        assert row["recall@5"] == pytest.approx(of_row["recall@5"], abs=2e-3)
        assert row["ndcg@5"] == pytest.approx(of_row["ndcg@5"], abs=2e-3)
        recalls.append(row["recall@5"])
    assert found["chosen"] == found["tried"][int(np.argmax(recalls))]
    assert max(recalls) > recalls[0]
    assert {name: model.get_params()[name] for name in AUTO} == AUTO  # another fit chooses anew
    assert model.evaluate(interactions, "valid", k=5)["recall@5"] == pytest.approx(max(recalls), abs=1e-6)
    weights = [row["inference_weights"] for row in found["tried"]]
    np.testing.assert_allclose(np.sum(weights, axis=1), 1, atol=3e-6)


def test_all_that_serve_a_run_have_the_vectors_that_were_chosen(chosen, interactions, tmp_path, capsys):
    folder, model = chosen
    found = json.loads((folder / "result.json").read_text())
    chosen = found["inference"]["chosen"]
    assert model.config.inference.inference_weights == tuple(chosen["inference_weights"])
    assert json.loads((folder / "config.json").read_text())["inference_weights"] == "auto"
    _, items = expected_vectors(model, interactions, chosen["inference_weights"], chosen["popularity_prior"])
    loaded = lg.load_model(folder, interactions)
    loaded.save(tmp_path / "saved")
    in_memory = lg.LightGCN(**SETTINGS, **AUTO).fit(interactions, quiet=True)
    assert loaded.config == model.config
    for other in (loaded, lg.load_model(tmp_path / "saved"), in_memory):
        np.testing.assert_array_equal(other.user_embeddings, model.user_embeddings)
        np.testing.assert_array_equal(other.item_embeddings, model.item_embeddings)
    np.testing.assert_allclose(model.item_embeddings, items, atol=2e-6)
    tested = model.evaluate(interactions, "test", k=5)
    assert tested["recall@5"] == pytest.approx(found["test"]["recall@5"], abs=1e-6)
    assert main.main(["evaluate", f"--workdir={folder}"]) == 0
    assert f"{tested['recall@5']:.4f}" in capsys.readouterr().out
    assert main.main(["export", f"--workdir={folder}", f"--out={tmp_path / 'vectors'}"]) == 0
    with np.load(tmp_path / "vectors" / "vectors.npz") as file:
        np.testing.assert_array_equal(file["item_embeddings"], model.item_embeddings)
    assert lg.report(folder, interactions).exists()


def test_known_nodes_that_are_folded_in_have_the_vectors_that_are_ranked_by(trained, interactions):
    how = {"inference_weights": (0.2, 0.3, 0.5), "popularity_prior": 0.3}
    model = lg.load_model(trained[0], interactions, **how)
    user, item = interactions.user_ids[3], interactions.item_ids[4]
    users_row = interactions.item_ids[csr.take_rows(interactions.train, np.array([3])).indices]
    folded = model.fold_in({user: users_row}, k=3)
    np.testing.assert_allclose(folded.vectors[0], model.user_embeddings[3], atol=1e-5)
    of_item = interactions.user_ids[csr.row_of_entry(interactions.train)[interactions.train.indices == 4]]
    np.testing.assert_allclose(
        model.fold_in_items({item: of_item}).vectors[0], model.item_embeddings[4], rtol=1e-4, atol=1e-5
    )


def test_the_choice_does_not_look_at_the_test_part(chosen, interactions, tmp_path):
    folder, _ = chosen
    other = dataclasses.replace(interactions, test=csr.take_rows(interactions.test, np.arange(120)[::-1]))
    lg.LightGCN(**SETTINGS, **AUTO).fit(other, tmp_path / "run", quiet=True)
    found, expected = (json.loads((each / "result.json").read_text()) for each in (tmp_path / "run", folder))
    assert found["inference"] == expected["inference"]
    assert found["test"]["recall@5"] != expected["test"]["recall@5"]


def test_a_run_that_is_done_is_ranked_otherwise(trained, chosen, interactions, capsys):
    folder, _ = trained
    assert main.main(["evaluate", f"--workdir={folder}", "--inference_weights=auto", "--popularity_prior=auto"]) == 0
    said = capsys.readouterr()
    assert "chosen on the valid part among" in said.err
    assert f"{chosen[1].evaluate(interactions, 'test', k=5)['recall@5']:.4f}" in said.out
    assert main.main(["evaluate", f"--workdir={folder}", "--inference_weights=0,0,1"]) == 0
    expected = lg.load_model(folder, interactions, inference_weights=(0, 0, 1)).evaluate(interactions, k=5)
    assert f"{expected['recall@5']:.4f}" in capsys.readouterr().out


def test_on_several_devices_the_choice_is_the_same(trained, interactions):
    folder, _ = trained
    one, many = (
        lg.load_model(folder, interactions, mesh=mesh, **AUTO) for mesh in ("data:1,nodes:1", "data:2,nodes:2")
    )
    assert one.config.inference == many.config.inference
    np.testing.assert_allclose(one.item_embeddings, many.item_embeddings, atol=1e-6)


def test_a_run_that_has_not_ended_is_ranked_as_trained_and_says_so(chosen, trained, interactions, tmp_path, capsys):
    stop = lambda row: row["epoch"] == 2  # noqa: E731
    model = lg.LightGCN(**SETTINGS, **AUTO).fit(interactions, tmp_path / "run", [stop], quiet=True)
    assert model.status == "interrupted"
    assert "inference" not in json.loads((tmp_path / "run" / "result.json").read_text())
    assert lg.load_model(tmp_path / "run", interactions).config.inference.inference_weights == ()
    assert "not chosen yet, since the run has not ended; ranked as trained" in capsys.readouterr().err
    whole = lg.LightGCN(**SETTINGS, **AUTO).fit(interactions, tmp_path / "run", quiet=True)
    np.testing.assert_array_equal(whole.item_embeddings, chosen[1].item_embeddings)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"inference_weights": (0.5, 0.5)}, "inference_weights: found 2 numbers, expected 3, one for each layer"),
        ({"inference_weights": "best"}, "inference_weights: found best, expected numbers a_0,...,a_K that are"),
        ({"inference_weights": (0, 0, 0)}, "inference_weights: found 0,0,0, expected numbers a_0,...,a_K that are not"),
        ({"popularity_prior": 5}, "popularity_prior: found 5, expected a number from -4 to 4, or auto"),
        ({"popularity_prior": "much"}, "popularity_prior: found much, expected a number from -4 to 4, or auto"),
        (
            {"num_layers": 0, "layer_weights": (), "inference_weights": "auto"},
            "inference_weights: found auto, expected nothing with model=lightgcn as it is set, which has no layers",
        ),
        (
            {"layer_combination": "learned", "inference_weights": "auto"},
            "inference_weights: found auto, expected nothing with model=lightgcn as it is set, which has no layers",
        ),
        (
            {"inference_weights": "auto", "eval_split": "test"},
            "eval_split: found test with inference_weights=auto, expected valid, the part it is chosen on",
        ),
    ],
)
def test_bad_settings_are_refused_at_once(settings, text):
    with pytest.raises(lg.InputError) as error:
        lg.LightGCN(**SETTINGS | settings)
    assert str(error.value).startswith(text)


def test_flags_take_numbers_and_auto(tmp_path, capsys):
    command = ["train", "--dataset=synthetic", "--num_users=60", f"--workdir={tmp_path / 'run'}"]
    for flags, said in (
        (["--inference_weights=auto"], "--eval_split: found test with --inference_weights=auto, expected valid"),
        (["--inference_weights=.5,x"], "--inference_weights: found .5,x, expected numbers"),
        (["--inference_weights=.5,.5"], "--inference_weights: found 2 numbers, expected 4"),
        (["--popularity_prior=auto"], "--eval_split: found test with --popularity_prior=auto, expected valid"),
        (["--inference_weights="], "--inference_weights: found '', expected"),
    ):
        assert main.main([*command, *flags]) == 2
        assert said in (found := capsys.readouterr().err)
        assert found.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_nothing_is_chosen_on_an_empty_validation_part(tmp_path, capsys):
    data = lg.load("synthetic", **SIZE | {"validation_fraction": 0})
    settings = SETTINGS | {"eval_split": "none", "epochs": 1}
    lg.LightGCN(**settings).fit(data, tmp_path / "run", quiet=True)
    with pytest.raises(lg.InputError, match=r"inference_weights: found auto, expected numbers, or data with a valid"):
        lg.load_model(tmp_path / "run", data, inference_weights="auto")
    assert main.main(["evaluate", f"--workdir={tmp_path / 'run'}", "--popularity_prior=auto"]) == 2
    assert "--popularity_prior: found auto, expected numbers" in capsys.readouterr().err
