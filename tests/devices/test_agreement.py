"""Processes that would make different runs of one command are refused before anything is written."""

import os
import socket
import subprocess
import sys

import pytest
from xla_flags import xla_flags

SETTINGS = [
    *("--format=pairs", "--num_layers=1", "--embedding_dim=4", "--batch_size=16", "--epochs=1", "--top_k=2"),
    *("--mesh=nodes:2", "--num_processes=2"),
]


def run_together(folder, *of_each: list[str]) -> list[tuple[int, str]]:
    """Exit status and stderr of two processes, each with flags of its own, in a folder of its own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [sys.executable, "-m", "lgcn_jax", "train", "--dataset=pairs", *SETTINGS, f"--workdir={folder / 'run'}"]
    place = {"env": os.environ | {"XLA_FLAGS": xla_flags(), "JAX_PLATFORMS": "cpu"}}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    processes = []
    try:
        for number, flags in enumerate(of_each):
            own = [f"--coordinator={address}", f"--process_id={number}", *flags]
            processes.append(subprocess.Popen([*command, *own], cwd=folder / str(number), **pipes, **place))
        said = [process.communicate(timeout=300)[1] for process in processes]
        return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture
def folder(tmp_path):
    """Each process finds a file `pairs` where it runs."""
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        rows = [f"{user} {item}\n" for user in range(8) for item in range(8) if (user + item) % 3]
        (tmp_path / str(number) / "pairs").write_text("".join(rows))
    return tmp_path


def refused(folder, flag, *of_each) -> None:
    ends = run_together(folder, *of_each)
    assert [status for status, _ in ends] == [2, 2], ends
    assert all(text.startswith(f"{flag}: found ") and text.count("\n") == 1 for _, text in ends), ends
    assert not (folder / "run" / "config.json").exists()


def test_processes_with_other_settings_are_refused_by_the_flag(folder):
    refused(folder, "--learning_rate", ["--learning_rate=0.1"], ["--learning_rate=0.2"])


def test_processes_with_other_data_are_refused(folder):
    """One pair more in the file of the second one: as many users and items, other steps."""
    with (folder / "1" / "pairs").open("a") as file:
        file.write("0 3\n")
    refused(folder, "--dataset", [], [])


def test_processes_of_one_command_make_a_run(folder, of_each):
    """What is refused above is refused for its difference alone."""
    assert [status for status, _ in run_together(folder, *of_each)] == [0, 0]
    assert (folder / "run" / "result.json").exists()
