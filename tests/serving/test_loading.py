"""A run folder and a saved model give what fit returned, to the bit."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import lgcn_jax as lg
from lgcn_jax.runs import raw_ids

SETTINGS = {"embedding_dim": 8, "batch_size": 120, "learning_rate": 0.05, "epochs": 4, "eval_every": 1, "top_k": (5,)}
SIZE = {"num_users": 120, "num_items": 80, "num_interactions": 2500}


@pytest.fixture(scope="module")
def interactions():
    found = lg.load("synthetic", **SIZE)
    return dataclasses.replace(found, item_titles=np.array([f"film {each}" for each in found.item_ids], object))


@pytest.fixture(scope="module")
def fitted(interactions, tmp_path_factory):
    """A model, its run folder, and the folder it was saved in."""
    folder = tmp_path_factory.mktemp("fitted")
    model = lg.LightGCN(**SETTINGS).fit(interactions, folder / "run", quiet=True)
    model.save(folder / "model")
    return model, folder / "run", folder / "model"


def same(one, other):
    for name in ("user_embeddings", "item_embeddings", "users", "items"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    before, after = (each.recommend(one.users, k=5) for each in (one, other))
    for name in ("ids", "scores", "titles"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_both_folders_give_the_model_of_fit(fitted, interactions):
    model, run, saved = fitted
    for found in (lg.load_model(run), lg.load_model(saved), lg.load_model(run, interactions)):
        same(found, model)
        assert (found.status, found.config) == (model.status, model.config)
        assert found.history == model.history
        assert found.item_titles.tolist() == interactions.item_titles.tolist()


def test_titles_are_those_that_the_run_kept(fitted):
    """The data set that load_model reads again has none."""
    _, run, _ = fitted
    assert lg.load("synthetic", **SIZE).item_titles is None
    assert lg.load_model(run).recommend(3, k=1).titles[0, 0].startswith("film ")
    users, items = raw_ids.read_raw_ids(run / "ids")
    assert (users.titles, items.titles[0]) == (None, f"film {items.ids[0]}")


def test_the_latest_checkpoint_is_another(fitted):
    model, run, _ = fitted
    latest = lg.load_model(run, checkpoint="latest")
    tested = [row for row in model.history if row["split"] == "test"]
    best = max(tested, key=lambda row: (row["recall@5"], -row["epoch"]))
    assert (best["epoch"] == 4) == np.array_equal(latest.user_embeddings, model.user_embeddings)


def test_a_run_on_ids_of_ones_own_needs_them_again(tmp_path):
    users, items = np.array(["x", "x", "y", "y", "z", "z"], object), np.array([1, 2, 2, 3, 3, 1])
    data = lg.read((users, items))
    model = lg.LightGCN(**SETTINGS | {"top_k": (1,)}).fit(data, tmp_path / "run", quiet=True)
    found = lg.load_model(tmp_path / "run", data)
    np.testing.assert_array_equal(found.user_embeddings, model.user_embeddings)
    assert found.recommend("y", k=1).ids.tolist() == model.recommend("y", k=1).ids.tolist()
    with pytest.raises(lg.InputError, match=r"--dataset: found 'interactions'.*where the data of a run lie now"):
        lg.load_model(tmp_path / "run")
    with pytest.raises(lg.InputError, match=r"found data of content .* as trained on"):
        lg.load_model(tmp_path / "run", lg.read((users, items[::-1])))


def test_data_that_moved_are_known_by_their_content(tmp_path):
    lines = (f"{user} {user % 7} {user % 5 + 7} {user % 3 + 20}\n" for user in range(20))
    (tmp_path / "old.txt").write_text("".join(lines))
    data = lg.read(tmp_path / "old.txt", format="adjacency")
    model = lg.LightGCN(**SETTINGS).fit(data, tmp_path / "run", quiet=True)
    shutil.move(tmp_path / "old.txt", tmp_path / "new.txt")
    with pytest.raises(lg.InputError, match=r"--dataset: found '.*old\.txt'"):
        lg.load_model(tmp_path / "run")
    found = lg.load_model(tmp_path / "run", tmp_path / "new.txt")
    np.testing.assert_array_equal(found.item_embeddings, model.item_embeddings)


def test_a_run_is_loaded_on_several_devices(fitted):
    model, run, _ = fitted
    found = lg.load_model(run, mesh="data:2,nodes:2")
    np.testing.assert_allclose(found.user_embeddings, model.user_embeddings, atol=1e-6)


def test_a_damaged_log_is_read_up_to_there(fitted, tmp_path):
    model, run, _ = fitted
    copy = shutil.copytree(run, tmp_path / "run")
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(lines[:3]) + lines[3][:10])
    (copy / "result.json").unlink()
    shutil.rmtree(copy / "ids")
    found = lg.load_model(copy)
    assert (found.history, found.status, found.item_titles) == (model.history[:3], "interrupted", None)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"folder": "nothing"}, "nothing: found neither a run nor a saved model"),
        ({"folder": "run", "checkpoint": "newest"}, "checkpoint: found 'newest', expected one of best, latest"),
        ({"folder": "run", "seed": 7}, "seed: found 7, expected one of dataset, "),
        ({"folder": "run", "dataset": "gowala"}, "--dataset: found 'gowala', expected one of gowalla"),
        ({"folder": "model", "dataset": "gowalla"}, "dataset: found gowalla, expected nothing beside a saved model"),
        ({"folder": "nul\0"}, "nul\0: found a path that cannot be used"),
    ],
)
def test_bad_arguments_are_refused(fitted, arguments, text):
    folder = fitted[1].parent / arguments.pop("folder")
    with pytest.raises(lg.InputError) as error:
        lg.load_model(folder, **arguments)
    assert str(error.value).replace(f"{folder.parent}/", "").startswith(text)


def test_a_saved_model_of_a_kind_that_is_not_known_is_refused(fitted, tmp_path):
    copy = shutil.copytree(fitted[2], tmp_path / "model")
    facts = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(facts | {"kind": "Oracle"}))
    with pytest.raises(lg.InputError, match="found a model of kind 'Oracle'"):
        lg.load_model(copy)
