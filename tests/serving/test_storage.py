"""Saved models: whole or not at all, without pickle."""

import dataclasses
import json

import numpy as np
import pytest

import lgcn_jax as lg
from lgcn_jax.serving import storage
from lgcn_jax.system import files

SETTINGS = {"embedding_dim": 4, "epochs": 2, "top_k": (2,), "loss": "bpr"}


@pytest.fixture(scope="module")
def interactions():
    return lg.load("synthetic", num_users=40, num_items=30, num_interactions=400)


@pytest.fixture(params=["lightgcn", "popularity"])
def model(request, interactions):
    if request.param == "popularity":
        return lg.Popularity().fit(interactions)
    return lg.LightGCN(**SETTINGS).fit(interactions, quiet=True)


def test_a_model_survives_its_folder(model, interactions, tmp_path):
    model.save(tmp_path / "model")
    found = lg.load_model(tmp_path / "model")
    assert found.get_params() == model.get_params()
    before, after = (each.recommend(interactions.user_ids, k=5) for each in (model, found))
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(before.scores, after.scores)
    assert found.evaluate(interactions, k=3) == model.evaluate(interactions, k=3)
    names = sorted(str(path.relative_to(tmp_path / "model")) for path in (tmp_path / "model").rglob("*"))
    assert names == ["arrays.npz", "ids", "ids/items.arrow", "ids/users.arrow", "model.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_vectors_and_history_are_kept(interactions, tmp_path):
    model = lg.LightGCN(**SETTINGS).fit(interactions, quiet=True)
    model.save(tmp_path / "model")
    found = lg.load_model(tmp_path / "model")
    np.testing.assert_array_equal(found.user_embeddings, model.user_embeddings)
    assert (found.history, found.status, found.config) == (model.history, "completed", model.config)


def test_a_model_is_replaced_by_another_and_nothing_else_is(model, tmp_path):
    model.save(tmp_path / "model")
    model.save(tmp_path / "model")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("")
    with pytest.raises(lg.InputError, match="found something that is no model"):
        model.save(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["diary.txt"]


def test_a_save_that_fails_leaves_the_model_before_it(model, tmp_path, monkeypatch):
    model.save(tmp_path / "model")
    before = (tmp_path / "model" / "arrays.npz").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.np, "savez", full)
    with pytest.raises(lg.WriteError, match="could not be written: No space left"):
        model.save(tmp_path / "model")
    assert (tmp_path / "model" / "arrays.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_that_cannot_take_its_place_leaves_the_one_before_it(model, tmp_path, monkeypatch):
    model.save(tmp_path / "model")
    replace, calls = files.os.replace, []

    def fails_at_second(*paths):
        calls.append(paths)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        replace(*paths)

    monkeypatch.setattr(files.os, "replace", fails_at_second)
    with pytest.raises(lg.WriteError):
        model.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    lg.load_model(tmp_path / "model")


def broken(folder, facts=None, arrays=None):
    if facts is not None:
        (folder / "model.json").write_text(facts)
    if arrays is not None:
        (folder / "arrays.npz").write_bytes(arrays)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"facts": '{"format": 9}'}, "found model format 9, expected format 2"),
        ({"facts": '{"format": 1}'}, "load it from its run folder, fit it anew, or use the version that saved it"),
        ({"facts": "[]"}, "found model format 'list'"),
        ({"facts": "{"}, "found a model that cannot be read"),
        ({"facts": '{"format": 2, "kind": "Cat"}'}, "found a model of kind 'Cat'"),
        ({"facts": '{"format": 2, "kind": "Model"}'}, "found a model without 'config'"),
        ({"arrays": b"PK"}, "found a model that cannot be read"),
    ],
)
def test_what_is_no_model_is_refused(interactions, tmp_path, changes, text):
    lg.LightGCN(**SETTINGS).fit(interactions, quiet=True).save(tmp_path / "model")
    broken(tmp_path / "model", **changes)
    with pytest.raises(lg.InputError) as error:
        lg.load_model(tmp_path / "model")
    assert text in str(error.value)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(lg.InputError, match="found neither a run nor a saved model"):
        lg.load_model(tmp_path / "nothing")


def test_arrays_are_not_pickled(model, tmp_path):
    model.save(tmp_path / "model")
    with np.load(tmp_path / "model" / "arrays.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
    assert json.loads((tmp_path / "model" / "model.json").read_text())["format"] == storage.FORMAT


TEXTS = ["007", "7", "a,b", "u 1", "zoë", "\U0001f3ac"]


def test_ids_and_titles_are_kept_exactly(tmp_path):
    users, items = np.array([*TEXTS, "7"], object), np.array([2**40, 5, -3, 5, 5, 5, 9])
    data = dataclasses.replace(lg.read((users, items)), item_titles=np.array(["drei", None, "neun", "viel"], object))
    lg.Popularity().fit(data).save(tmp_path / "model")
    found = lg.load_model(tmp_path / "model")
    assert found.users.tolist() == sorted(TEXTS)
    assert (found.users.dtype, found.items.dtype) == (np.object_, np.int64)
    assert found.items.tolist() == [-3, 5, 9, 2**40]
    assert found.item_titles.tolist() == ["drei", None, "neun", "viel"]
    assert found.user_titles is None
    assert found.recommend("007", k=1).ids.tolist() == [[5]]
