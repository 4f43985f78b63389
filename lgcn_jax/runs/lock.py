"""One process at a time in a work folder: an advisory lock that dies with its owner."""

import contextlib
import errno
import functools
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from lgcn_jax.errors import InputError
from lgcn_jax.system import ending, paths
from lgcn_jax.system.files import write

NAME, OWNER = ".lock", ".owner"  # what is locked, which others cannot read everywhere, and who did so


@contextlib.contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Holds the folder, making it where it is missing; a folder made here that stays empty is removed again.

    The lock is the operating system's, so that of a dead process is free at once; beside it, a file tells others who
    holds it.

    Raises:
      InputError: another process holds the folder, or it cannot be written.
    """
    with _removing_empty_folders(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _acquire(folder)
        except OSError as error:
            raise _not_writable_error(folder, error) from None
        release = functools.partial(_release, folder, lock)
        try:
            with ending.cleanup(release):
                _write_owner(folder)
                yield
        finally:
            release()


def _release(folder: Path, lock: filelock.BaseFileLock) -> None:
    """Removes both files while the lock is still held: whoever takes it afterwards makes new ones."""
    (folder / OWNER).unlink(missing_ok=True)
    if isinstance(lock, filelock.UnixFileLock):  # the others remove their file themselves
        (folder / NAME).unlink(missing_ok=True)
    lock.release()


def lock_owner(folder: Path) -> str:
    """What the owner of the lock wrote about itself, as text; empty where there is none."""
    try:
        return (folder / OWNER).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@contextlib.contextmanager
def _removing_empty_folders(folder: Path) -> Iterator[None]:
    """Removes on leaving, however that comes, those of the folder and its parents that were missing and stay empty."""
    missing = [path for path in (folder, *folder.parents) if not paths.exists(path, f"--workdir={folder}")]
    try:
        with ending.cleanup(functools.partial(paths.remove_empty, missing)):
            yield
    finally:
        paths.remove_empty(missing)


def _acquire(folder: Path) -> filelock.BaseFileLock:
    """The lock, held. Any thread may release it: the one that ends the process does."""
    lock = filelock.FileLock(folder / NAME, blocking=False, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        found = f"a folder in use by {_describe_owner(folder)}"
        raise InputError(f"--workdir={folder}", found, "one that no run is using") from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f"--workdir={folder}", f"a link named {NAME}", "a folder without one") from None
    return lock


def _write_owner(folder: Path) -> None:
    """Writes who holds the lock."""
    signature = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    try:
        write(folder / OWNER, json.dumps(signature).encode())
    except OSError as error:
        raise _not_writable_error(folder, error) from None


def _describe_owner(folder: Path) -> str:
    """Who holds the lock, as a user is told."""
    try:
        signature = json.loads(lock_owner(folder))
        return f"process {signature['pid']} on {signature['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _not_writable_error(folder: Path, error: OSError) -> InputError:
    return InputError(f"--workdir={folder}", f"a folder that cannot be written ({error.strerror})", "a writable folder")
