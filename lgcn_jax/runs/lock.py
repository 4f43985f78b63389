"""One process at a time in a work folder: an advisory lock that dies with its owner."""

import contextlib
import errno
import fcntl
import functools
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from lgcn_jax.errors import InputError
from lgcn_jax.system import ending, paths

NAME = ".lock"


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Holds the folder, making it where it is missing; a folder made here that stays empty is removed again.

    The lock is the kernel's (`flock`), so that of a dead process is free at once; the file's content only tells
    others who holds it.

    Raises:
      InputError: another process holds the folder, or it cannot be written.
    """
    with _made(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _acquire(folder)
        except OSError as error:
            found = f"a folder that cannot be written ({error.strerror})"
            raise InputError(f"--workdir={folder}", found, "a writable folder") from None
        try:
            with ending.cleanup(functools.partial(_release, folder)):
                yield
        finally:
            _release(folder)
            os.close(lock)


def _release(folder: Path) -> None:
    (folder / NAME).unlink(missing_ok=True)


def owner(folder: Path) -> str:
    """What the file of the lock says of its owner, as text; empty where there is none."""
    try:
        return (folder / NAME).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Removes on leaving, however that comes, those of the folder and its parents that were missing and stay empty."""
    missing = [path for path in (folder, *folder.parents) if not paths.exists(path, f"--workdir={folder}")]
    try:
        with ending.cleanup(functools.partial(paths.remove_empty, missing)):
            yield
    finally:
        paths.remove_empty(missing)


def _acquire(folder: Path) -> int:
    """The file descriptor of the lock, held and signed."""
    while True:
        lock = _open(folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(lock)
            os.close(lock)
            raise InputError(f"--workdir={folder}", f"a folder in use by {owner}", "one that no run is using") from None
        if _is_still(folder / NAME, lock):
            break
        os.close(lock)  # its owner let go, and removed the file, between our opening and locking it
    os.ftruncate(lock, 0)
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    os.write(lock, json.dumps(owner).encode())
    return lock


def _open(folder: Path) -> int:
    """Opens the file of the lock, and never one elsewhere to which a link of its name leads."""
    try:
        return os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f"--workdir={folder}", f"a link named {NAME}", "a folder without one") from None


def _is_still(path: Path, lock: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(lock))
    except FileNotFoundError:
        return False


def _owner(lock: int) -> str:
    try:
        owner = json.loads(os.read(lock, 1000))
        return f"process {owner['pid']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
