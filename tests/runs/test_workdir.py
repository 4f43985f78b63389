"""Work folders by themselves: what is told where a file cannot be written, and of which commit they are."""

import os
import subprocess

import pytest

from lgcn_jax.errors import WriteError
from lgcn_jax.runs import workdir
from lgcn_jax.runs.workdir import RunFolder


def test_an_error_names_the_folder_and_the_file(small, tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(WriteError) as caught:
        RunFolder(tmp_path, small, {})
    assert str(caught.value) == f"--workdir={tmp_path} could not be written: Is a directory (config.json)"


def test_the_commit_is_told_without_touching_git_s_index(tmp_path, monkeypatch):
    def git(*command: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *who, *command], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    source, find = tmp_path / "source.py", workdir._git_commit.__wrapped__
    source.write_text("1")
    monkeypatch.setattr(workdir, "__file__", str(source))
    assert find() is None
    git("init", "--quiet")
    git("add", source.name)
    git("commit", "--quiet", "--message=one")
    commit = git("rev-parse", "HEAD").strip()
    os.utime(source, (1, 1))  # so that git would write its index anew, under a lock, if it might
    before = (tmp_path / ".git" / "index").stat().st_mtime_ns
    assert find() == commit
    source.write_text("2")
    assert find() == f"{commit}-dirty"
    assert (tmp_path / ".git" / "index").stat().st_mtime_ns == before
