"""The command that searches, with a model that trains in no time."""

import json
import re
import shlex
import signal
from pathlib import Path

import pytest
from quick_model import METRIC, QuickModel

from lgcn_jax.cli import tables
from lgcn_jax.cli.command import config_from_flags, parse_flags, run_setting_names
from lgcn_jax.cli.flags import stated_settings
from lgcn_jax.cli.main import COMMANDS, main
from lgcn_jax.searching import keeping, space, trials
from lgcn_jax.searching.results import SearchResult, SearchTrial
from lgcn_jax.searching.space import Space
from lgcn_jax.searching.study import Study

ROOT = Path(__file__).resolve().parents[2]
WORLD = ["--dataset=synthetic", "--num_users=60", "--num_items=40", "--num_interactions=700"]
SMALL = [*WORLD, "--epochs=8", "--eval_every=2", "--embedding_dim=4", "--top_k=5", "--trials=6"]
SPACE = {"learning_rate": {"low": 0.001, "high": 1, "log": True}, "loss": ["bpr", "enhanced"], "margin": [0.1, 0.5]}


@pytest.fixture
def go(monkeypatch, tmp_path):
    """The command in a folder of its own; the files are space.json and a.log unless stated otherwise."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trials, "Model", QuickModel)
    monkeypatch.setattr(QuickModel, "fitted", [])
    monkeypatch.setattr(
        keeping.BestModelKeeper,
        "best_model",
        lambda keeper, interactions: QuickModel.of(keeper._study.completed_trials()),
    )
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    return lambda *stated: main(["search", "--space=space.json", "--study=a.log", *SMALL, *stated])


def test_it_prints_the_best_trials_and_how_to_train_the_best_one(go, capsys, tmp_path):
    assert go("--out=best.flags,found.json", "--figure=importance.svg", "--trials=12") == 0
    told = capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    best = max(found["trials"], key=lambda trial: trial["value"] if trial["ended"] == "completed" else 0)
    assert f"trial 0 completed (1 of 12): {METRIC} 0." in told
    assert "12 of 12 trials are over: " in told
    assert f"trial  {METRIC}  epoch  loss" in told
    assert "setting        importance" in told
    assert f"trial {best['number']}, test part" in told
    command = next(line.partition("anew: ")[2] for line in told.splitlines() if line.startswith("train the best"))
    values = parse_flags(COMMANDS["train"], "train", shlex.split(command)[4:])
    config = config_from_flags(stated_settings(values, run_setting_names()))  # which refuses flags that have no effect
    assert config.optimizer.learning_rate == best["settings"]["learning_rate"]
    assert (config.evaluation.eval_split, config.data.validation_fraction) == ("valid", 0.1)
    assert (tmp_path / "best.flags").read_text().splitlines()[1:] == shlex.split(command)[4:-1]
    assert (tmp_path / "importance.svg").read_text().startswith("<?xml")
    assert "wrote best.flags\nwrote found.json\nwrote importance.svg" in told


def test_the_same_command_goes_on(go, capsys):
    assert go("--trials=2") == 0
    assert go() == 0
    assert len(QuickModel.fitted) == 6
    assert go("--quiet") == 0
    assert len(QuickModel.fitted) == 6
    assert "trial 5 completed (6 of 6)" in (told := capsys.readouterr().out)
    assert told.count("trial 5 ") == 1


def test_a_signal_ends_it_with_its_status(go, capsys, monkeypatch):
    def stop(model, epoch):
        if len(QuickModel.fitted) == 2:
            signal.raise_signal(signal.SIGTERM)
            return True
        return False

    monkeypatch.setattr(QuickModel, "during", staticmethod(stop))
    assert go("--out=found.json") == 143
    told = capsys.readouterr().out
    assert "trial 1 interrupted (1 of 6)" in told
    assert told.endswith("interrupted; the same command goes on\n")
    assert "wrote" not in told
    assert "test part" not in told


def test_time_that_is_up_ends_it(go, capsys, monkeypatch):
    monkeypatch.setattr(Study, "claim", lambda study, wanted, trials: [])
    assert go("--timeout=3600") == 1
    assert "out of time; the same command goes on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stated", "line"),
    [
        (["--space="], "--space: found nothing, expected a JSON file of a space"),
        (["--study="], "--study: found nothing, expected a file that keeps the trials"),
        (["--study=a.txt"], "--study=a.txt: found 'a.txt', expected a file name that ends in .log, .journal"),
        (["--study=space.log"], "--study=space.log: found a file that is no study, expected that of a search"),
        (["--study=space.json/a.log"], "--study=space.json/a.log: found a file that cannot be written ("),
        (["--space=b.json"], "b.json: found a file that cannot be read (No such file or directory)"),
        (["--eval_split=test"], "--eval_split: found test, expected valid: a search chooses on the validation part"),
        (["--margin=0.1"], "--margin: found a setting that space.json has, too, expected it in one of both places"),
        (
            ["--beta=0.1"],
            "--beta: found a setting that no part of the search has, expected nothing, or negatives = pop",
        ),
        (["--timeout=soon"], "--timeout: found 'soon', expected seconds, a number above 0"),
        (["--trials=0"], "--trials: found 0, expected an integer of at least 1"),
        (["--batch=0"], "--batch: found 0, expected an integer of at least 1"),
        (["--batch=2", "--workdir=runs"], "--batch: found 2 with --workdir, whose folders hold a run each, expected 1"),
        (["--dataset="], "--dataset: found nothing, expected the data set of the search"),
        (["--validation_fraction=0"], "--eval_split: found valid, which is empty, expected data with one"),
        (["--top_k=41"], "--top_k: found 41, expected at most 40, the number of items"),
        (["--out=a.svg"], "--out=a.svg: found 'a.svg', expected a file name that ends in .json, .flags"),
        (
            ["--out=nowhere/a.json"],
            "--out=nowhere/a.json: found 'nowhere/a.json', expected a file in a folder that exist",
        ),
        (["--figure=a.json"], "--figure=a.json: found 'a.json', expected a file name that ends in .svg, .png, .pdf"),
        (["--model=itemknn"], "--model: found 'itemknn', expected one of lightgcn"),
        (["--split_col=a"], "--split_col: found a setting without effect here"),
        (
            ["--learnig_rate=1"],
            "--learnig_rate: found an unknown flag, expected a flag of search (did you mean --learn",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(go, stated, line, capsys, tmp_path):
    (tmp_path / "space.log").write_text("no study\n")
    assert go(*stated) == 2
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1
    assert not QuickModel.fitted
    assert {path.name for path in tmp_path.iterdir()} == {"space.json", "space.log"}


def test_what_the_page_shows_can_be_searched(monkeypatch):
    """Its space and the one of the example; the flags of its commands, and those that the example has found."""
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "search.md").read_text()
    (shown,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    fixed = {"dataset": "ml-100k", "eval_split": "valid"}
    assert Space.of(json.loads(shown), fixed).dimensions.keys() >= {"margin", "num_layers"}
    commands = re.findall(r"^python -m lgcn_jax (search .*(?:\n {4}.*)*)", page, re.MULTILINE)
    assert commands
    for command in commands:
        name, *flags = shlex.split(command.replace("\\\n", ""))
        values = parse_flags(COMMANDS[name], name, flags)
        stated = stated_settings(values, run_setting_names()) | fixed
        space.read_space(values["space"].value, stated)


def test_the_example_is_what_the_page_says():
    """Its best trials and the importance of settings, from the file of all trials; and the space that they are of."""
    page = (ROOT / "docs" / "search.md").read_text()
    found = json.loads((ROOT / "experiments" / "search" / "ml-100k.found.json").read_text())
    made = SearchResult(
        **{name: found[name] for name in ("dataset", "metric", "status", "wanted", "importance", "test", "settings")},
        trials=tuple(SearchTrial(**trial, folder=None) for trial in found["trials"]),
        environment=found["environment"],
    )
    assert tables.format_groups(made.columns()) in page
    importance = {"setting": list(made.importance), "importance": list(made.importance.values())}
    assert tables.format_groups(importance) in page
    assert f"trial {made.best.number}, test part" in page
    assert f"recall               {made.test['recall@20']:.4f}" in page
    space_file = json.loads((ROOT / "experiments" / "search" / "ml-100k.json").read_text())
    assert {name for trial in made.trials for name in trial.settings} == space_file.keys()


def test_its_help_says_what_is_judged(capsys):
    assert main(["search", "--help"]) == 0
    told = capsys.readouterr().out
    assert "--study" in told
    assert "the part on which trials are judged: valid, and no other" in told
