"""A short run of the fuzzer, and that it would notice."""

import fuzz
import pytest

from lgcn_jax.data import dialect


def test_damaged_files_and_folders_end_in_success_or_one_line():
    found = fuzz.fuzz(files=1000, folders=5, seed=1_000_000)
    assert found["files"].total() == 1000
    assert min(found["files"]["read"], found["files"]["refused"]) > 100
    assert found["folders"].total() == 5


def test_an_exception_is_a_finding(monkeypatch):
    monkeypatch.setattr(dialect, "_delimiter", lambda line: line[99999])
    with pytest.raises(AssertionError, match=r"the trial of seed \d+ failed"):
        fuzz.fuzz(files=30, folders=0, seed=7)
