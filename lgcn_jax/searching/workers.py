"""The processes that share a study: which of them live, and one at a time for what must not happen twice.

Beside the study's file is a folder, `.NAME.workers`, with locks that are taken for a moment, and a file for each
worker, which the worker keeps locked. The locks are the operating system's: those of a dead process are free at once.
The folder and the locks of moments stay, since one that is removed while somebody waits for it could be held twice.
"""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import filelock

from lgcn_jax.errors import InputError
from lgcn_jax.system import ending

TURN = "turn"  # the file that is locked for a moment
PATIENCE_SECONDS = 60.0  # with a worker whose turn it is, which takes milliseconds


class Workers:
    """This process among the workers of a study; a context manager that signs in and out.

    Args:
      study: the study's file, or None: there is no other worker.

    Raises:
      InputError: the folder of the study cannot be written (so do the methods).
    """

    def __init__(self, study: Path | None):
        self._study = study
        self.name = uuid.uuid4().hex

    def __enter__(self) -> "Workers":
        self._exits = contextlib.ExitStack()
        if self._study is not None:
            self._sign_in(self._study)
        return self

    def _sign_in(self, study: Path) -> None:
        self._folder = workers_folder(study)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self.exclusive():
                self._own = _file_lock(self._folder / self.name)
                self._own.acquire()
        except OSError as error:
            raise not_writable_error(study, error) from None
        self._exits.callback(self._sign_out)
        self._exits.enter_context(ending.cleanup(self._sign_out))

    def __exit__(self, *exception: object) -> None:
        self._exits.close()

    def _sign_out(self) -> None:
        (self._folder / self.name).unlink(missing_ok=True)
        self._own.release()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """While entered, no other worker is."""
        if self._study is None:
            yield
            return
        lock = _file_lock(self._folder / TURN)
        try:
            lock.acquire(timeout=PATIENCE_SECONDS, blocking=True)
        except filelock.Timeout:
            found = f"a study that another worker has kept for {PATIENCE_SECONDS:.0f} s"
            raise InputError(f"--study={self._study}", found, "one whose workers are alive") from None
        try:
            yield
        finally:
            lock.release()

    def is_alive(self, name: str | None) -> bool:
        """Whether the worker of this name has neither ended nor died; to be called in `exclusive`."""
        if name is None or self._study is None:
            return name == self.name
        path = self._folder / name
        if name == self.name or not path.exists():
            return name == self.name
        lock = _file_lock(path)
        try:
            lock.acquire()
        except filelock.Timeout:
            return True
        path.unlink(missing_ok=True)
        lock.release()
        return False


def workers_folder(study: Path) -> Path:
    """The folder of the locks of a study's workers."""
    return study.with_name(f".{study.name}.workers")


def not_writable_error(study: Path, error: OSError) -> InputError:
    """What is told where the study's file or its folder cannot be written."""
    found = f"a file that cannot be written ({error.strerror or error})"
    return InputError(f"--study={study}", found, "a file in a folder that can be written")


def _file_lock(path: Path) -> filelock.BaseFileLock:
    return filelock.FileLock(path, blocking=False, thread_local=False, fallback_to_soft=False)
