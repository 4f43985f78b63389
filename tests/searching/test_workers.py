"""The processes of a study: which live, and one at a time."""

import subprocess
import sys

import pytest

from lgcn_jax.errors import InputError
from lgcn_jax.searching import workers
from lgcn_jax.searching.workers import Workers, workers_folder

SIGNED_IN = """
import sys
from pathlib import Path
from lgcn_jax.searching.workers import Workers
with Workers(Path(sys.argv[1])) as us:
    print(us.name, flush=True)
    sys.stdin.read()
"""


def alive(us, name) -> bool:
    with us.exclusive():
        return us.is_alive(name)


def test_a_worker_lives_until_it_leaves(tmp_path):
    with Workers(tmp_path / "a.log") as first:
        with Workers(tmp_path / "a.log") as second:
            assert second.name != first.name
            assert alive(first, second.name)
            assert alive(second, first.name)
            assert alive(first, first.name)
        assert not alive(first, second.name)
    assert {path.name for path in workers_folder(tmp_path / "a.log").iterdir()} == {"turn"}


def test_a_killed_worker_is_dead_at_once(tmp_path):
    command = [sys.executable, "-c", SIGNED_IN, str(tmp_path / "a.log")]
    with (
        Workers(tmp_path / "a.log") as us,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other,
    ):
        name = other.stdout.readline().strip()
        assert alive(us, name)
        other.kill()
        other.wait()
        assert (workers_folder(tmp_path / "a.log") / name).exists()
        assert not alive(us, name)


def test_of_nobody_is_no_life(tmp_path):
    """A trial of which no worker is known was lost between two writes."""
    with Workers(tmp_path / "a.log") as us:
        assert not alive(us, None)
        assert not alive(us, "0" * 32)
    with Workers(None) as us:
        assert alive(us, us.name)
        assert not alive(us, None)


def test_two_never_have_a_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE_SECONDS", 0.1)
    with Workers(tmp_path / "a.log") as first, Workers(tmp_path / "a.log") as second:
        with (
            first.exclusive(),
            pytest.raises(InputError, match="a study that another worker has kept"),
            second.exclusive(),
        ):
            pass
        with second.exclusive():
            pass


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--study=.*a\.log: found a file that cannot be written \(Not a directory\)"):
        Workers(tmp_path / "file" / "a.log").__enter__()
