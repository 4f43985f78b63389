"""Runs that are stopped, damaged and continued: the end is that of the run that was left alone, bit for bit."""

import contextlib
import dataclasses
import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from xla_flags import xla_flags

from lgcn_jax.cli import main
from lgcn_jax.data import datasets
from lgcn_jax.errors import InputError
from lgcn_jax.runs import agreement, checkpoint, display, integrity, lock, resume, run, workdir
from lgcn_jax.training import loop
from lgcn_jax.training import programs as programs_of_runs
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.state import Snapshot

WORLD = ["--dataset=synthetic", "--num_users=300", "--num_items=200", "--num_interactions=5000", "--top_k=5"]
MODEL = ["--num_layers=2", "--embedding_dim=8", "--batch_size=256", "--eval_every=2", "--save_every=1", "--quiet"]
PLATEAU = ["--plateau_factor=0.5", "--plateau_patience=0", "--early_stopping_patience=4", "--learning_rate=0.1"]


def train(folder, *more) -> int:
    return main.main(["train", *WORLD, *MODEL, *PLATEAU, f"--workdir={folder}", *more])


def untimed(rows):
    return [{name: value for name, value in row.items() if "seconds" not in name and name != "usage"} for row in rows]


def outcome(folder):
    """metrics.jsonl and result.json without times and memory, and which checkpoints were kept."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((folder / "result.json").read_text())
    result["best"], result["last"] = untimed([result["best"], result["last"]])
    return untimed(rows), untimed([result])[0], integrity.checkpoint_steps(folder / "checkpoints")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The outcome of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(folder, "--epochs=6") == 0
    rates = {row["learning_rate"] for row in outcome(folder)[0] if row["split"] == "train"}
    assert len(rates) > 1  # the plateau acts, and so its state has to survive
    return outcome(folder)


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """The folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("half") / "run"
    assert train(folder, "--epochs=2") == 0
    return folder


@pytest.fixture
def trained(tmp_path, half):
    """A copy of it to be damaged."""
    return shutil.copytree(half, tmp_path / "run")


def test_a_run_continued_with_more_epochs_is_the_longer_run(tmp_path, whole, capsys):
    assert train(tmp_path / "run", "--epochs=2") == 0
    assert main.main(["train", f"--workdir={tmp_path / 'run'}", "--epochs=6", "--quiet"]) == 0
    assert "continues after epoch 2" in capsys.readouterr().err
    assert outcome(tmp_path / "run") == whole


def test_a_run_that_is_complete_does_not_say_that_it_continues(trained, capsys):
    capsys.readouterr()
    assert train(trained, "--epochs=2") == 0
    assert "continues" not in capsys.readouterr().err


def test_an_evaluation_off_the_schedule_is_forgotten_when_the_run_goes_on(tmp_path, whole):
    """The run of three epochs is evaluated at its end, the one of six is not."""
    assert train(tmp_path / "run", "--epochs=3") == 0
    assert outcome(tmp_path / "run")[1]["last"]["epoch"] == 3
    assert train(tmp_path / "run", "--epochs=6") == 0
    assert outcome(tmp_path / "run") == whole


@pytest.mark.parametrize("save_every", [1, 4])
def test_checkpoints_made_at_an_end_give_way_to_those_of_the_longer_run(small, tmp_path, save_every):
    """5 -> 8 epochs, evaluated after every second one; the evaluation after the fifth is the best of all."""
    config = small.replace(eval_every=2, save_every=save_every, plateau_factor=0.5, plateau_patience=0)
    config = config.replace(early_stopping_patience=3, learning_rate=0.02, epochs=8)
    setup = build_setup(config, datasets.load(config.data))
    shorter = dataclasses.replace(setup, config=config.replace(epochs=5))

    class Saving(loop.Listener):
        def __init__(self, checkpoints):
            self.checkpoints = checkpoints

        def save(self, snapshot, is_scheduled):
            facts = {"config": {}, "content_sha256": "", "environment": {}, "log": []}
            state, totals = setup.to_node_order((snapshot.state, snapshot.totals))
            self.checkpoints.save(
                Snapshot(state, totals, snapshot.progress), setup.steps_per_epoch, facts, is_scheduled
            )

    def fit(setup, name, start=None):
        with checkpoint.Checkpoints(tmp_path / name, config.evaluation.watched_metric) as checkpoints:
            return loop.fit(setup, Saving(checkpoints), start)

    expected, half = fit(setup, "whole"), fit(shorter, "parts")
    assert half.last["epoch"] == 5
    assert half.snapshot.progress.last["epoch"] == 4
    found = fit(setup, "parts", half.snapshot)
    assert untimed([found.to_json() | {"best": None, "last": None}]) == untimed(
        [expected.to_json() | {"best": None, "last": None}]
    )
    assert untimed([found.best, found.last]) == untimed([expected.best, expected.last])
    assert found.snapshot.progress.stale == expected.snapshot.progress.stale
    assert integrity.checkpoint_steps(tmp_path / "parts") == integrity.checkpoint_steps(tmp_path / "whole")


def test_epochs_lowered_to_those_that_are_done_are_evaluated_and_saved(tmp_path, monkeypatch):
    """A run stopped after its first epoch, which no evaluation follows, shall have been one of one epoch."""
    monkeypatch.setattr(display.Display, "log", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert train(tmp_path / "run", "--epochs=6") == 143
    assert outcome_of_stopped(tmp_path / "run")["best"] is None
    monkeypatch.undo()
    assert train(tmp_path / "run", "--epochs=1") == 0
    result = outcome(tmp_path / "run")[1]
    assert (result["best"]["epoch"], result["last"]["epoch"]) == (1, 1)
    assert evaluated(tmp_path / "run", "best") == pytest.approx(result["best"]["recall@5"], abs=1e-4)


def outcome_of_stopped(folder):
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "interrupted"
    return result


def evaluated(folder, which, split="test") -> float:
    """recall@5 of a checkpoint."""
    config = resume.stored_settings(folder)
    return run.score_checkpoint(config, datasets.load(config.data), folder, which, split)[0]["recall@5"]


def test_a_run_stopped_within_an_epoch_goes_on_from_that_step(small, monkeypatch):
    """The listener stops after every block, and every block is one step."""
    monkeypatch.setattr(loop, "FIRST_BLOCK", 1)
    setup = build_setup(small.replace(epochs=1, batch_size=1024), datasets.load(small.data))
    expected = loop.fit(setup)

    class Impatient(loop.Listener):
        def should_stop(self):
            return True

    result, stops = loop.fit(setup, Impatient()), 1
    while result.status == "interrupted":
        result, stops = loop.fit(setup, Impatient(), result.snapshot), stops + 1
    assert stops >= setup.steps_per_epoch
    assert result.to_json()["parameters_sha256"] == expected.to_json()["parameters_sha256"]
    assert untimed([result.last]) == untimed([expected.last])


def raising(number: int, when: int):
    """A Display.progress that raises the signal after a block."""
    blocks = itertools.count(1)
    return lambda *arguments: signal.raise_signal(number) if next(blocks) == when else None


@pytest.mark.parametrize(("number", "status", "when"), [(signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 4)])
def test_a_signal_ends_a_run_that_then_continues(tmp_path, whole, number, status, when, monkeypatch):
    """In the first epoch, and in a later one."""
    monkeypatch.setattr(display.Display, "progress", raising(number, when))
    assert train(tmp_path / "run", "--epochs=6") == status
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "interrupted"
    assert result["epochs"] < 6
    assert train(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == whole


@pytest.mark.parametrize("when", [1, 3])
def test_a_run_stopped_within_an_epoch_before_any_evaluation_continues(tmp_path, whole, when, monkeypatch):
    """After the first or the third block, which is of one step, and so in the first epoch."""
    monkeypatch.setattr(loop, "FIRST_BLOCK", 1)
    monkeypatch.setattr(loop, "BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(display.Display, "progress", raising(signal.SIGTERM, when))
    assert train(tmp_path / "run", "--epochs=6") == 143
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["status"], result["epochs"], result["step"], result["best"]) == ("interrupted", 0, when, None)
    assert train(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == whole


def test_a_run_traced_before_and_after_it_is_continued_is_the_same_run(tmp_path, whole):
    for epochs in (2, 6):
        assert train(tmp_path / "run", f"--epochs={epochs}", "--profile") == 0
    assert outcome(tmp_path / "run") == whole
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "empty"])
def test_a_damaged_newest_checkpoint_is_removed_and_the_one_before_it_used(tmp_path, whole, damage, capsys):
    assert train(tmp_path / "run", "--epochs=4") == 0
    checkpoints = tmp_path / "run" / "checkpoints"
    newest = checkpoints / str(integrity.checkpoint_steps(checkpoints)[-1])
    data = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    changed = {"flip": content, "truncate": content[:-20], "empty": b""}
    data.unlink() if damage == "delete" else data.write_bytes(changed[damage])
    assert train(tmp_path / "run", "--epochs=6") == 0
    assert "removed the damaged checkpoint" in capsys.readouterr().err
    assert outcome(tmp_path / "run") == whole


def test_lost_files_beside_the_checkpoints_are_written_again(tmp_path, whole):
    assert train(tmp_path / "run", "--epochs=4") == 0
    for name in ("config.json", "metrics.jsonl", "environment.json", "result.json"):
        (tmp_path / "run" / name).unlink()
    assert main.main(["train", f"--workdir={tmp_path / 'run'}", "--epochs=6", "--quiet"]) == 0
    assert outcome(tmp_path / "run") == whole


def test_a_checkpoint_that_should_have_been_removed_is(tmp_path):
    """A kill may come between the saving of a checkpoint and the removal of an older one."""
    assert train(tmp_path / "run", "--epochs=4") == 0
    checkpoints = tmp_path / "run" / "checkpoints"
    before = [str(step) for step in integrity.checkpoint_steps(checkpoints)]
    for step in before:
        shutil.copytree(checkpoints / step, tmp_path / "old" / step)
    assert train(tmp_path / "run", "--epochs=6") == 0
    kept = integrity.checkpoint_steps(checkpoints)
    assert not set(map(str, kept)) >= set(before)
    shutil.copytree(tmp_path / "old", checkpoints, dirs_exist_ok=True)
    assert train(tmp_path / "run") == 0
    assert integrity.checkpoint_steps(checkpoints) == kept


def test_a_run_without_a_whole_checkpoint_is_refused(tmp_path, capsys):
    assert train(tmp_path / "run", "--epochs=2") == 0
    for path in (tmp_path / "run" / "checkpoints").rglob("metadata"):
        path.write_text("{")
    capsys.readouterr()
    assert train(tmp_path / "run", "--epochs=4") == 2
    assert "no whole checkpoint" in capsys.readouterr().err
    assert train(tmp_path / "run", "--epochs=2", "--overwrite") == 0


def refused(folder, capsys, *more) -> str:
    """What `train` says in one line, without removing a checkpoint."""
    before, _ = integrity.checkpoint_steps(folder / "checkpoints"), capsys.readouterr()
    assert train(folder, *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert integrity.checkpoint_steps(folder / "checkpoints") == before
    return line


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("_digest", OSError(errno.EMFILE, "Too many open files")),
        ("_digest", OSError(errno.EIO, "Input/output error")),
        ("_read_content", InputError("meta", "what cannot be read (Permission denied)", "readable files")),
        ("_arrays", MemoryError("out of memory")),
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_no_damaged_one(trained, capsys, monkeypatch, name, error):
    def fail(*_):
        raise error

    if name == "_arrays":
        monkeypatch.setattr(checkpoint.ocp.StandardCheckpointHandler, "restore", fail)
    else:
        monkeypatch.setattr(integrity, name, fail)
    assert "cannot be" in refused(trained, capsys, "--epochs=4")


def resealed(folder, **changes) -> None:
    """Changes what all checkpoints say of themselves (None: leaves it out), with a seal that fits."""
    for path in (folder / "checkpoints").rglob("metadata"):
        meta = json.loads(path.read_text()) | changes
        meta = {name: value for name, value in meta.items() if name != "sha256" and value is not None}
        path.write_text(json.dumps(integrity.with_checksum(meta)))


@pytest.mark.parametrize("name", ["config", "content_sha256", "environment", "progress", "log", "steps_per_epoch"])
def test_sealed_meta_data_without_something_are_refused(trained, capsys, name):
    resealed(trained, **{name: None})
    assert f"meta data with an unknown {name}" in refused(trained, capsys)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": True}, "checkpoint format True, expected format 3"),
        ({"format": 1}, "checkpoint format 1, expected format 3"),
        ({"format": 2.0}, "checkpoint format 2.0, expected format 3"),
        ({"config": {"dataset": "synthetic", "data_dir": "data", "colour": 1}}, "settings of no run"),
        ({"config": {"dataset": "synthetic", "data_dir": "data", "top_k": [5.0]}}, "settings of no run"),
        ({"progress": {"epoch": 1}}, "meta data with an unknown progress"),
    ],
)
def test_sealed_meta_data_of_another_form_are_refused(trained, capsys, changes, said):
    resealed(trained, **changes)
    assert said in refused(trained, capsys)


NESTED = "[" * 100_000


def test_deeply_nested_meta_data_are_damage(trained, capsys):
    for path in (trained / "checkpoints").rglob("metadata"):
        path.write_text(NESTED)
    assert "no whole checkpoint" in refused(trained, capsys)


@pytest.mark.parametrize("content", [NESTED, '{"dataset": "synthetic", "data_dir": "data", "top_k": [20.0]}'])
def test_a_config_that_is_none_is_refused(tmp_path, capsys, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(content)
    (tmp_path / "run" / "environment.json").write_text('{"lgcn_jax": "0.1.0"}')  # which says that a run was here
    assert "config.json: found a file that is no run's config" in refused(tmp_path / "run", capsys)


def test_a_file_in_the_place_of_the_checkpoints_is_refused(tmp_path, capsys):
    (tmp_path / "checkpoints").write_text("")
    assert train(tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "checkpoints" in line


def test_a_blank_line_among_the_sums_changes_nothing(trained, whole):
    for path in trained.rglob("SHA256SUMS"):
        path.write_text(path.read_text() + "\n\n")
    assert train(trained, "--epochs=6") == 0
    assert outcome(trained) == whole


def test_evaluate_takes_a_mesh_that_the_run_could_not_train_on(half, capsys, monkeypatch):
    """Batches of 256 are none for three places, but evaluation draws none."""
    holders, to_row_order, told = [], Setup.to_row_order, []

    def noted(setup, tree):
        assert setup.sampler is None
        params = to_row_order(setup, tree)
        holders.append(len(params["table"][...].devices()))
        return params

    monkeypatch.setattr(Setup, "to_row_order", noted)
    for mesh in ([], ["--mesh=data:3"]):
        assert main.main(["evaluate", f"--workdir={half}", "--checkpoint=latest", *mesh]) == 0
        told.append(capsys.readouterr().out)
    assert holders == [1, 3]
    assert told[0] == told[1]
    assert "epoch 2 (latest)" in told[0]


@pytest.mark.parametrize("more", [["--epochs=4"], ["--epochs=4", "--overwrite"]])
def test_a_mesh_that_cannot_cut_a_batch_is_refused_before_anything_is_written(trained, tmp_path, capsys, more):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    for folder in (trained, tmp_path / "new"):
        assert train(folder, "--mesh=data:3", *more) == 2
        line = "--batch_size: found 256, expected a multiple of 3, the size of the axis data of --mesh\n"
        assert capsys.readouterr().err == line
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("which", ["best", "latest"])
def test_evaluate_passes_over_a_damaged_newest_checkpoint_and_says_so(trained, capsys, which):
    found = integrity.checkpoint_steps(trained / "checkpoints")
    (trained / "checkpoints" / str(found[-1]) / "meta" / "metadata").write_text("{")
    capsys.readouterr()
    assert main.main(["evaluate", f"--workdir={trained}", f"--checkpoint={which}"]) == 0
    told = capsys.readouterr()
    assert f"passed over the damaged checkpoint {found[-1]}" in told.err
    assert f"epoch 1 ({which})" in told.out


def test_another_generator_of_random_numbers_is_refused(trained, capsys):
    with jax.default_prng_impl("rbg"):
        assert "jax_default_prng_impl rbg, expected threefry2x32" in refused(trained, capsys, "--epochs=4")


def test_the_environment_holds_what_can_change_numbers(trained, capsys, monkeypatch):
    monkeypatch.setenv("JAX_SOME_SWITCH", "1")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    with jax.default_matmul_precision("float32"):
        assert train(trained, "--epochs=3") == 0
    told = capsys.readouterr().err
    assert "variables.JAX_SOME_SWITCH None -> 1" in told
    assert "jax_default_matmul_precision None -> float32" in told
    assert "elsewhere" not in told
    now = json.loads((trained / "environment.json").read_text())
    assert now["cpu"]
    assert now["cpu_cores"] >= 1


def test_a_future_format_is_refused_by_number(tmp_path, capsys):
    assert train(tmp_path / "run", "--epochs=2") == 0
    for path in (tmp_path / "run" / "checkpoints").rglob("metadata"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 7}))
    capsys.readouterr()
    assert train(tmp_path / "run") == 2
    assert "checkpoint format 7, expected format 3" in capsys.readouterr().err


IMPATIENT = ["--early_stopping_patience=2", "--learning_rate=1e-6", "--epochs=40"]


def test_early_stopping_counts_on_where_it_stopped(tmp_path):
    """A table that hardly moves soon stops rising in recall; the count of evaluations since then survives."""
    assert train(tmp_path / "whole", *IMPATIENT) == 0
    rows, result, _ = outcome(tmp_path / "whole")
    ended = result["epochs"]
    assert ended == result["best"]["epoch"] + 2 * 2 < 40  # two evaluations, two epochs apart, without a new best
    assert train(tmp_path / "run", *IMPATIENT, f"--epochs={ended - 2}") == 0  # one of the two
    assert train(tmp_path / "run", *IMPATIENT) == 0
    found, finished, _ = outcome(tmp_path / "run")
    assert found == rows
    assert finished["parameters_sha256"] == result["parameters_sha256"]
    assert train(tmp_path / "run", *IMPATIENT, "--epochs=50") == 0  # stopped early: nothing is left to do
    assert outcome(tmp_path / "run")[1]["epochs"] == ended


PROGRAM = """
import resource, sys
from lgcn_jax.__main__ import run
if limit := int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # a write beyond fails, as on a full disk
sys.argv[1:] = sys.argv[2:]
run()
"""


def in_a_process(folder, *more, limit=0, devices=1):
    """`train` on so many devices; with a limit to the bytes of a file, as on a full disk, it can keep no programs."""
    command = [sys.executable, "-c", PROGRAM, str(limit), "train", *WORLD, *MODEL, *PLATEAU, f"--workdir={folder}"]
    flags = {"XLA_FLAGS": xla_flags(devices)}
    return subprocess.run([*command, *more], env=os.environ | flags, capture_output=True, text=True, check=False)


def test_a_full_disk_ends_in_one_line_and_loses_no_checkpoint(tmp_path, whole):
    assert train(tmp_path / "run", "--epochs=2") == 0
    kept = integrity.checkpoint_steps(tmp_path / "run" / "checkpoints")
    full = in_a_process(tmp_path / "run", "--epochs=6", limit=4000)
    assert full.returncode == 1
    told = [line for line in full.stderr.splitlines() if not line.startswith(f"{tmp_path / 'run'}: ")]
    assert len(told) == 1
    assert "could not be written: File too large" in told[0]
    assert "the last checkpoint can be continued from" in told[0]
    assert set(kept) <= set(integrity.checkpoint_steps(tmp_path / "run" / "checkpoints"))
    assert train(tmp_path / "run", "--epochs=6") == 0
    assert outcome(tmp_path / "run")[0] == whole[0]


def test_a_disk_that_is_full_from_the_beginning_leaves_nothing_to_continue(tmp_path):
    full = in_a_process(tmp_path / "run", "--epochs=2", limit=100)
    assert full.returncode == 1
    assert full.stderr.count("\n") == 1
    assert "could not be written: File too large" in full.stderr
    assert "continued" not in full.stderr


def test_a_run_moves_from_eight_devices_to_one_and_back_and_says_so(trained, whole, capsys, programs):
    """The tests have eight; a run on one device is the same among others."""
    done = in_a_process(trained, "--epochs=4", programs, devices=1)
    assert done.returncode == 0
    assert "bits may differ" in done.stderr
    assert "device.count 8 -> 1" in done.stderr
    capsys.readouterr()
    assert train(trained, "--epochs=6") == 0
    assert "device.count 1 -> 8" in capsys.readouterr().err
    assert train(trained, "--epochs=6") == 0
    assert "bits may differ" not in capsys.readouterr().err  # nothing has changed since
    found, expected = outcome(trained), whole
    assert found[0] == expected[0]
    assert found[1]["parameters_sha256"] == expected[1]["parameters_sha256"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_data_are_loaded_ends_in_one_line(tmp_path, capsys, monkeypatch, number, status):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(datasets, "load", lambda *_, **__: signal.raise_signal(number))
    assert train(tmp_path / "run", "--epochs=2") == status
    assert capsys.readouterr().err == "interrupted before training began\n"
    assert not (tmp_path / "run").exists()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_written_file_never_goes_through_a_link(tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / ".config.json.tmp").symlink_to(tmp_path / "elsewhere")
    workdir.write(tmp_path / "config.json", b"{}")
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert (tmp_path / "config.json").read_bytes() == b"{}"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_cuts_off_a_download_is_no_failed_download(tmp_path, capsys, monkeypatch, number, status):
    """A terminal sends Ctrl-C to pip as well, which fails at once."""

    def load(*_, **__):
        signal.raise_signal(number)
        raise InputError("data", "no such file, and fetching it failed", "a file")

    monkeypatch.setattr(datasets, "load", load)
    assert train(tmp_path / "run", "--epochs=2") == status
    assert capsys.readouterr().err == "interrupted before training began\n"


def test_a_run_without_an_evaluation_keeps_the_checkpoints_of_the_one_left_alone(tmp_path, monkeypatch):
    """Orbax ranks all of them alike, and keeps the first one as the best."""
    rarely = "--epochs=5", "--eval_every=10"
    assert train(tmp_path / "whole", *rarely) == 0
    monkeypatch.setattr(display.Display, "log", stopping_at(3))
    assert train(tmp_path / "run", *rarely) == 143
    monkeypatch.undo()
    assert train(tmp_path / "run", *rarely) == 0
    kept = integrity.checkpoint_steps(tmp_path / "run" / "checkpoints")
    assert kept == integrity.checkpoint_steps(tmp_path / "whole" / "checkpoints")
    assert len(kept) == 3


def test_fewer_epochs_than_done_are_refused(tmp_path, capsys):
    assert train(tmp_path / "run", "--epochs=4") == 0
    capsys.readouterr()
    assert train(tmp_path / "run", "--epochs=3") == 2
    assert "--epochs: found 3, expected at least 4" in capsys.readouterr().err


def test_a_folder_in_use_is_refused_with_its_owner(tmp_path):
    with (
        lock.hold_lock(tmp_path / "run"),
        pytest.raises(InputError, match=r"in use by process \d+ on "),
        lock.hold_lock(tmp_path / "run"),
    ):
        pass
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_refused_under_another_name_too(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with (
        lock.hold_lock(tmp_path / "run"),
        pytest.raises(InputError, match=f"link: found a folder in use by process {os.getpid()} on "),
        lock.hold_lock(tmp_path / "link"),
    ):
        pass


def test_the_lock_of_a_dead_owner_is_taken_over(tmp_path):
    (tmp_path / lock.NAME).write_text("")
    (tmp_path / lock.OWNER).write_text('{"pid": 1, "host": "gone"}')
    with lock.hold_lock(tmp_path):
        assert (tmp_path / lock.NAME).exists()
        assert json.loads(lock.lock_owner(tmp_path))["pid"] == os.getpid()
    assert not os.listdir(tmp_path)


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_kept(tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / lock.NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"found a link named \.lock"), lock.hold_lock(tmp_path / "run"):
        pass
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert (tmp_path / "run" / lock.NAME).is_symlink()


def test_a_run_whose_numbers_go_bad_keeps_its_checkpoints_and_says_so(trained, whole, capsys, monkeypatch):
    """In the fifth step of the fourth epoch, which the update is told by Adam's count."""
    steps = integrity.checkpoint_steps(trained / "checkpoints")[-1] // 2  # of an epoch
    make = programs_of_runs.make_update

    def spoilt(config):
        def update(*arguments):
            state, metrics = make(config)(*arguments)
            bad = jnp.where(state.optimizer.adam[1][0].count == 3 * steps + 5, jnp.float32(jnp.nan), jnp.float32(0))
            return state, metrics | {"loss_contrastive": metrics["loss_contrastive"] + bad}

        return update

    monkeypatch.setattr(programs_of_runs, "make_update", spoilt)
    capsys.readouterr()
    assert train(trained, "--epochs=6") == 1
    told = capsys.readouterr().err
    assert "loss_contrastive is nan at epoch 4, step 5; try a lower --learning_rate" in told
    result = json.loads((trained / "result.json").read_text())
    assert (result["status"], result["epochs"], result["last"]["epoch"]) == ("failed", 3, 2)
    assert integrity.checkpoint_steps(trained / "checkpoints") == [2 * steps, 3 * steps]
    assert evaluated(trained, "best") == pytest.approx(result["best"]["recall@5"], abs=1e-6)
    monkeypatch.undo()
    assert train(trained, "--epochs=6") == 0
    assert outcome(trained) == whole


def test_a_disk_that_becomes_read_only_ends_in_one_line(trained, capsys, monkeypatch):
    def fail(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    before = integrity.checkpoint_steps(trained / "checkpoints")
    monkeypatch.setattr(workdir, "write", fail)
    capsys.readouterr()
    assert train(trained, "--epochs=6") == 1
    assert "could not be written: Read-only file system" in capsys.readouterr().err.splitlines()[-1]
    assert integrity.checkpoint_steps(trained / "checkpoints") == before


def test_a_work_folder_that_cannot_be_made_is_refused(capsys):
    assert train("/proc/run") == 2  # where not even root makes a folder
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--workdir=/proc/run: found a folder that cannot be written")


def test_a_result_is_written_before_its_picture(trained, capsys, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(workdir.curves, "plot_run", fail)
    assert train(trained) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert json.loads((trained / "result.json").read_text())["status"] == "completed"


@pytest.mark.parametrize("moment", range(7))
def test_a_folder_whose_clearing_was_cut_off_can_be_cleared(trained, monkeypatch, moment):
    """The process dies at one of the removals; config.json is there until nothing else is."""
    removals = itertools.count()

    def mortal(remove):
        def removed(*arguments, **options):
            if next(removals) == moment:
                raise KeyboardInterrupt
            return remove(*arguments, **options)

        return removed

    monkeypatch.setattr(workdir.shutil, "rmtree", mortal(shutil.rmtree))
    monkeypatch.setattr(workdir.Path, "unlink", mortal(workdir.Path.unlink))
    with contextlib.suppress(KeyboardInterrupt):
        workdir.clear_run(trained)
    assert (trained / "config.json").exists() or not list(trained.iterdir())
    monkeypatch.undo()
    workdir.clear_run(trained)
    assert not list(trained.iterdir())


def test_a_full_disk_at_the_evaluation_of_a_saved_place_loses_no_checkpoint(tmp_path, monkeypatch, capsys):
    """Stopped after three epochs, then told that these are all: the checkpoint is there and gets its evaluation."""
    monkeypatch.setattr(display.Display, "log", stopping_at(3))
    assert train(tmp_path / "run", "--epochs=10", "--eval_every=5", "--save_every=4") == 143
    monkeypatch.undo()
    (kept,) = integrity.checkpoint_steps(tmp_path / "run" / "checkpoints")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.files, "write", fail)
    assert main.main(["train", f"--workdir={tmp_path / 'run'}", "--epochs=3", "--quiet"]) == 1
    assert "No space left on device" in capsys.readouterr().err.splitlines()[-1]
    integrity.verify(tmp_path / "run" / "checkpoints", kept)
    monkeypatch.undo()
    assert main.main(["train", f"--workdir={tmp_path / 'run'}", "--epochs=3", "--quiet"]) == 0
    assert integrity.checkpoint_steps(tmp_path / "run" / "checkpoints") == [kept]
    last = outcome(tmp_path / "run")[1]["last"]
    assert (last["epoch"], last["recall@5"]) == (3, pytest.approx(evaluated(tmp_path / "run", "best")))
    assert integrity.verify(tmp_path / "run" / "checkpoints", kept)["progress"]["final"]["epoch"] == 3


def stopping_at(epoch: int):
    """A Display.log that sends a signal at the line of an epoch."""
    return lambda self, row: signal.raise_signal(signal.SIGTERM) if row["epoch"] == epoch else None


VALID = ["--eval_split=valid", "--validation_fraction=0.2", "--early_stopping_patience=0"]


def test_a_run_that_lost_its_best_checkpoint_keeps_the_best_left_wherever_it_is_stopped(tmp_path, monkeypatch):
    """Recall falls from one evaluation to the next, so that each is the best one once the one before it is lost."""
    unlimited = "--early_stopping_patience=0"
    monkeypatch.setattr(loop.ranking, "mean_metrics", falling())
    assert train(tmp_path / "run", "--epochs=8", unlimited) == 0
    checkpoints = tmp_path / "run" / "checkpoints"
    first = integrity.checkpoint_steps(checkpoints)[0]  # of epoch 2, beside those of epochs 7 and 8
    (checkpoints / str(first) / "meta" / "metadata").write_text("{")
    assert train(tmp_path / "run", "--epochs=12", unlimited) == 0  # keeps epoch 8, the best one left
    left = integrity.checkpoint_steps(checkpoints)
    assert [step // (first // 2) for step in left] == [8, 11, 12]
    assert train(tmp_path / "run", "--epochs=14", unlimited) == 0
    assert 8 * first // 2 in integrity.checkpoint_steps(checkpoints)
    result = outcome(tmp_path / "run")[1]
    assert result["best"]["epoch"] == 2
    assert f"the best checkpoint, {first}, is lost" in result["missing"]
    assert f"{8 * first // 2} is the best of those that are left" in result["missing"]


def falling():
    """An `evaluation.mean` of a tenth less at each call, so that the first evaluation is the best one."""
    mean, evaluations = loop.ranking.mean_metrics, itertools.count()

    def fallen(*arguments):
        share = 0.9 ** next(evaluations)
        return {name: share * value for name, value in mean(*arguments).items()}

    return fallen


def test_a_run_that_lost_its_best_checkpoint_ends_and_says_what_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loop.ranking, "mean_metrics", falling())
    assert train(tmp_path / "run", "--epochs=4", *VALID) == 0
    best = outcome(tmp_path / "run")[1]["best"]["epoch"]
    checkpoints = tmp_path / "run" / "checkpoints"
    assert best == 2
    lost = best * integrity.checkpoint_steps(checkpoints)[-1] // 4
    (checkpoints / str(lost) / "meta" / "metadata").write_text("{")
    capsys.readouterr()
    assert train(tmp_path / "run", "--epochs=6", *VALID) == 0
    result = outcome(tmp_path / "run")[1]
    told = capsys.readouterr()
    assert result["best"]["epoch"] == best
    assert f"the best checkpoint, {lost}, is lost" in result["missing"]
    assert result["missing"] in told.err
    assert result["test"]["epoch"] != best
    assert f"epoch {result['test']['epoch']} (best left)" in told.out
    assert main.main(["evaluate", f"--workdir={tmp_path / 'run'}"]) == 0
    told = capsys.readouterr()
    assert result["missing"] in told.err
    assert f"epoch {result['test']['epoch']} (best left)" in told.out


def test_patience_stated_anew_within_an_epoch_finishes_that_epoch_and_evaluates_it(tmp_path, monkeypatch):
    """Stopped in the seventh epoch, evaluations after the best one, and then told to wait for a single one."""

    def progress(self, epoch, step, steps, loss):
        if epoch == 7 and step < steps:
            signal.raise_signal(signal.SIGTERM)

    slow = ["--learning_rate=1e-6", "--epochs=40"]
    monkeypatch.setattr(loop, "GROWTH", 1)  # every block is of one step
    monkeypatch.setattr(display.Display, "progress", progress)
    assert train(tmp_path / "run", *slow, "--early_stopping_patience=0") == 143
    assert outcome_of_stopped(tmp_path / "run")["step"] > 0
    monkeypatch.undo()
    assert train(tmp_path / "run", *slow, "--early_stopping_patience=1") == 0
    result = outcome(tmp_path / "run")[1]
    assert (result["status"], result["epochs"], result["step"], result["last"]["epoch"]) == ("completed", 7, 0, 7)


def test_a_checkpoint_that_the_first_process_does_not_see_is_refused(trained):
    checkpoints = trained / "checkpoints"
    newest = integrity.checkpoint_steps(checkpoints)[-1]
    seal = checkpoint.read_metadata(checkpoints, newest)["sha256"]
    assert (
        resume._read_agreed_metadata(checkpoints, resume.CheckpointInventory(newest, seal, [newest], [], []))["sha256"]
        == seal
    )
    with pytest.raises(InputError, match="another checkpoint than the first process sees"):
        resume._read_agreed_metadata(checkpoints, resume.CheckpointInventory(newest, "0" * 64, [newest], [], []))
    with pytest.raises(InputError, match="expected the checkpoint that the first process sees"):
        resume._read_agreed_metadata(checkpoints, resume.CheckpointInventory(newest + 1, seal, [newest + 1], [], []))


def test_a_process_that_sees_another_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(agreement, "SEEN_SECONDS", 0.2)
    monkeypatch.setattr(agreement.processes, "broadcast_from_first", lambda place, value: "the lock of elsewhere")
    with (
        pytest.raises(InputError, match="expected a folder that all processes see"),
        agreement.lock_across_processes(tmp_path),
    ):
        pass
