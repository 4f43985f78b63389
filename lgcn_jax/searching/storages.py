"""Where a study is kept: Optuna's journal or an SQLite file, by the name of the file; or in memory."""

import contextlib
import json
import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from lgcn_jax.errors import InputError
from lgcn_jax.searching.workers import not_writable_error, workers_folder
from lgcn_jax.system import extras, paths

if TYPE_CHECKING:
    import optuna

EXTRA = "search"
JOURNAL, SQLITE = (".log", ".journal"), (".db", ".sqlite")
SQLITE_MAGIC = b"SQLite format 3\x00"
STUDIES = "studies"  # a table that Optuna makes
BUSY_SECONDS = 60  # for which SQLite waits until another worker has written


def import_optuna() -> Any:
    """The module optuna.

    Raises:
      InputError: it is not installed; the message names the extra that brings it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return extras.import_extra("optuna", EXTRA)


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """While entered, Optuna logs errors alone, and neither it nor what it is made of warns."""
    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def check_study_path(study: Any) -> Path:
    """The path of a study's file, if its name says what it is, and what is there can be one.

    Raises:
      InputError: it does not, or something else is there.
    """
    path = paths.as_path(study, "study")
    where = f"--study={study}"
    if path.suffix not in (*JOURNAL, *SQLITE):
        kinds = f"a file name that ends in {', '.join(JOURNAL)} (a journal) or {', '.join(SQLITE)} (SQLite)"
        raise InputError(where, repr(path.name), kinds)
    if not paths.exists(path, where):
        return path
    if not path.is_file():
        raise InputError(where, "what is no file", "the file of a study, or nothing")
    try:
        with path.open("rb") as file:
            first = file.readline(2**20)
    except OSError as error:
        raise InputError(where, f"a file that cannot be read ({error.strerror})", "the file of a study") from None
    if first and not (_is_record(first) if path.suffix in JOURNAL else first.startswith(SQLITE_MAGIC)):
        raise InputError(where, "a file that is no study", "that of a search, or a new one")
    if path.suffix in SQLITE and (tables := _table_names(path)) and STUDIES not in tables:
        raise InputError(where, f"a database of another program, with {tables[0]}", "that of a search, or a new one")
    return path


def _table_names(path: Path) -> list[str]:
    """The tables of an SQLite file; none of one that is damaged, which is told when it is opened."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)
        ) as database,
    ):
        return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return []


def _is_record(line: bytes) -> bool:
    """Whether this can be the first line of a journal; one that a power cut tore can be."""
    try:
        return not line.endswith(b"\n") or "op_code" in json.loads(line)
    except (ValueError, TypeError):
        return False


def open_storage(optuna: Any, path: Path) -> "optuna.storages.BaseStorage":
    """The storage in a file that `check_study_path` has passed, made where there is none.

    Raises:
      InputError: the file is damaged, of another version, or cannot be written.
    """
    try:
        if path.suffix in SQLITE:
            from sqlalchemy.pool import NullPool  # nothing stays open that nobody closes

            engine = {"connect_args": {"timeout": BUSY_SECONDS}, "poolclass": NullPool}
            return optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}", engine_kwargs=engine)
        journal = optuna.storages.journal
        lock = WriteLock(path)
        _cut_torn_line(path, lock)
        return optuna.storages.JournalStorage(journal.JournalFileBackend(str(path), lock))
    except OSError as error:
        raise not_writable_error(path, error) from None
    except Exception as error:  # of JSON, of SQLAlchemy or of Optuna itself, whose kinds say nothing to a user
        raise unusable_study_error(path, error) from None


def unusable_study_error(path: Path, error: Exception) -> InputError:
    """What is told where a library cannot do with a study's file."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"--study={path}", f"a study that cannot be read ({reason})", "that of a search")


class WriteLock:
    """Held while a line is added to a journal. Unlike Optuna's own, that of a killed process is free at once."""

    def __init__(self, path: Path):
        self._lock = filelock.FileLock(workers_folder(path) / "journal", fallback_to_soft=False)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _cut_torn_line(path: Path, lock: WriteLock) -> None:
    """Removes a last line without an end, which a power cut leaves: what it says was never confirmed, and the line
    that the next one would be added to could not be read."""
    if not path.exists() or _ends_in_newline(path):
        return
    lock.acquire()  # so that nobody is writing the line just now
    try:
        if not _ends_in_newline(path):
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    finally:
        lock.release()


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read(1) in (b"", b"\n")
