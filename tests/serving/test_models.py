"""The front door: from data to recommendations in Python."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import oracle
import pytest
from events_of import pairs

import lgcn_jax as lg
from lgcn_jax.cli import main
from lgcn_jax.data.interactions import assemble
from lgcn_jax.runs import integrity

SIZE = {"num_users": 120, "num_items": 80, "num_interactions": 2500}
SETTINGS = {"embedding_dim": 8, "batch_size": 120, "learning_rate": 0.05, "epochs": 6, "eval_every": 2, "top_k": (5,)}


@pytest.fixture(scope="module")
def interactions():
    return lg.load("synthetic", **SIZE)


@pytest.fixture(scope="module")
def model(interactions):
    return lg.LightGCN(**SETTINGS).fit(interactions, quiet=True)


def test_fit_returns_self_with_final_vectors_of_the_best_epoch(interactions, model):
    assert isinstance(model, lg.LightGCN)
    assert model.status == "completed"
    assert (model.user_embeddings.shape, model.item_embeddings.shape) == ((120, 8), (80, 8))
    np.testing.assert_array_equal(model.users, interactions.user_ids)
    best = max((row for row in model.history if row["split"] == "test"), key=lambda row: row["recall@5"])
    found = model.evaluate(interactions, k=5)
    assert found == pytest.approx({name: best[name] for name in found}, abs=1e-6)
    scores = model.user_embeddings @ model.item_embeddings.T
    expected = oracle.metrics(scores, interactions, "test", (5, 10))
    assert model.evaluate(interactions, k=(5, 10)) == pytest.approx(expected, abs=1e-3)


def test_a_fit_in_a_folder_is_the_run_of_the_command_line(interactions, model, tmp_path):
    """The same files with the same bits; and the vectors are those of a fit in memory."""
    fitted = lg.LightGCN(**SETTINGS).fit(interactions, workdir=tmp_path / "python", quiet=True)
    flags = [f"--{name}={value}" for name, value in (SIZE | SETTINGS | {"top_k": 5}).items()]
    command = ["train", "--dataset=synthetic", *flags, f"--workdir={tmp_path / 'shell'}", "--quiet"]
    assert main.main(command) == 0
    python, shell = (tmp_path / name for name in ("python", "shell"))
    assert sorted(path.name for path in python.iterdir()) == sorted(path.name for path in shell.iterdir())
    configs = [json.loads((folder / "config.json").read_text()) for folder in (python, shell)]
    assert configs[0] == configs[1]
    results = [json.loads((folder / "result.json").read_text()) for folder in (python, shell)]
    assert results[0]["parameters_sha256"] == results[1]["parameters_sha256"]
    assert integrity.checkpoint_steps(python / "checkpoints") == integrity.checkpoint_steps(shell / "checkpoints")
    np.testing.assert_array_equal(fitted.user_embeddings, model.user_embeddings)
    np.testing.assert_array_equal(fitted.item_embeddings, model.item_embeddings)
    assert [row["epoch"] for row in fitted.history] == [row["epoch"] for row in model.history]


def test_a_run_in_a_folder_is_continued(interactions, model, tmp_path):
    lg.LightGCN(**SETTINGS | {"epochs": 4}).fit(interactions, workdir=tmp_path / "run", quiet=True)
    fitted = lg.LightGCN(**SETTINGS).fit(interactions, workdir=tmp_path / "run", quiet=True)
    np.testing.assert_array_equal(fitted.user_embeddings, model.user_embeddings)
    with pytest.raises(lg.InputError, match=r"found margin=0\.5 for a run with margin=0\.05"):
        lg.LightGCN(**SETTINGS, margin=0.5).fit(interactions, workdir=tmp_path / "run", quiet=True)
    lg.LightGCN(**SETTINGS, margin=0.5).fit(interactions, workdir=tmp_path / "run", quiet=True, overwrite=True)


def test_without_a_folder_nothing_is_written(interactions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lg.LightGCN(**SETTINGS | {"epochs": 1}).fit(interactions, quiet=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workdir", [None, "run"])
def test_a_callback_hears_all_lines_and_may_end_the_training(interactions, tmp_path, workdir):
    heard = []

    def after_four(row):
        heard.append(row)
        return row["split"] == "test" and row["epoch"] == 4

    folder = workdir and tmp_path / workdir
    fitted = lg.LightGCN(**SETTINGS | {"epochs": 50}).fit(interactions, folder, [after_four], quiet=True)
    assert fitted.status == "interrupted"
    assert [row["epoch"] for row in heard] == [1, 2, 2, 3, 4, 4]
    assert [row["epoch"] for row in fitted.history] == [1, 2, 2, 3, 4, 4]
    assert fitted.recommend(3).ids.shape == (1, 10)


@pytest.mark.parametrize("workdir", [None, "run"])
def test_an_interrupt_returns_the_model_so_far(interactions, tmp_path, workdir):
    def interrupt(row):
        if row["epoch"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    folder, before = workdir and tmp_path / workdir, signal.getsignal(signal.SIGINT)
    fitted = lg.LightGCN(**SETTINGS | {"epochs": 1000}).fit(interactions, folder, [interrupt], quiet=True)
    assert fitted.status == "interrupted"
    assert 3 <= fitted.history[-1]["epoch"] < 20
    assert np.isfinite(fitted.user_embeddings).all()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_may_fit(interactions):
    fitted = []
    settings = SETTINGS | {"epochs": 1}
    thread = threading.Thread(target=lambda: fitted.append(lg.LightGCN(**settings).fit(interactions, quiet=True)))
    thread.start()
    thread.join()
    assert fitted[0].status == "completed"


def test_a_run_that_diverges_raises(interactions, tmp_path):
    wild = SETTINGS | {"learning_rate": 1e10, "clip_norm": 0.0}
    for folder in (None, tmp_path / "run"):
        with pytest.raises(FloatingPointError, match="epoch 1"):
            lg.LightGCN(**wild).fit(interactions, folder, quiet=True)


def test_settings_are_those_of_the_constructor_and_the_defaults():
    found = lg.LightGCN(loss="bpr", epochs=7).get_params()
    assert {"model": "lightgcn", "loss": "bpr", "epochs": 7, "num_layers": 3, "l2": 1e-4}.items() <= found.items()
    assert "margin" not in found
    assert "dataset" not in found
    assert lg.LightGCN(**found).get_params() == found


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"colour": 1}, "colour: found 1, expected a setting that there is"),
        ({"emb_dim": 8}, "emb_dim: found 8, expected a setting that there is (did you mean embedding_dim?)"),
        ({"epochs": 0}, "epochs: found 0, expected an integer from 1"),
        ({"loss": "bpr", "margin": 0.1}, "margin: found 0.1, expected nothing with loss=bpr, which has none (loss=enh"),
        ({"dataset": "gowalla"}, "dataset: found gowalla, expected nothing here"),
        ({"model": "ngcf"}, "model: found another model"),
    ],
)
def test_bad_settings_are_refused_at_once(settings, text):
    with pytest.raises(lg.InputError) as error:
        lg.LightGCN(**settings)
    assert str(error.value).startswith(text)


def test_a_data_set_without_a_test_part_is_refused():
    empty = assemble("x", pairs([(0, 0), (1, 1)]), pairs([]))
    with pytest.raises(lg.InputError, match=r"^eval_split: found test, which is empty"):
        lg.LightGCN(top_k=(1,)).fit(empty, quiet=True)


def test_what_needs_a_fit_says_so(interactions, tmp_path):
    for model in (lg.LightGCN(), lg.Popularity()):
        for call in (
            lambda model=model: model.recommend(1),
            lambda model=model: model.evaluate(interactions),
            lambda model=model: model.save(tmp_path / "model"),
        ):
            with pytest.raises(lg.InputError, match="a model that was not fitted"):
                call()
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_imports_nothing_heavy():
    program = "import sys, lgcn_jax; print([m for m in ('jax', 'numpy', 'flax', 'orbax') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_public_names_are_there():
    assert all(getattr(lg, name).__doc__ for name in lg.__all__ if name != "__version__")
    assert set(lg.__all__) <= set(dir(lg))
    with pytest.raises(AttributeError, match="no attribute 'LightGNC'"):
        lg.LightGNC  # noqa: B018


def test_a_fit_that_fails_leaves_the_model_as_it_was(interactions):
    fitted = lg.LightGCN(**SETTINGS | {"epochs": 1}).fit(interactions, quiet=True)
    config, users = fitted.config, fitted.users
    with pytest.raises(lg.InputError):
        fitted.fit(assemble("x", pairs([(0, 0), (1, 1)]), pairs([])), quiet=True)
    assert fitted.config is config
    assert fitted.users is users


def test_what_is_no_data_set_is_refused(interactions):
    for call in (lg.LightGCN().fit, lg.Popularity().fit(interactions).evaluate):
        with pytest.raises(lg.InputError, match=r"interactions: found a str, expected what lgcn_jax\.load"):
            call("gowalla")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"workdir": 5}, "workdir: found 5, expected a path"),
        ({"callbacks": print}, "callbacks: found a builtin_function_or_method, expected a sequence of functions"),
        ({"callbacks": [print, "log"]}, "callbacks: found 'log' among them, expected functions"),
        ({"callbacks": "log"}, "callbacks: found a str, expected a sequence of functions"),
    ],
)
def test_bad_arguments_of_a_fit_are_refused(interactions, arguments, text):
    with pytest.raises(lg.InputError) as error:
        lg.LightGCN().fit(interactions, **arguments)
    assert str(error.value) == text


def test_folders_of_models_are_paths(model):
    for call in (model.save, lg.load_model):
        with pytest.raises(lg.InputError, match=r"^folder: found 5, expected a path$"):
            call(5)


def test_a_signal_that_is_not_ours_reaches_the_program(interactions, monkeypatch):
    """SIGTERM ends the training, and then does what it did before."""
    reached = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: reached.append(number))
    try:
        terminate = lambda row: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
        lg.LightGCN(**SETTINGS | {"epochs": 1000}).fit(interactions, callbacks=[terminate], quiet=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert reached == [signal.SIGTERM]


def test_other_settings_of_a_run_are_told_by_name(interactions, tmp_path):
    lg.LightGCN(**SETTINGS | {"epochs": 2}).fit(interactions, workdir=tmp_path / "run", quiet=True)
    with pytest.raises(lg.InputError, match=r"found top_k=10 for a run with top_k=5"):
        lg.LightGCN(**SETTINGS | {"top_k": (10,)}).fit(interactions, workdir=tmp_path / "run", quiet=True)
