"""What Windows lacks is not needed: commands run without it, in a process from which it was taken before any import."""

import json
import os
import subprocess
import sys

import pytest

from lgcn_jax.devices import processes
from lgcn_jax.errors import InputError

WITHOUT = """
import os, signal, subprocess, sys
import psutil  # whose part for Linux needs them
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("O_CLOEXEC", "O_NOFOLLOW", "sched_getaffinity", "sysconf"):
    delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1"):
    delattr(signal, name)
"""
RUN = [
    *("--dataset=synthetic", "--num_users=60", "--num_items=40", "--num_interactions=600", "--top_k=5", "--quiet"),
    *("--num_layers=1", "--embedding_dim=4", "--batch_size=256"),
]


def without(body: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs Python code where these are missing; `import fcntl` fails, as does whatever uses them."""
    # A library of Orbax's says on Linux alone that its lock is a softer one without fcntl.
    command = [sys.executable, "-W", "ignore:only soft file lock is available", "-c", WITHOUT + body, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_a_run_is_trained_continued_and_evaluated(tmp_path, programs):
    folder = str(tmp_path / "run")
    body = """
from lgcn_jax import __main__  # which takes the signals that there are
from lgcn_jax.cli import main
*settings, programs, folder = sys.argv[1:]
for arguments in (["train", *settings, "--epochs=1"], ["train", *settings, "--epochs=2"], ["evaluate"]):
    if main.main([*arguments, programs, f"--workdir={folder}"]):
        sys.exit(1)
"""
    done = without(body, *RUN, programs, folder)
    assert (done.returncode, done.stderr) == (0, f"{folder}: continues after epoch 1\n")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "completed"
    assert not {".lock", ".owner"} & set(os.listdir(folder))


def test_a_folder_in_use_is_refused_there_too(tmp_path):
    body = f"""
from pathlib import Path
from lgcn_jax.errors import InputError
from lgcn_jax.runs import lock
with lock.hold_lock(Path({str(tmp_path)!r})):
    try:
        with lock.hold_lock(Path({str(tmp_path)!r})):
            pass
    except InputError as error:
        print(error)
"""
    done = without(body)
    assert (done.returncode, done.stderr) == (0, "")
    assert "found a folder in use by process " in done.stdout
    assert not os.listdir(tmp_path)


def test_several_processes_are_refused_on_windows(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(InputError, match=r"found 127\.0\.0\.1:1 on Windows, expected Linux or macOS"):
        processes.join("127.0.0.1:1", "2", "0")
