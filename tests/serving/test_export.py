"""Exports are loaded and searched as their README says, and find what the exact scorer finds."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import lgcn_jax as lg
from lgcn_jax.serving import export
from lgcn_jax.system import extras, files

INDEXES = ("usearch", "faiss")


@pytest.fixture(scope="module", params=["integers", "text"])
def model(request):
    """Vectors of many lengths, as trained ones are: a search by dot product is harder than among equally long ones."""
    world = lg.load("synthetic", num_users=60, num_items=3000, num_interactions=3000)
    if request.param == "text":
        rows, columns = np.repeat(np.arange(60), np.diff(world.train.indptr)), world.train.indices
        world = lg.read((texts("ü", rows), texts("i", columns)))
    made = lg.LightGCN(embedding_dim=16, epochs=1, top_k=(2,)).fit(world, quiet=True)
    random = np.random.default_rng(0)
    made.item_embeddings = random.standard_normal(made.item_embeddings.shape).astype(np.float32)
    made.item_embeddings *= random.lognormal(0, 0.7, (len(made.items), 1)).astype(np.float32)
    made.user_embeddings = random.standard_normal(made.user_embeddings.shape).astype(np.float32)
    return made


def texts(kind, numbers):
    return np.array([f"{kind}{number:05d}" for number in numbers], object)


def blocks(folder) -> tuple[str, str]:
    """The README's two pieces of code: to load, and to search."""
    load, search = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(load.strip().splitlines()) == 3
    return load, search


@pytest.mark.parametrize("name", export.FORMATS)
def test_the_lines_of_the_readme_find_the_unseen_best(name, model, tmp_path, monkeypatch, capsys):
    model.export(tmp_path / "out", name)
    load, search = blocks(tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    known: dict = {}
    exec(load, known)
    exact, hits = model.recommend(model.users, k=10), []
    for user in range(len(model.users)):
        exec(search.replace("user, k = 0, 10", f"user, k = {user}, 10"), known)
        found = known["item_ids"][known["best"]]
        assert not set(known["best"].tolist()) & set(known["have"].tolist())
        hits.append(len(set(found.tolist()) & set(exact.ids[user].tolist())) / 10)
        if name != "usearch":
            assert found.tolist() == exact.ids[user].tolist()
    assert np.mean(hits) >= 0.99
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert ("recall" in facts) == (name == "usearch")
    assert facts.get("recall", 1) >= 0.99
    assert str(exact.ids[-1][0]) in capsys.readouterr().out


def test_equal_vectors_give_an_equal_index(model, tmp_path):
    for name in ("first", "second"):
        model.export(tmp_path / name, "usearch")
    for name in ("items.usearch", "export.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.parametrize("name", export.FORMATS)
def test_an_export_is_whole_or_not_there(name, model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.raw_ids, "write_raw_ids", full)
    with pytest.raises(lg.WriteError, match="could not be written: No space"):
        model.export(tmp_path / "out", name)
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_replaced_by_another_and_nothing_else_is(model, tmp_path):
    for name in ("faiss", "npz"):
        model.export(tmp_path / "out", name)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["README.md", "export.json", "ids", "seen.npz", "vectors.npz"]
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (facts["format"], facts["users"], facts["dimensions"]) == ("npz", len(model.users), 16)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in ("mine", "file"):
        with pytest.raises(lg.InputError, match="found something that is no export"):
            model.export(tmp_path / taken)
    assert (tmp_path / "mine" / "README.md").read_text() == "mine"


def test_npz_holds_no_objects(model, tmp_path):
    model.export(tmp_path / "out")
    with np.load(tmp_path / "out" / "vectors.npz", allow_pickle=False) as file:
        assert file["user_ids"].tolist() == model.users.tolist()
        np.testing.assert_array_equal(file["item_embeddings"], model.item_embeddings)


def test_an_id_that_numpy_would_change_is_refused(tmp_path):
    data = lg.read((np.array(["a", "a", "b\0"], object), np.array([1, 2, 2])))
    made = lg.LightGCN(embedding_dim=4, epochs=1, top_k=(1,)).fit(data, quiet=True)
    with pytest.raises(lg.InputError, match="found ids that end in a zero character, expected another format than npz"):
        made.export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    made.export(tmp_path / "out", "parquet")


def test_bad_formats_and_models_are_refused(model, tmp_path, monkeypatch):
    with pytest.raises(lg.InputError, match="format: found 'pickle', expected one of npz, safetensors"):
        model.export(tmp_path / "out", "pickle")
    with pytest.raises(lg.InputError, match="found a model that was not fitted"):
        lg.LightGCN().export(tmp_path / "out")

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(lg.InputError, match=r"faiss: found no such library, .*pip install 'lgcn-jax\[export\]'"):
        model.export(tmp_path / "out", "faiss")
    assert list(tmp_path.iterdir()) == []


def test_the_libraries_live_beside_jax():
    """In either order, without another OpenMP in their way."""
    use = """
import jax.numpy as jnp
x = np.random.default_rng(0).standard_normal((500, 8)).astype("f")
flat = faiss.IndexFlatIP(8); flat.add(x)
graph = Index(ndim=8, metric="ip", dtype="f32"); graph.add(np.arange(500), x)
assert (flat.search(x[:3], 2)[1] == np.asarray(jnp.argsort(-(x[:3] @ x.T), axis=1)[:, :2])).all()
assert graph.search(x[:3], 2).keys.shape == (3, 2)
"""
    libraries = "import faiss, numpy as np; from usearch.index import Index; import safetensors.numpy\n"
    for imports in (f"import jax\njax.numpy.ones(3).sum()\n{libraries}", f"{libraries}import jax\n"):
        done = subprocess.run([sys.executable, "-c", imports + use], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_is_replaced_whole(tmp_path, monkeypatch):
    files.write_folder(tmp_path / "out", lambda made: (made / "old").write_text("old"))

    def fails(made):
        (made / "new").write_text("new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_folder(tmp_path / "out", fails)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]
