"""Runs that are stopped, damaged and continued: the end is that of the run that was left alone, bit for bit."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from lgcn_jax import checkpoint, cli, datasets, display, lock, signals, training, workdir
from lgcn_jax.errors import InputError
from lgcn_jax.problem import pose

WORLD = ["--dataset=synthetic", "--num_users=300", "--num_items=200", "--num_interactions=5000", "--top_k=5"]
MODEL = ["--num_layers=2", "--embedding_dim=8", "--batch_size=256", "--eval_every=2", "--save_every=1", "--quiet"]
PLATEAU = ["--plateau_factor=0.5", "--plateau_patience=0", "--early_stopping_patience=4", "--learning_rate=0.05"]


def train(folder, *more) -> int:
    return cli.main(["train", *WORLD, *MODEL, *PLATEAU, f"--workdir={folder}", *more])


def untimed(rows):
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


def outcome(folder):
    """metrics.jsonl and result.json without times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((folder / "result.json").read_text())
    result["best"], result["last"] = untimed([result["best"], result["last"]])
    return untimed(rows), untimed([result])[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The outcome of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(folder, "--epochs=6") == 0
    rows, result = outcome(folder)
    rates = {row["learning_rate"] for row in rows if row["split"] == "train"}
    assert len(rates) > 1  # the plateau acts, and so its state has to survive
    return rows, result


def test_a_run_continued_with_more_epochs_is_the_longer_run(tmp_path, whole, capsys):
    assert train(tmp_path / "run", "--epochs=2") == 0
    assert cli.main(["train", f"--workdir={tmp_path / 'run'}", "--epochs=6", "--quiet"]) == 0
    assert "continues after epoch 2" in capsys.readouterr().err
    assert outcome(tmp_path / "run") == whole


def test_a_run_stopped_within_an_epoch_goes_on_from_that_step(small, monkeypatch):
    """The listener stops after every block, and every block is one step."""
    monkeypatch.setattr(training, "FIRST_BLOCK", 1)
    problem = pose(dataclasses.replace(small, epochs=1, batch_size=1024), datasets.load(small))
    expected = training.fit(problem)

    class Impatient(training.Listener):
        def stopped(self):
            return True

    result, stops = training.fit(problem, Impatient()), 1
    while result.status == "interrupted":
        result, stops = training.fit(problem, Impatient(), result.snapshot), stops + 1
    assert stops >= problem.steps_per_epoch
    assert result.to_json()["parameters_sha256"] == expected.to_json()["parameters_sha256"]
    assert untimed([result.last]) == untimed([expected.last])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_that_then_continues(tmp_path, whole, number, status):
    def raise_once_begun():
        metrics = tmp_path / "run" / "metrics.jsonl"
        while not (metrics.exists() and metrics.read_text().count("\n") >= 1):
            pass
        signal.pthread_kill(threading.main_thread().ident, number)

    threading.Thread(target=raise_once_begun, daemon=True).start()
    found = train(tmp_path / "run", "--epochs=6")
    if found == status:  # the run may have been at its end already
        assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "interrupted"
        assert train(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == whole


@pytest.mark.parametrize("when", [1, 3])
def test_a_run_stopped_within_an_epoch_before_any_evaluation_continues(tmp_path, whole, when, monkeypatch):
    """After the first or the third block, which is of one step, and so in the first epoch."""
    monkeypatch.setattr(training, "FIRST_BLOCK", 1)
    monkeypatch.setattr(training, "BLOCK_SECONDS", 0.0)
    blocks = itertools.count(1)
    stop = lambda *arguments: signal.raise_signal(signal.SIGTERM) if next(blocks) == when else None  # noqa: E731
    monkeypatch.setattr(display.Display, "progress", stop)
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
    newest = checkpoints / str(checkpoint.steps(checkpoints)[-1])
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
    assert cli.main(["train", f"--workdir={tmp_path / 'run'}", "--epochs=6", "--quiet"]) == 0
    assert outcome(tmp_path / "run") == whole


def test_a_checkpoint_that_should_have_been_removed_is(tmp_path):
    """A kill may come between the saving of a checkpoint and the removal of an older one."""
    assert train(tmp_path / "run", "--epochs=4") == 0
    checkpoints = tmp_path / "run" / "checkpoints"
    shutil.copytree(checkpoints / str(checkpoint.steps(checkpoints)[0]), tmp_path / "old")
    assert train(tmp_path / "run", "--epochs=6") == 0
    kept = checkpoint.steps(checkpoints)
    shutil.copytree(tmp_path / "old", checkpoints / "51", dirs_exist_ok=True)
    assert train(tmp_path / "run") == 0
    assert checkpoint.steps(checkpoints) == kept


def test_a_run_without_a_whole_checkpoint_is_refused(tmp_path, capsys):
    assert train(tmp_path / "run", "--epochs=2") == 0
    for path in (tmp_path / "run" / "checkpoints").rglob("metadata"):
        path.write_text("{")
    capsys.readouterr()
    assert train(tmp_path / "run", "--epochs=4") == 2
    assert "no whole checkpoint" in capsys.readouterr().err
    assert train(tmp_path / "run", "--epochs=2", "--overwrite") == 0


def test_a_future_format_is_refused_by_number(tmp_path, capsys):
    assert train(tmp_path / "run", "--epochs=2") == 0
    for path in (tmp_path / "run" / "checkpoints").rglob("metadata"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 7}))
    capsys.readouterr()
    assert train(tmp_path / "run") == 2
    assert "checkpoint format 7, expected at most format 1" in capsys.readouterr().err


IMPATIENT = ["--early_stopping_patience=2", "--learning_rate=1e-6", "--epochs=40"]


def test_early_stopping_counts_on_where_it_stopped(tmp_path):
    """A table that hardly moves soon stops rising in recall; the count of evaluations since then survives."""
    assert train(tmp_path / "whole", *IMPATIENT) == 0
    rows, result = outcome(tmp_path / "whole")
    ended = result["epochs"]
    assert ended == result["best"]["epoch"] + 2 * 2 < 40  # two evaluations, two epochs apart, without a new best
    assert train(tmp_path / "run", *IMPATIENT, f"--epochs={ended - 2}") == 0  # one of the two
    assert train(tmp_path / "run", *IMPATIENT) == 0
    found, finished = outcome(tmp_path / "run")
    assert found == rows
    assert finished["parameters_sha256"] == result["parameters_sha256"]
    assert train(tmp_path / "run", *IMPATIENT, "--epochs=50") == 0  # stopped early: nothing is left to do
    assert outcome(tmp_path / "run")[1]["epochs"] == ended


HANG = 60  # seconds that nothing here takes
PROGRAM = """
import resource, sys
from lgcn_jax import cli
if limit := int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # a write beyond fails, as on a full disk
sys.argv[1:] = sys.argv[2:]
cli.run()
"""


def in_a_process(folder, *more, limit=0, devices=1):
    command = [sys.executable, "-c", PROGRAM, str(limit), "train", *WORLD, *MODEL, *PLATEAU, f"--workdir={folder}"]
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    return subprocess.run([*command, *more], env=os.environ | flags, capture_output=True, text=True, check=False)


def test_a_full_disk_ends_in_one_line_and_loses_no_checkpoint(tmp_path, whole):
    assert train(tmp_path / "run", "--epochs=2") == 0
    kept = checkpoint.steps(tmp_path / "run" / "checkpoints")
    full = in_a_process(tmp_path / "run", "--epochs=6", limit=4000)
    assert full.returncode == 1
    told = [line for line in full.stderr.splitlines() if not line.startswith(f"{tmp_path / 'run'}: ")]
    assert len(told) == 1
    assert "could not be written: File too large" in told[0]
    assert "the last checkpoint can be continued from" in told[0]
    assert set(kept) <= set(checkpoint.steps(tmp_path / "run" / "checkpoints"))
    assert train(tmp_path / "run", "--epochs=6") == 0
    assert outcome(tmp_path / "run")[0] == whole[0]


def test_a_run_moves_from_one_device_to_four_and_back_and_says_so(tmp_path, whole):
    for epochs, devices in ((2, 1), (4, 4), (6, 1)):
        done = in_a_process(tmp_path / "run", f"--epochs={epochs}", devices=devices)
        assert done.returncode == 0
        assert ("bits may differ" in done.stderr) == (epochs > 2)
    assert "'count': 4} -> " in done.stderr
    found, expected = outcome(tmp_path / "run"), whole
    assert found[0] == expected[0]
    assert found[1]["parameters_sha256"] == expected[1]["parameters_sha256"]


def test_a_second_interrupt_is_not_waited_for():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with signals.StopRequest() as request:
        request.patient = True
        signal.raise_signal(signal.SIGINT)
        assert request.signal == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL  # which ends the process at once
        signal.raise_signal(signal.SIGTERM)
        assert request.signal == signal.SIGINT  # the first one counts
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_second_interrupt_ends_a_process_that_would_wait(tmp_path):
    """A run that hears of the first SIGINT within a block, and would go on until the block is done."""
    program = f"""
import signal, time
from lgcn_jax import signals
with signals.StopRequest() as request:
    request.patient = True
    print("ready", flush=True)
    while not request.signal:
        time.sleep(0.01)
    print("noted", flush=True)
    time.sleep({HANG})
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        for said in ("ready", "noted"):
            assert process.stdout.readline().strip() == said
            process.send_signal(signal.SIGINT)
        assert process.wait(HANG / 2) == -signal.SIGINT


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


def test_fewer_epochs_than_done_are_refused(tmp_path, capsys):
    assert train(tmp_path / "run", "--epochs=4") == 0
    capsys.readouterr()
    assert train(tmp_path / "run", "--epochs=3") == 2
    assert "--epochs: found 3, expected at least 4" in capsys.readouterr().err


def test_a_folder_in_use_is_refused_with_its_owner(tmp_path):
    with (
        lock.hold(tmp_path / "run"),
        pytest.raises(InputError, match=r"in use by process \d+ on "),
        lock.hold(tmp_path / "run"),
    ):
        pass
    assert not (tmp_path / "run").exists()


def test_the_lock_of_a_dead_owner_is_taken_over(tmp_path):
    (tmp_path / lock.NAME).write_text('{"pid": 1, "host": "gone"}')
    with lock.hold(tmp_path):
        assert (tmp_path / lock.NAME).exists()
    assert not (tmp_path / lock.NAME).exists()


def test_a_run_whose_numbers_go_bad_keeps_its_checkpoints_and_says_so(tmp_path, capsys):
    status = cli.main(["train", *WORLD, *MODEL, f"--workdir={tmp_path}", "--learning_rate=1e38", "--clip_norm=0"])
    assert status == 1
    assert "try a lower --learning_rate" in capsys.readouterr().err
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "failed"
