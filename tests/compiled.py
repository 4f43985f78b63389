"""Compiled programs that tests share: most of a test's time is compilation."""

import os
import time
from pathlib import Path

from jax._src import compilation_cache  # which alone can tell a whole entry from a part of one

WEEK = 7 * 24 * 3600  # seconds


class Store:
    """A folder of compiled programs, for all runs of the tests on this machine and all their processes.

    JAX writes an entry of its cache in place, for one process at a time. So nobody compiles into the store: each
    process is lent the programs of the store in a folder of its own, as links, and what it adds is kept afterwards, an
    entry at a time, if it is whole. An entry's name is a hash of the program, of the flags and of the version.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._forget(time.time() - WEEK)

    def lend(self, folder: Path) -> Path:
        """Puts the programs of the store into a folder, which is returned."""
        folder.mkdir(parents=True, exist_ok=True)
        _link(_entries(self._folder) - _entries(folder), self._folder, folder)
        return folder

    def keep(self, folder: Path) -> None:
        """Puts into the store what a folder has more."""
        new = _entries(folder) - _entries(self._folder)
        _link({name for name in new if _is_whole(folder / name)}, folder, self._folder)

    def _forget(self, before: float) -> None:
        """Removes what was compiled before a moment: programs change, and most are never asked for again."""
        for entry in os.scandir(self._folder):
            if entry.stat().st_mtime < before:
                Path(entry).unlink(missing_ok=True)


def _entries(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder)}


def _link(names: set[str], source: Path, target: Path) -> None:
    for name in names:
        try:
            os.link(source / name, target / name)
        except (FileExistsError, FileNotFoundError):  # another process was faster
            continue


def _is_whole(entry: Path) -> bool:
    """Whether the process that wrote it was not stopped meanwhile."""
    try:
        compilation_cache.decompress_executable(entry.read_bytes())
    except Exception:  # of whichever compression JAX has found
        return False
    return True
