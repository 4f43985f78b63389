"""Two processes with four devices each, which meet over gloo on this machine."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from lgcn_jax import checkpoint, cli, processes
from lgcn_jax.errors import InputError

RUN = [
    *("--dataset=synthetic", "--num_users=300", "--num_items=199", "--num_interactions=5000", "--top_k=5"),
    *("--num_layers=2", "--embedding_dim=8", "--batch_size=256", "--eval_every=1", "--save_every=1"),
    *("--plateau_factor=0.5", "--plateau_patience=1"),
]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def started(folder, mesh, *more):
    """Both processes of a run; whatever happens, none is left."""
    together = f"--coordinator=127.0.0.1:{free_port()}", "--num_processes=2", f"--mesh={mesh}"
    command = [sys.executable, "-m", "lgcn_jax", "train", *RUN, f"--workdir={folder}", *together, *more]
    settings = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": settings}
    made = [subprocess.Popen([*command, f"--process_id={place}"], **pipes) for place in range(2)]
    try:
        yield made
    finally:
        for process in made:
            process.kill()
            process.communicate()


def rows(folder, split):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {row["epoch"]: row for row in map(json.loads, lines) if row["split"] == split}


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_run_of_two_processes_survives_the_loss_of_one_and_goes_on_in_one(tmp_path, capsys):
    folder = tmp_path / "run"
    with started(folder, "nodes:8", "--epochs=100000") as (first, second):
        wait_for(lambda: len(checkpoint.steps(folder / "checkpoints")) >= 2, first)
        second.kill()
        told = first.communicate(timeout=60)[0]
    # Our line where a collective fails first; where JAX's service notices first, it ends the process, and says why.
    ours = first.returncode == 1 and re.search(
        "another process of this run is gone .*; the same command continues", told
    )
    assert ours or (first.returncode == -signal.SIGABRT and "another task died" in told), told
    assert "Traceback" not in told
    done = max(rows(folder, "test"))
    epochs = f"--epochs={done + 2}"
    assert cli.main(["train", f"--workdir={folder}", epochs, "--mesh=data:1", "--quiet"]) == 0
    assert "continues after epoch" in capsys.readouterr().err
    assert cli.main(["train", *RUN, f"--workdir={tmp_path / 'one'}", epochs, "--quiet"]) == 0
    for split, name in (("train", "loss"), ("train", "grad_norm"), ("train", "learning_rate"), ("test", "recall@5")):
        found, expected = (rows(path, split) for path in (folder, tmp_path / "one"))
        assert list(found) == list(expected) == list(range(1, done + 3))
        for epoch, row in expected.items():
            assert found[epoch][name] == pytest.approx(row[name], rel=1e-3, abs=3e-3), (epoch, name)


def test_a_signal_to_any_process_ends_all(tmp_path):
    with started(tmp_path / "run", "data:2,nodes:4", "--epochs=100000") as (first, second):
        wait_for(lambda: (tmp_path / "run" / "metrics.jsonl").exists(), first)
        wait_for(lambda: rows(tmp_path / "run", "train"), first)
        second.terminate()
        assert "interrupted after epoch" in first.communicate(timeout=60)[0]
        second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (143, 143)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "interrupted"


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("127.0.0.1:1", "0", "0"), "--num_processes"),
        (("127.0.0.1:1", "2", "2"), "--process_id"),
        (("127.0.0.1:1", "two", "0"), "--num_processes"),
        (("auto", "", ""), "--coordinator"),
    ],
)
def test_what_cannot_be_joined_is_refused(arguments, flag):
    with pytest.raises(InputError, match=flag):
        processes.join(*arguments)


def test_flags_of_several_processes_are_refused_without_a_coordinator(tmp_path, capsys):
    assert cli.main(["train", *RUN, f"--workdir={tmp_path}", "--process_id=1"]) == 2
    assert "--process_id: found 1, expected nothing without --coordinator" in capsys.readouterr().err


def test_one_process_agrees_with_itself():
    assert processes.agreed(0.5) == 0.5
    assert processes.is_first()
