"""Programs that processes of tests share are whole ones, and are compiled by flags that XLA knows."""

import xla_flags
from compiled import Store
from jax._src import compilation_cache


def test_whole_entries_are_kept_and_lent_and_parts_of_one_are_not(tmp_path):
    entry = compilation_cache.compress_executable(bytes(range(256)) * 100)
    mine = Store(tmp_path / "store").lend(tmp_path / "mine")
    (mine / "whole-cache").write_bytes(entry)
    (mine / "cut-cache").write_bytes(entry[:-20])  # as a process leaves it that was killed
    Store(tmp_path / "store").keep(mine)
    theirs = Store(tmp_path / "store").lend(tmp_path / "theirs")
    assert {path.name: path.read_bytes() for path in theirs.iterdir()} == {"whole-cache": entry}


def test_flags_of_xla_are_those_that_this_version_has():
    assert xla_flags.is_known("xla_backend_optimization_level")
    assert not xla_flags.is_known("xla_backend_optimization")
    assert not xla_flags.is_known("xla_cpu_no_such_flag")
