"""Populations in a folder: members are runs, and what is stopped goes on bit for bit."""

import itertools
import json
import shutil
import signal

import pytest

import lgcn_jax as lg
from lgcn_jax.cli import main
from lgcn_jax.runs import display, integrity, population_members
from lgcn_jax.training import loop

WORLD = ["--dataset=synthetic", "--num_users=120", "--num_items=90", "--num_interactions=1500", "--top_k=5"]
MODEL = ["--num_layers=1", "--embedding_dim=8", "--batch_size=256", "--eval_every=2", "--quiet"]
SPLIT = ["--validation_fraction=0.1", "--eval_split=valid"]
SEEDS = "--population=seeds:1-3"


def train(folder, *more) -> int:
    return main.main(["train", *WORLD, *MODEL, *SPLIT, f"--workdir={folder}", *more])


def untimed(value):
    """Without what depends on the clock."""
    if isinstance(value, list):
        return list(map(untimed, value))
    if not isinstance(value, dict):
        return value
    return {name: untimed(part) for name, part in value.items() if "seconds" not in name and name != "usage"}


def outcome(folder):
    """What a population has left: its result, and each member's lines, result and checkpoints."""
    found = [untimed(json.loads((folder / "result.json").read_text()))]
    for member in sorted((folder / "members").iterdir()):
        rows = [json.loads(line) for line in (member / "metrics.jsonl").read_text().splitlines()]
        result = json.loads((member / "result.json").read_text())
        found.append((untimed(rows), untimed(result), integrity.checkpoint_steps(member / "checkpoints")))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a population that nothing happened to, which ends off the schedule of evaluations."""
    folder = tmp_path_factory.mktemp("population") / "whole"
    assert train(folder, SEEDS, "--epochs=5") == 0
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    return outcome(folder)


def test_members_are_run_folders(folder, tmp_path, capsys):
    """The files of a run, from which commands that know nothing of populations go on."""
    assert train(tmp_path / "solo", "--epochs=5", "--seed=2") == 0
    alone = json.loads((tmp_path / "solo" / "result.json").read_text())
    member = folder / "members" / "001"
    made = json.loads((member / "result.json").read_text())
    files = {path.name for path in (tmp_path / "solo").iterdir()}
    assert files == {path.name for path in member.iterdir()}
    assert list(made) == list(alone)
    assert made["config"] == alone["config"]
    assert made["environment"] == alone["environment"]
    for name in ("best", "last", "test"):
        assert made[name]["epoch"] == alone[name]["epoch"]
        assert made[name]["recall@5"] == pytest.approx(alone[name]["recall@5"], rel=1e-5)
    capsys.readouterr()
    assert main.main(["evaluate", f"--workdir={member}"]) == 0
    assert f"{made['test']['recall@5']:.4f}" in capsys.readouterr().out
    assert lg.load_model(member).history == [json.loads(line) for line in (member / "metrics.jsonl").open()]


def test_a_member_goes_on_alone_and_its_population_then_does_not(folder, tmp_path, capsys):
    copied = shutil.copytree(folder, tmp_path / "copied")
    assert main.main(["train", f"--workdir={copied / 'members' / '001'}", "--epochs=6", "--quiet"]) == 0
    assert "continues after epoch 5" in capsys.readouterr().err
    assert train(copied, SEEDS, "--epochs=6") == 2
    assert "members/001: found a run that has gone on without its population" in capsys.readouterr().err


def test_continued_with_more_epochs_is_the_longer_population(tmp_path, whole, capsys):
    """The evaluation that the first end made due is forgotten."""
    assert train(tmp_path / "run", SEEDS, "--epochs=3") == 0
    assert train(tmp_path / "run", SEEDS, "--epochs=5") == 0
    assert "continues after epoch 3" in capsys.readouterr().err
    assert outcome(tmp_path / "run") == whole


def test_complete_it_stays_as_it_is(folder, whole, capsys):
    assert train(folder, SEEDS) == 0
    assert "continues" not in capsys.readouterr().err
    assert outcome(folder) == whole


def raising(number: int, when: int):
    """A Display.progress that raises the signal after a block."""
    blocks = itertools.count(1)
    return lambda *arguments: signal.raise_signal(number) if next(blocks) == when else None


@pytest.mark.parametrize(("number", "status", "when"), [(signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 14)])
def test_a_signal_within_an_epoch_ends_a_population_that_then_continues(
    tmp_path, whole, number, status, when, monkeypatch, capsys
):
    """In the first epoch, and in the third one; every block is one step."""
    monkeypatch.setattr(loop, "BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(display.Display, "progress", raising(number, when))
    assert train(tmp_path / "run", SEEDS, "--epochs=5") == status
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["status"], result["epochs"]) == ("interrupted", (when - 1) // 5)
    assert 0 < result["step"] < 5
    assert "the same command continues" in capsys.readouterr().out
    assert train(tmp_path / "run", SEEDS, "--epochs=5") == 0
    assert outcome(tmp_path / "run") == whole


def test_killed_after_a_save_it_continues_from_there(tmp_path, whole, monkeypatch):
    """Killed in the fourth epoch, when lines after the last save have been written already."""

    class Killed(BaseException):
        pass

    def log(self, row):
        if row["split"] != "train" and row["epoch"] == 4:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(display.Display, "log", log)
        with pytest.raises(Killed):
            train(tmp_path / "run", SEEDS, "--epochs=5", "--save_every=3")
    assert train(tmp_path / "run", SEEDS, "--epochs=5", "--save_every=10") == 0
    found = outcome(tmp_path / "run")
    assert found == whole


def test_callbacks_end_members(tmp_path):
    """The member's number is in each line; a member that has ended is a run that was interrupted there."""
    data = lg.load("synthetic", num_users=120, num_items=90, num_interactions=1500)
    told = []

    def prune(row):
        told.append((row["member"], row["epoch"], row["split"]))
        return row["member"] == 1 and row["split"] == "test"

    how = {"num_layers": 1, "embedding_dim": 8, "batch_size": 256, "eval_every": 1, "top_k": (5,), "quiet": True}
    found = lg.fit_population(
        data, "seeds:1-2", workdir=tmp_path / "run", callbacks=[prune], epochs=3, loss="enhanced", **how
    )
    assert [model.status for model in found] == ["completed", "interrupted"]
    assert told[:2] == [(0, 1, "train"), (1, 1, "train")]
    assert [place for place in told if place[0] == 1] == [(1, 1, "train"), (1, 1, "test")]
    again = lg.load_model(tmp_path / "run" / "members" / "001")
    assert again.history == found[1].history
    assert (again.user_embeddings == found[1].user_embeddings).all()
    assert found.results[1]["best"]["epoch"] == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--population=seeds:1-4"],
            "found other members than those of --population, expected the same, or --overwrite",
        ),
        ([], "found a population, expected one of its members"),
        ([SEEDS, "--batch_size=32"], "found --batch_size=32 for a run with --batch_size=256"),
        ([SEEDS, "--profile"], "--profile: found True, expected nothing with --population"),
        ([SEEDS, "--epochs=2"], "--epochs: found 2, expected at least 5"),
    ],
)
def test_what_does_not_go_with_the_folder_is_refused(folder, whole, capsys, flags, said):
    assert train(folder, *flags) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert outcome(folder) == whole


def test_a_run_and_a_population_do_not_share_a_folder(folder, tmp_path, capsys):
    copied = shutil.copytree(folder / "members" / "000", tmp_path / "run")
    assert train(copied, SEEDS) == 2
    assert "found a run, expected a population, a free folder, or --overwrite" in capsys.readouterr().err
    for command in ("evaluate", "report"):
        assert main.main([command, f"--workdir={folder}"]) == 2
        assert "found a population, expected one of its members" in capsys.readouterr().err


def test_overwrite_begins_anew_and_leaves_what_is_not_ours(folder, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "copied")
    (copied / "notes.txt").write_text("mine")
    assert train(copied, "--population=seeds:7", "--epochs=1", "--overwrite") == 0
    assert (copied / "notes.txt").read_text() == "mine"
    assert [path.name for path in (copied / "members").iterdir()] == ["000"]


def test_a_dry_run_begins_nothing(tmp_path, capsys):
    assert train(tmp_path / "run", SEEDS, "--dry_run") == 0
    assert "an epoch of all members, of 5 steps each, takes about" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_a_population_that_does_not_fit_is_refused_with_the_largest_that_does(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lgcn_jax.training.estimate.available_bytes", lambda: 301_000_000)
    assert train(tmp_path / "run", "--population=seeds:0-999") == 2
    said = capsys.readouterr().err
    assert "--population: found 1000 members, about" in said
    most = int(said.partition("at most ")[2].partition(" ")[0])
    assert 0 < most < 1000
    monkeypatch.setattr(population_members, "parse_members", lambda stated: [{"seed": seed} for seed in range(most)])
    assert train(tmp_path / "run", SEEDS, "--dry_run") == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2", "a file that is no JSON"),
        ("3", "found a int"),
        ("[]", "found no member"),
        ("{}", "found no member"),
        ('{"seed": 1}', "seed: found 1, expected a list of values"),
        ('{"seed": []}', "found no member"),
        ('[{"seed": 1}, 7]', "member 1: found 7, expected settings by name"),
        ('[{"seed": 1}, {}]', "member 1: found no setting"),
        ('[{"seed": NaN}]', "member 0: --seed: found nan"),
    ],
)
def test_files_that_are_no_members_are_refused(tmp_path, capsys, content, said):
    (tmp_path / "grid.json").write_text(content)
    assert train(tmp_path / "run", f"--population={tmp_path / 'grid.json'}") == 2
    captured = capsys.readouterr().err
    assert said in captured
    assert captured.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "stated", ["seeds:", "seeds:3-1", "seeds:a", "seeds:1,,2", "seeds:-1", "none.json", "seeds:0-9999999"]
)
def test_texts_that_are_no_members_are_refused(tmp_path, capsys, stated):
    assert train(tmp_path / "run", f"--population={stated}") == 2
    assert capsys.readouterr().err.startswith("--population")


def test_a_list_and_a_product_are_the_same_members(tmp_path):
    (tmp_path / "list.json").write_text('[{"margin": 0, "seed": 1}, {"margin": 0, "seed": 2}]')
    (tmp_path / "product.json").write_text('{"margin": [0], "seed": [1, 2]}')
    read = [population_members.parse_members(str(tmp_path / name)) for name in ("list.json", "product.json")]
    assert read[0] == read[1] == [{"margin": 0, "seed": 1}, {"margin": 0, "seed": 2}]
