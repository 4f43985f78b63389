"""A short run of the fuzzer, and that it would notice."""

import fuzz
import pytest

from lgcn_jax.data import dialect


@pytest.mark.parametrize(("files", "folders"), [(300, 2), pytest.param(1000, 5, marks=pytest.mark.long)])
def test_damaged_files_and_folders_end_in_success_or_one_line(files, folders):
    found = fuzz.fuzz(files=files, folders=folders, seed=1_000_000)
    assert found["files"].total() == files
    assert min(found["files"]["read"], found["files"]["refused"]) > files / 10
    assert found["folders"].total() == folders


def test_an_exception_is_a_finding(monkeypatch):
    monkeypatch.setattr(dialect, "_guess_delimiter", lambda line: line[99999])
    with pytest.raises(AssertionError, match=r"the trial of seed \d+ failed"):
        fuzz.fuzz(files=30, folders=0, seed=7)
