"""Signals: noted and never raised, heard while the main thread is inside a library, and answered in one line."""

import signal
import subprocess
import sys
import threading

import pytest
import stop_test

from lgcn_jax.system import signals
from lgcn_jax.system.signals import Stopped, StopRequest

SOON = 120  # seconds within which a busy machine does what takes one
# A library that runs for minutes: it gives other threads their turn, and Python's signal handlers none.
INSIDE_A_LIBRARY = """
import hashlib, signal, sys
from lgcn_jax.system import signals
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which whoever runs the tests may ignore
request = signals.StopRequest(ends_process=True).__enter__()
{prepare}
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


def test_a_signal_is_noted_and_looked_for():
    before = [signal.getsignal(number) for number in signals.NUMBERS]
    with StopRequest() as request:
        request.check()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert (request.signal, request.status) == (signal.SIGTERM, 143)  # the first one counts
        for look in (request.check, request.begin_training):
            with pytest.raises(Stopped):
                look()
    assert [signal.getsignal(number) for number in signals.NUMBERS] == before


def inside_a_library(prepare: str, *numbers: int) -> tuple[int, str]:
    """The exit status, and what was said, of a process that gets the signals inside a library."""
    command = [sys.executable, "-c", INSIDE_A_LIBRARY.format(prepare=prepare)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        for number in numbers:
            process.send_signal(number)
            threading.Event().wait(0.5)
        try:
            return process.wait(SOON), process.stderr.read()
        finally:
            process.kill()


def test_a_hangup_is_answered_unless_nohup_has_switched_it_off():
    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler, expected in ((signal.SIG_DFL, signal.SIGHUP), (signal.SIG_IGN, 0)):
            signal.signal(signal.SIGHUP, handler)
            with StopRequest() as request:
                signal.raise_signal(signal.SIGHUP)
                assert request.signal == expected
            assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_process_with_nothing_to_lose_ends_in_one_line_and_cleans_up(number, status, tmp_path):
    (tmp_path / "file").write_text("")
    prepare = (
        f"from lgcn_jax.system import ending; import os; ending._cleanups.append(lambda: os.unlink('{tmp_path}/file'))"
    )
    assert inside_a_library(prepare, number) == (status, "interrupted\n")
    assert not (tmp_path / "file").exists()


def test_a_second_interrupt_ends_a_process_that_has_something_to_save():
    status, said = inside_a_library("request.begin_training()", signal.SIGINT, signal.SIGINT)
    assert (status, said.count("\n")) == (130, 1)
    assert said.startswith("interrupted at once")


def test_a_first_signal_is_waited_with_where_there_is_something_to_save():
    prepare = "request.begin_training(); import os, threading; threading.Timer(4, os._exit, (7,)).start()"
    assert inside_a_library(prepare, signal.SIGTERM) == (7, "")


WORLD = ["--dataset=synthetic", "--num_users=3000", "--num_items=2000", "--num_interactions=100000", "--top_k=5"]
LONG = [*WORLD, "--num_layers=2", "--embedding_dim=8", "--batch_size=64", "--eval_every=1", "--epochs=100000"]


@pytest.mark.parametrize(
    ("number", "moment"), [(signal.SIGINT, 1.0), (signal.SIGTERM, 1.5), (signal.SIGINT, 3.0), (signal.SIGTERM, 8.0)]
)
def test_a_signal_at_any_moment_ends_a_run_in_one_line(tmp_path, number, moment):
    folder = tmp_path / "run"
    seconds, where, wrong = stop_test.stop(stop_test.begin(folder, LONG), folder, number, moment)
    assert not wrong, where
    assert seconds < SOON
