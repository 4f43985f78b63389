"""Where a study is kept, and which files are none."""

import contextlib
import json
import logging
import sqlite3
import sys
import warnings

import pytest

from lgcn_jax.errors import InputError
from lgcn_jax.searching import storages
from lgcn_jax.searching.workers import Workers

optuna = storages.import_optuna()


@pytest.fixture
def journal(tmp_path):
    """A journal with a study and one trial, by a worker that has left."""
    path = tmp_path / "a.log"
    with Workers(path), storages.quiet_optuna():
        study = optuna.create_study(storage=storages.open_storage(optuna, path), study_name="a")
        study.tell(study.ask(), 1.0)
    return path


def trials(path) -> int:
    with Workers(path), storages.quiet_optuna():
        return len(optuna.load_study(storage=storages.open_storage(optuna, path), study_name="a").trials)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("study.txt", None, "found 'study.txt', expected a file name that ends in .log, .journal (a journal) or .db"),
        ("study.log", b"some text\n", "found a file that is no study, expected that of a search, or a new one"),
        ("study.log", b'{"a": 1}\n', "found a file that is no study"),
        ("study.log", b"[1]\n", "found a file that is no study"),
        ("study.db", b"some text\n", "found a file that is no study"),
        ("study.sqlite", b"op_code", "found a file that is no study"),
    ],
)
def test_a_file_that_is_something_else_is_refused_and_stays(name, content, line, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        storages.check_study_path(tmp_path / name)
    assert line in str(caught.value)
    assert content is None or (tmp_path / name).read_bytes() == content


def test_a_database_of_another_program_stays_as_it_is(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("CREATE TABLE theirs (a)")
    before = (tmp_path / "a.db").read_bytes()
    with pytest.raises(
        InputError, match=r"found a database of another program, with theirs, expected that of a search"
    ):
        storages.check_study_path(tmp_path / "a.db")
    assert (tmp_path / "a.db").read_bytes() == before


def test_a_folder_is_no_study(tmp_path):
    (tmp_path / "a.log").mkdir()
    with pytest.raises(InputError, match="found what is no file"):
        storages.check_study_path(tmp_path / "a.log")
    with pytest.raises(InputError, match="study: found 3, expected a path"):
        storages.check_study_path(3)


def test_a_new_file_and_one_with_a_study_are_taken(journal, tmp_path):
    assert storages.check_study_path(journal) == journal
    assert storages.check_study_path(str(tmp_path / "new.sqlite")) == tmp_path / "new.sqlite"


def test_a_line_that_a_power_cut_tore_is_removed(journal):
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"wor')
    assert storages.check_study_path(journal) == journal
    assert trials(journal) == 1
    assert journal.read_bytes() == whole


def test_a_journal_that_is_torn_in_its_middle_is_told(journal):
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"{\n", *lines[1:]]))
    with pytest.raises(InputError, match=r"a\.log: found a study that cannot be read \("):
        trials(journal)


def test_a_damaged_database_is_told(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(storages.SQLITE_MAGIC + bytes(5000))
    with pytest.raises(InputError, match=r"a\.db: found a study that cannot be read \("):
        storages.open_storage(optuna, path)


def test_nothing_is_left_of_the_silence():
    logger = logging.getLogger("optuna")
    before = logger.level
    with storages.quiet_optuna(), warnings.catch_warnings(record=True) as heard:
        warnings.warn("something experimental", stacklevel=1)
    assert logger.level == before
    assert not heard
    with pytest.warns(UserWarning, match="again"):
        warnings.warn("again", stacklevel=1)


def test_the_extra_is_told_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        InputError, match=r"optuna: found no such library, .* `pip install 'lgcn-jax\[search\]'` brings"
    ):
        storages.import_optuna()


def test_a_journal_is_plain_lines(journal):
    assert all("op_code" in json.loads(line) for line in journal.read_text().splitlines())
