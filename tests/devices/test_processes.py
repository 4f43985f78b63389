"""Two processes that meet over gloo on this machine: what they agree on, and how one ends when the other is gone."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import kill_test
import pytest
from xla_flags import xla_flags

from lgcn_jax.cli import main
from lgcn_jax.devices import peers, processes
from lgcn_jax.errors import InputError
from lgcn_jax.runs import integrity
from lgcn_jax.system.signals import StopRequest

RUN = [
    *("--dataset=synthetic", "--num_users=300", "--num_items=199", "--num_interactions=5000", "--top_k=5"),
    *("--num_layers=2", "--embedding_dim=8", "--batch_size=256", "--eval_every=1", "--save_every=1"),
    *("--plateau_factor=0.5", "--plateau_patience=1"),
]
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
SOON = 300  # seconds within which the busiest machine does what takes a few


@contextlib.contextmanager
def two(command, environments=({}, {}), more=((), ()), devices=1):
    """Both processes of a command, with environment variables and arguments of their own; none is left."""
    made = []
    for place in range(2):
        settings = os.environ | {"XLA_FLAGS": xla_flags(devices)} | environments[place]
        made.append(subprocess.Popen([sys.executable, *command(place), *more[place]], env=settings, **PIPES))
    try:
        yield made
    finally:
        for process in made:
            process.kill()
            process.communicate()


# The same command, which is sooner sure that another process is gone, and that a folder does not show.
IMPATIENT = """
from lgcn_jax.devices import processes
from lgcn_jax.runs import agreement
processes.HEARTBEAT_SECONDS, agreement.SEEN_SECONDS = 6, 1.0
from lgcn_jax.__main__ import run
run()
"""


def started(folder, mesh, *arguments, program=("-m", "lgcn_jax"), **options):
    """Both processes of a training run."""
    address = f"127.0.0.1:{kill_test.free_port()}"
    together = f"--coordinator={address}", "--num_processes=2", f"--mesh={mesh}", "--process_timeout=120"
    command = [*program, "train", *RUN, f"--workdir={folder}", *together, *arguments]
    return two(lambda place: [*command, f"--process_id={place}"], **options)


MEETING = """
import sys
from lgcn_jax.devices import processes
from lgcn_jax.system import signals
place, address, limit, processes.HEARTBEAT_SECONDS = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
processes.join(address, "2", str(place), limit)
with processes.fail_together(signals.StopRequest()):
    {body}
"""


def meeting(body: str, limit: int = 60, heartbeat: int = 20):
    """Both processes of a small program, in which `place` is 0 or 1."""
    address = f"127.0.0.1:{kill_test.free_port()}"
    return two(lambda place: ["-c", MEETING.format(body=body), str(place), address, str(limit), str(heartbeat)])


def ends(made) -> list[tuple[int, str]]:
    """Exit status and stderr of both."""
    said = [process.communicate(timeout=SOON)[1] for process in made]
    return [(process.returncode, text) for process, text in zip(made, said, strict=True)]


def rows(folder, split):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {row["epoch"]: row for row in map(json.loads, lines) if row["split"] == split}


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(("lost", "devices"), [(1, 2), pytest.param(0, 1, marks=pytest.mark.long)])
def test_a_run_that_loses_a_process_ends_in_one_line_and_goes_on_in_one(tmp_path, capsys, lost, devices, of_each):
    folder = tmp_path / "run"
    mesh = f"nodes:{2 * devices}"
    with started(folder, mesh, "--epochs=100000", "--quiet", more=of_each, devices=devices) as made:
        wait_for(lambda: len(integrity.checkpoint_steps(folder / "checkpoints")) >= 2, made[1 - lost])
        made[lost].kill()
        told = made[1 - lost].communicate(timeout=SOON)[1]
    assert made[1 - lost].returncode == 1, told
    assert told.count("\n") == 1, told
    assert told.endswith(" of this run is gone; the same command continues\n")
    if not lost:
        return
    done = max(rows(folder, "test"))
    epochs = f"--epochs={done + 2}"
    assert main.main(["train", f"--workdir={folder}", epochs, "--mesh=data:1", "--quiet"]) == 0
    assert "continues after epoch" in capsys.readouterr().err
    assert main.main(["train", *RUN, f"--workdir={tmp_path / 'one'}", epochs, "--quiet"]) == 0
    for split, name in (("train", "loss"), ("train", "grad_norm"), ("train", "learning_rate"), ("test", "recall@5")):
        found, expected = (rows(path, split) for path in (folder, tmp_path / "one"))
        assert list(found) == list(expected) == list(range(1, done + 3))
        for epoch, row in expected.items():
            assert found[epoch][name] == pytest.approx(row[name], rel=1e-3, abs=3e-3), (epoch, name)


def test_a_signal_to_any_process_ends_all(tmp_path, of_each):
    endless = "--epochs=100000"
    with started(tmp_path / "run", "data:2,nodes:2", endless, more=of_each, devices=2) as (first, second):
        wait_for(lambda: (tmp_path / "run" / "metrics.jsonl").exists(), first)
        wait_for(lambda: rows(tmp_path / "run", "train"), first)
        second.terminate()
        told = first.communicate(timeout=SOON)[0]
        assert "interrupted after epoch" in told
        assert "Gloo" not in told
        assert second.communicate(timeout=SOON)[0] == ""  # the first one alone tells what happens
    assert (first.returncode, second.returncode) == (143, 143)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "interrupted"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"environments": ({}, {"JAX_THREEFRY_PARTITIONABLE": "0"})}, "jax_threefry_partitionable"),
        ({"more": (("--profile",), ())}, "--profile"),
        pytest.param(
            {"environments": ({}, {"JAX_DEFAULT_MATMUL_PRECISION": "bfloat16"})},
            "jax_default_matmul_precision",
            marks=pytest.mark.long,
        ),
    ],
)
def test_processes_that_would_compute_different_things_are_refused(tmp_path, options, named):
    with started(tmp_path / "run", "data:2", "--epochs=2", **options) as made:
        for status, said in ends(made):
            assert status == 2
            assert said.startswith(f"{named}: found ")
            assert said.endswith("expected the same in all of them\n")
            assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_processes_that_see_different_folders_are_refused(tmp_path):
    more = ((f"--workdir={tmp_path / 'one'}",), (f"--workdir={tmp_path / 'other'}",))
    with started(tmp_path, "data:2", "--epochs=2", more=more, program=("-c", IMPATIENT)) as made:
        (first, _), (second, said) = ends(made)
    assert (first, second) == (1, 2)
    assert "expected a folder that all processes see" in said


def test_processes_exchange_texts_and_numbers():
    body = """
    assert processes.all_gather("here", "x" * place) == ["", "x"]
    assert processes.max_over_processes("at a number", place) == 1
    assert processes.min_over_processes("at a number", place) == 0
    assert processes.broadcast_from_first("at a value", lambda: {"a": [place]}) == {"a": [0]}
    processes.require_same("at the same", {"--a": 1})
"""
    with meeting(body) as made:
        assert ends(made) == [(0, ""), (0, "")]


def test_what_the_first_process_refuses_all_refuse():
    body = """
    from lgcn_jax.errors import InputError
    def refuse(): raise InputError("--a", place, "one")
    processes.broadcast_from_first("at a value", refuse)
"""
    with meeting(body) as made:
        assert ends(made) == [(2, "--a: found 0, expected one\n")] * 2


def test_what_one_process_cannot_read_is_known_to_all():
    body = """
    from lgcn_jax.runs import integrity, scoring
    def read():
        if place: raise integrity.DamagedError("torn")
        return 7
    assert scoring._read_on_all("at a checkpoint", read) == (None if place else 7, "torn")
    assert scoring._read_on_all("at a checkpoint", lambda: place) == (place, "")
"""
    with meeting(body) as made:
        assert ends(made) == [(0, ""), (0, "")]


def test_processes_that_come_to_different_places_say_where():
    with meeting("processes.all_gather(['here', 'there'][place])") as made:
        for status, said in ends(made):
            assert status == 1
            assert said == (
                "the processes of this run have come apart (process 0 is here; process 1 is there);"
                " the same command continues\n"
            )


def test_a_wait_for_a_process_that_does_not_come_ends_and_names_it():
    body = "import time; place and time.sleep(60); processes.all_gather('before the first step')"
    with meeting(body, limit=3) as made:
        said = made[0].communicate(timeout=SOON)[1]
        assert made[0].returncode == 1
    assert said == "process 0 waited 3 s before the first step for process 1; the same command continues\n"


def test_a_wait_inside_a_library_ends_at_the_limit():
    body = "import time\n    with processes.time_limit('at a collective'): time.sleep(60)"
    with meeting(body, limit=3) as made:
        for place, (status, said) in enumerate(ends(made)):
            assert status == 1
            assert said == (
                f"process {place} was not done at a collective: another process does not answer, or 3 s are too few"
                " (--process_timeout); the same command continues\n"
            )


FIRST_IS_GONE = 1, "the first process of this run is gone; the same command continues\n"


def test_a_process_that_jax_aborts_ends_in_our_line():
    """The first process is gone while the second one neither meets it nor computes with it."""
    body = "import os, time; time.sleep(60) if place else (time.sleep(1), os._exit(9))"
    with meeting(body) as made:
        assert ends(made)[1] == FIRST_IS_GONE


def test_a_process_that_is_lost_while_the_other_looks_for_devices_ends_it_in_our_line():
    """JAX waits there for the others, under a lock that whoever asks JAX for this process's number would wait for."""
    looking = """
import os, sys, time
from lgcn_jax.devices import mesh, processes
from lgcn_jax.system.signals import StopRequest
place = int(sys.argv[1])
processes.join(sys.argv[2], "2", str(place), "60")
with processes.fail_together(StopRequest()):
    mesh.require_devices() if place else (time.sleep(1), os._exit(9))
"""
    address = f"127.0.0.1:{kill_test.free_port()}"
    with two(lambda place: ["-c", looking, str(place), address]) as made:
        assert ends(made)[1] == FIRST_IS_GONE


def test_an_error_of_one_process_ends_all_in_a_line_each():
    body = "from lgcn_jax.errors import InputError\n    if place: raise InputError('--a', 1, 2)\n"
    with meeting(body + "    processes.all_gather('here')", heartbeat=6) as made:
        (first, told), (second, said) = ends(made)
    assert (second, said) == (2, "--a: found 1, expected 2\n")
    lost = "(process 1|another process)"  # JAX's service does not always say which
    assert first == 1
    assert re.fullmatch(f"{lost} of this run is gone; the same command continues\n", told)


@pytest.mark.parametrize(("place", "found"), [(1, "nobody answers there"), (0, "not all 2 processes have come")])
def test_processes_that_do_not_meet_end_in_one_line(tmp_path, place, found):
    address = f"127.0.0.1:{kill_test.free_port()}"
    alone = f"--coordinator={address}", "--num_processes=2", f"--process_id={place}", "--process_timeout=3"
    command = [sys.executable, "-m", "lgcn_jax", "train", *RUN, f"--workdir={tmp_path / 'run'}", *alone]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SOON)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"--coordinator: found {address} (after 3 s {found}), expected HOST:PORT")


@contextlib.contextmanager
def joining(port: int, place: int):
    """Entered when process `place` waits for the others: the first one listens, the second one knocks here."""
    if place == 1:
        with socket.create_server(("127.0.0.1", port)) as server:
            server.settimeout(SOON)
            with server.accept()[0]:
                yield
        return
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.1)
    yield


@pytest.mark.parametrize("place", [0, 1])
def test_an_interrupt_while_waiting_for_the_others_is_answered(tmp_path, place):
    port = kill_test.free_port()
    alone = f"--coordinator=127.0.0.1:{port}", "--num_processes=2", f"--process_id={place}"
    command = [sys.executable, "-m", "lgcn_jax", "train", *RUN, f"--workdir={tmp_path / 'run'}", *alone]
    with subprocess.Popen(command, **PIPES) as process, joining(port, place):
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        said = process.communicate(timeout=SOON)[1]
    assert (process.returncode, said) == (130, "interrupted before training began\n")
    assert time.monotonic() - began < 20  # a second, where nothing else runs


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("127.0.0.1:1", "0", "0"), "--num_processes"),
        (("127.0.0.1:1", "2", "2"), "--process_id"),
        (("127.0.0.1:1", "two", "0"), "--num_processes"),
        (("127.0.0.1:1", "2", "0", "soon"), "--process_timeout"),
        (("auto", "", ""), "--coordinator"),
        (("auto", "2", ""), "--num_processes"),
        (("auto", "", "1"), "--process_id"),
    ],
)
def test_what_cannot_be_joined_is_refused(arguments, flag):
    with pytest.raises(InputError, match=f"{flag}: found"):
        processes.join(*arguments)


def test_flags_of_several_processes_are_refused_without_a_coordinator(tmp_path, capsys):
    assert main.main(["train", *RUN, f"--workdir={tmp_path}", "--process_id=1"]) == 2
    assert "--process_id: found 1, expected nothing without --coordinator" in capsys.readouterr().err


def test_one_process_agrees_with_itself():
    assert (processes.max_over_processes("here", 5), processes.min_over_processes("here", 5)) == (5, 5)
    assert processes.broadcast_from_first("here", lambda: (1, 2)) == (1, 2)
    assert processes.is_primary()
    with (
        processes.fail_together(StopRequest()),
        pytest.raises(ZeroDivisionError),
        processes.fail_together(StopRequest()),
    ):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("UNAVAILABLE: Task 1 heartbeat timeout.", "process 1 of this run is gone"),
        ("Gloo all-reduce failed: Connection closed by peer", "another process of this run is gone"),
        ("Gloo: timed out waiting", "another process of this run did not answer in time"),
        (
            "Gloo context initialization failed: connection refused\nat tcp.cc",
            "another process of this run is gone or cannot be reached"
            " (Gloo context initialization failed: connection refused)",
        ),
    ],
)
def test_what_became_of_another_process_is_told(reason, told):
    assert peers.peer_lost_message(reason) == f"{told}; the same command continues"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer [127.0.0.1]:1"), True),
        (jax.errors.JaxRuntimeError("UNAVAILABLE: Task 1 heartbeat timeout."), True),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory for gloo"), False),
        (OSError(28, "No space left on device"), False),
        (KeyError("row"), False),
    ],
)
def test_errors_of_a_lost_process_are_known(error, expected):
    assert peers.is_peer_lost(error) == expected
