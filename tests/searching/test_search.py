"""The search itself: the same trials again, shared, stopped and gone on with; what is kept, and what is scored."""

import dataclasses
import json
import math
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from quick_model import FIXED, METRIC

import lgcn_jax as lg
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.searching import search, storages, trials
from lgcn_jax.searching.results import SearchResult
from lgcn_jax.serving.population import fit_population

checked = search._check_space
SPACE = {"learning_rate": {"low": 1e-3, "high": 1, "log": True}, "loss": ["bpr", "enhanced"], "margin": [0.1, 0.5]}


def drawn(found: SearchResult) -> list:
    return [trial.settings for trial in found.trials]


@pytest.fixture
def go(quick, world, tmp_path):
    """A search with the quick model; on a file where one is named."""

    def run(study=None, space=SPACE, interactions=world, **stated) -> SearchResult:
        file = None if study is None else tmp_path / study
        return lg.search(interactions, space, study=file, **{"quiet": True, "trials": 12} | FIXED | stated)

    return run


def test_the_best_of_the_validation_part_is_found(go):
    found = go(trials=30)
    rates = [trial.settings["learning_rate"] for trial in found.trials]
    assert found.status == "completed"
    assert found.best.value == pytest.approx(max(rates))
    assert found.best.settings["learning_rate"] == max(rates)
    assert max(rates[15:]) > max(rates[:10])  # the sampler has looked at what it found
    assert found.importance["learning_rate"] > 0.5
    assert sum(found.importance.values()) == pytest.approx(1)
    assert found.columns()[METRIC] == sorted((trial.value for trial in found.ranking), reverse=True)[:5]


def test_a_setting_is_drawn_where_the_trial_has_it(go, quick):
    found = go()
    assert {("margin" in each) == (each["loss"] == "enhanced") for each in drawn(found)} == {True}
    assert {each["loss"] for each in drawn(found)} == {"bpr", "enhanced"}
    assert {("margin" in each) == (each["loss"] == "enhanced") for each in quick.fitted} == {True}


def test_the_same_seed_draws_the_same_and_another_one_others(go):
    assert drawn(go()) == drawn(go("a.log")) == drawn(go("b.db"))
    assert drawn(go()) != drawn(go(seed=1))


def test_trials_in_hand_are_avoided_by_those_of_the_same_batch(go):
    """What is drawn depends on what is known when it is asked for, and no two of a batch are alike."""
    found = go(trials=24, batch=6)
    assert drawn(found)[:6] == drawn(go(trials=6))
    assert len({trial.settings["learning_rate"] for trial in found.trials}) == 24


def test_trials_below_the_median_end_early(go, quick):
    found = go(trials=20)
    pruned = [trial for trial in found.trials if trial.ended == "pruned"]
    assert pruned
    assert {trial.ended for trial in found.trials[:5]} == {"completed"}
    assert all(trial.epoch < FIXED["epochs"] for trial in pruned)
    assert found.best.ended == "completed"
    assert {trial.ended for trial in go(trials=20, prune=False).trials} == {"completed"}


def test_no_trial_is_pruned_in_the_first_quarter(go, quick):
    found = go(trials=30, epochs=16)
    assert min(trial.epoch for trial in found.trials if trial.ended == "pruned") == 4


@pytest.mark.parametrize("study", ["a.log", "a.sqlite"])
def test_a_search_goes_on_until_its_trials_are_over(go, quick, study):
    whole = drawn(go(trials=14))
    assert drawn(go(study, trials=4)) == whole[:4]
    assert drawn(go(study, trials=14)) == whole
    quick.fitted.clear()
    found = go(study, trials=14)
    assert not quick.fitted
    assert found.test["trial"] == found.best.number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_trial_that_a_signal_ended_is_drawn_again(go, quick, monkeypatch, number):
    """What was done stays, and in the end the trials are those of a search that was never stopped."""
    whole = drawn(go(trials=12))
    heard = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))

    def stop(model, epoch):
        if len(quick.fitted) == 3 and epoch == 4:
            if number == signal.SIGTERM:  # `fit` answers it, and raises it again when it is over
                os.kill(os.getpid(), number)
            return True
        return False

    try:
        quick.fitted.clear()
        monkeypatch.setattr(quick, "during", staticmethod(stop))
        found = go("a.log")
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert heard == ([number] if number == signal.SIGTERM else [])
    assert (found.status, drawn(found), found.test) == ("interrupted", whole[:2], None)
    monkeypatch.setattr(quick, "during", staticmethod(lambda model, epoch: False))
    again = go("a.log")
    assert drawn(again) == whole
    assert [trial.number for trial in again.trials] == [0, 1, *range(3, 13)]


def test_a_signal_before_the_first_trial_leaves_nothing(go, quick, monkeypatch, tmp_path):
    def interrupted(space, interactions):
        signal.raise_signal(signal.SIGINT)
        return checked(space, interactions)

    monkeypatch.setattr(search, "_check_space", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go("a.log")
    assert not quick.fitted
    assert not list(tmp_path.iterdir())


def test_what_goes_wrong_leaves_a_trial_to_do(go, quick, monkeypatch):
    def full(model, epoch):
        raise WriteError("a file", "No space left on device")

    monkeypatch.setattr(quick, "during", staticmethod(full))
    with pytest.raises(WriteError):
        go("a.log", trials=3, batch=2)
    monkeypatch.setattr(quick, "during", staticmethod(lambda model, epoch: False))
    found = go("a.log", trials=3)
    assert [trial.number for trial in found.trials] == [2, 3, 4]
    assert drawn(found)[0] == drawn(go(trials=3))[0]


@pytest.mark.parametrize(
    ("error", "ended"),
    [(FloatingPointError("loss is nan"), "diverged"), (InputError("memory", "too much", "less"), "refused")],
)
def test_a_trial_without_a_result_counts_and_is_told(go, quick, monkeypatch, capsys, error, ended):
    def bad(model, epoch):
        if model.settings["loss"] == "enhanced":
            raise error
        return False

    monkeypatch.setattr(quick, "during", staticmethod(bad))
    found = go(quiet=False)
    assert len(found.trials) == 12
    assert {trial.ended for trial in found.trials if trial.settings["loss"] == "enhanced"} == {ended}
    assert {trial.reason for trial in found.trials if trial.ended == ended} == {str(error)}
    assert found.best.settings["loss"] == "bpr"
    assert f"{ended} (" in (told := capsys.readouterr().err)
    assert str(error) in told


def test_where_no_trial_was_completed_there_is_no_best(go, quick, monkeypatch, tmp_path):
    def bad(model, epoch):
        raise FloatingPointError("loss is nan")

    monkeypatch.setattr(quick, "during", staticmethod(bad))
    found = go("a.log", trials=2)
    assert (found.status, found.best, found.test, found.importance, found.flags()) == ("completed", None, None, {}, [])
    assert found.command() == ""
    found.save(tmp_path / "a.json")
    found.save(tmp_path / "a.svg")
    with pytest.raises(InputError, match="a search without a completed trial"):
        found.save(tmp_path / "a.flags")


def test_no_worker_starts_more_trials_than_are_left(go, quick, monkeypatch):
    """A second worker comes while the first one has its third trial in hand."""
    others = []

    def second(model, epoch):
        if len(quick.fitted) == 3 and epoch == 2 and not others:
            others.append(None)
            others.append(go("a.log", trials=6))
        return False

    monkeypatch.setattr(quick, "during", staticmethod(second))
    found = go("a.log", trials=6, batch=2)
    other = others[1]
    assert (other.status, found.status) == ("shared", "completed")
    assert len(quick.fitted) == len(found.trials) == 6
    assert len(other.trials) == 4  # two of the first worker's, and two of its own; two are in hand
    assert (other.test, found.test["trial"]) == (None, found.best.number)
    assert len({str(each) for each in drawn(found)}) == 6


def test_time_that_is_up_begins_no_further_trial(go, quick, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def slow(model, epoch):
        now[0] += 1.0
        return False

    monkeypatch.setattr(quick, "during", staticmethod(slow))
    found = go(None, timeout=9, prune=False)
    assert found.status == "out of time"
    assert len(found.trials) == 3  # each takes four seconds, and the third one was begun
    assert found.test["trial"] == found.best.number


def test_only_the_best_model_is_kept(go, tmp_path):
    found = go("a.log", trials=8)
    kept = [path for path in tmp_path.iterdir() if path.is_dir() and not path.name.startswith(".")]
    assert kept == [tmp_path / f"a-trial-{found.best.number:04d}"]
    assert found.best.folder == str(kept[0])
    assert {trial.folder for trial in found.trials if trial != found.best} == {None}


def test_the_test_part_is_scored_once(go, quick, monkeypatch):
    """Not again by the same command, and once more where further trials bring another best one."""
    scored, evaluate = [], quick.evaluate
    monkeypatch.setattr(quick, "evaluate", lambda model, *rest: scored.append(model.value) or evaluate(model, *rest))
    first = go("a.log", trials=3)
    assert scored == [first.best.value]
    go("a.log", trials=3)
    assert len(scored) == 1
    second = go("a.log", trials=12)
    assert second.best.value > first.best.value
    assert scored == [first.best.value, second.best.value]


def test_in_memory_the_model_comes_along(go):
    found = go(trials=6)
    assert found.model.value == found.best.value
    assert found.test == {"trial": found.best.number, METRIC: found.best.value / 2}


def test_of_equals_the_earliest_is_the_best(go, quick, monkeypatch):
    found = go("a.log", space={"learning_rate": [0.5], "num_layers": [1, 2]}, trials=4)
    assert found.best.number == 0
    assert found.best.folder.endswith("a-trial-0000")


def test_a_space_with_one_choice_is_searched(go):
    found = go(space={"num_layers": [2]}, learning_rate=0.1, trials=9)
    assert drawn(found) == [{"num_layers": 2}] * 9
    assert found.importance == {}


def test_a_model_that_is_gone_is_not_scored(go, tmp_path):
    found = go("a.log", trials=2)
    (tmp_path / f"a-trial-{found.best.number:04d}" / "model.json").unlink()
    (tmp_path / f"a-trial-{found.best.number:04d}").rmdir()
    again = go("a.log", trials=2)
    assert again.best.folder is None
    assert again.test == found.test  # which was noted


def test_another_search_on_the_same_study_is_refused(go, world):
    go("a.log", trials=1)
    refused = {
        "another space (learning_rate: there": {"space": SPACE | {"learning_rate": [0.1]}},
        "another space (margin: there [0.1, 0.5], here None)": {
            "space": {k: v for k, v in SPACE.items() if k != "margin"}
        },
        "other settings (epochs: there 8, here 9)": {"epochs": 9},
        "other settings (seed: there 2020, here 3)": {"seed": 3},
        "other data": {"interactions": dataclasses.replace(world, user_ids=world.user_ids + 1)},
    }
    for found, stated in refused.items():
        with pytest.raises(InputError) as caught:
            go("a.log", **stated)
        assert found in str(caught.value)
    assert len(go("a.log", trials=2, epochs=8, mesh="data:1,nodes:1").trials) == 2


def test_a_study_of_another_program_is_refused(go, tmp_path):
    optuna = storages.import_optuna()
    with storages.quiet_optuna():
        optuna.create_study(storage=storages.open_storage(optuna, tmp_path / "a.db"), study_name="theirs")
    with pytest.raises(InputError, match=r"found the study 'theirs' of another program"):
        go("a.db")


@pytest.mark.parametrize(
    ("stated", "line"),
    [
        ({"eval_split": "test"}, "eval_split: found test, expected valid: a search chooses on the validation part"),
        ({"trials": 0}, "trials: found 0, expected an integer of at least 1"),
        ({"batch": True}, "batch: found True, expected an integer of at least 1"),
        ({"batch": 2, "workdir": "runs"}, "batch: found 2 with workdir, whose folders hold a run each, expected 1"),
        ({"timeout": -1}, "timeout: found -1, expected seconds"),
        ({"timeout": math.nan}, "timeout: found nan, expected seconds"),
        ({"top_k": (500,)}, "top_k: found 500, expected at most 40, the number of items"),
        (
            {"space": {"batch_size": [4], "num_layers": [1, 2]}, "embedding_dim": 10**9},
            "space, num_layers=1, batch_size=4: ",
        ),
        ({"space": "nowhere.json"}, "nowhere.json: found a file that cannot be read"),
        ({"space": 3}, "space: found a int, expected a path, or {setting: list of values or range}"),
        ({"dataset": "lastfm"}, "dataset: found lastfm, expected nothing here"),
        ({"model": "mf", "space": {"model": ["mf"]}}, "model: found a setting that space has, too"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_first_trial(go, quick, stated, line):
    with pytest.raises(InputError) as caught:
        go(**stated)
    assert line in str(caught.value)
    assert not quick.fitted


def test_without_a_validation_part_there_is_no_search(go):
    with pytest.raises(InputError, match="eval_split: found valid, which is empty, expected data with one"):
        go(interactions=lg.load("synthetic", num_users=60, num_items=40, num_interactions=700))


RATES = {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
TINY = FIXED | {"epochs": 2, "num_layers": 1, "loss": "bpr"}


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """A search of two trials that are really trained, in run folders."""
    folder = tmp_path_factory.mktemp("search")
    stated = {"workdir": folder / "runs", "study": folder / "a.log", "trials": 3, "quiet": True, "prune": False}
    return lg.search(world, RATES, **stated | TINY)


def test_trials_in_run_folders_are_runs_of_their_own(trained, world):
    assert {trial.folder for trial in trained.trials} == {
        str((trained_folder(trained)) / f"trial-{trial.number:04d}") for trial in trained.trials
    }
    model = lg.load_model(trained.best.folder, world)
    assert model.config.optimizer.learning_rate == trained.best.settings["learning_rate"]
    assert model.evaluate(world, "valid", 5)[METRIC] == pytest.approx(trained.best.value)


def trained_folder(trained):
    return Path(trained.best.folder).parent


def test_the_test_part_is_scored_once_for_the_best_trial_alone(trained, world):
    tested = {}
    for trial in trained.trials:
        result = json.loads((trained_folder(trained) / f"trial-{trial.number:04d}" / "result.json").read_text())
        tested[trial.number] = result.get("test")
    expected = lg.load_model(trained.best.folder, world).evaluate(world, "test", 5)
    assert [number for number, found in tested.items() if found] == [trained.best.number]
    assert tested[trained.best.number] == {"epoch": trained.best.epoch, "split": "test"} | expected
    assert trained.test == {"trial": trained.best.number} | expected


def test_a_batch_is_trained_as_one_population_and_never_has_the_test_part(trained, world, monkeypatch):
    """The same trials with the same results as those that are trained alone, in folders."""
    populations = []

    def counted(interactions, members, **stated):
        populations.append((len(members), interactions.test.nnz))
        return fit_population(interactions, members, **stated)

    monkeypatch.setattr(trials, "fit_population", counted)
    found = lg.search(world, RATES, trials=3, batch=3, quiet=True, prune=False, **TINY)
    assert populations == [(3, 0)]
    assert drawn(found) == drawn(trained)
    assert [trial.value for trial in found.trials] == pytest.approx([trial.value for trial in trained.trials], abs=1e-6)
    assert found.test == pytest.approx(trained.test, abs=1e-6)
    alone = lg.load_model(trained.best.folder, world)
    np.testing.assert_allclose(found.model.user_embeddings, alone.user_embeddings, atol=1e-5)


def test_run_folders_of_another_search_are_refused(trained, world, tmp_path):
    with pytest.raises(InputError, match=r"found trial-0000 of another search, expected another folder"):
        lg.search(world, RATES, workdir=trained_folder(trained), quiet=True, **TINY)


def test_what_was_found_can_be_written(trained, tmp_path):
    for name in ("a.json", "a.flags", "a.svg"):
        trained.save(tmp_path / name)
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["best"] == trained.best.number
    assert found["test"] == trained.test
    assert found["environment"]["optuna"]
    assert [trial["value"] for trial in found["trials"]] == [trial.value for trial in trained.trials]
    flags = (tmp_path / "a.flags").read_text().splitlines()
    assert flags[0].startswith(f"# Trial {trained.best.number}, the best of 3 on synthetic: recall@5 0.")
    assert f"--learning_rate={trained.best.settings['learning_rate']}" in flags
    assert "--eval_split=valid" in flags
    assert trained.command("W") == " ".join(["python -m lgcn_jax train", *flags[1:], "--workdir=W"])
    with pytest.raises(InputError, match=r"ends in \.json, \.flags, \.svg"):
        trained.save(tmp_path / "a.txt")
