"""Results as tables: in memory by the libraries that people use, and as files."""

import builtins
import csv
import json

import numpy as np
import pandas
import polars
import pytest
from pyarrow import parquet

import lgcn_jax as lg
from lgcn_jax.serving import tables

SCORES = np.array([[0.1, 1e-7], [2.5, -np.inf]], np.float32)
ROWS = [
    ("u,1", "i1", np.float32(0.1), 1, 'The "Third"'),
    ("u,1", "007", np.float32(1e-7), 2, None),
    ("ü2", "i1", np.float32(2.5), 1, 'The "Third"'),
]
NAMES = ["user", "item", "score", "rank", "title"]


@pytest.fixture
def found():
    ids = np.array([["i1", "007"], ["i1", "007"]], object)
    return lg.Recommendations(
        np.array(["u,1", "ü2"], object), ids, SCORES, np.where(ids == "i1", 'The "Third"', None).astype(object)
    )


def test_frames_have_a_row_for_each_recommendation(found):
    arrow, frame, polar = found.to_arrow(), found.to_pandas(), found.to_polars()
    assert isinstance(frame, pandas.DataFrame)
    assert isinstance(polar, polars.DataFrame)
    assert arrow.column_names == list(frame.columns) == polar.columns == NAMES
    assert list(zip(*arrow.to_pydict().values(), strict=True)) == polar.rows() == ROWS
    assert [tuple(row) for row in frame.astype(object).where(frame.notna(), None).to_numpy()] == ROWS
    assert polar.schema["score"] == polars.Float32
    assert frame["rank"].dtype == np.int32


def test_ids_that_are_integers_stay_so():
    found = lg.Recommendations(np.array([7], np.int32), np.array([[2**40]]), np.array([[1]], np.float32))
    assert (found.to_pandas()["user"].dtype, found.to_polars()["item"].dtype) == (np.int32, polars.Int64)
    assert found.to_arrow()["item"].to_pylist() == [2**40]
    assert "title" not in found.to_arrow().column_names


@pytest.mark.parametrize(("package", "convert"), [("pandas", "to_pandas"), ("polars", "to_polars")])
def test_a_library_that_is_missing_is_named(found, package, convert, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(name, *arguments, **more)

    monkeypatch.setattr("importlib.import_module", lambda name: without(name))
    with pytest.raises(lg.InputError, match=rf"{package}: found no such library, .*pip install 'lgcn-jax\[frames\]'"):
        getattr(found, convert)()


def test_files_hold_the_rows(found, tmp_path):
    for name in ("rows.csv", "rows.jsonl", "rows.parquet"):
        found.write(tmp_path / name)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        heading, *rows = csv.reader(file)
    assert heading == NAMES
    assert [(*row[:2], np.float32(row[2]), int(row[3]), row[4] or None) for row in rows] == ROWS
    objects = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [tuple(row.values()) for row in objects] == [(*row[:2], float(str(row[2])), *row[3:]) for row in ROWS]
    assert [list(row) for row in objects] == [NAMES] * 3
    assert parquet.read_table(tmp_path / "rows.parquet").equals(found.to_arrow())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "rows.jsonl", "rows.parquet"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.txt", "found a name that ends in .txt, expected one in .csv, .jsonl, .parquet"),
        ("rows", "found a name that ends in nothing"),
        ("folder.csv", "found a folder, expected a file"),
        ("missing/rows.csv", "found a place where no file can be written (No such file or directory)"),
        ("file.csv/rows.csv", "found a place where no file can be written (Not a directory)"),
        ("nul\0.csv", "found a path that cannot be used"),
    ],
)
def test_a_place_for_no_file_is_refused(found, name, text, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file.csv").write_text("mine")
    with pytest.raises(lg.InputError) as error:
        found.write(tmp_path / name)
    assert text in str(error.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file.csv", "folder.csv"]


def test_a_full_disk_leaves_what_was_there(found, tmp_path, monkeypatch):
    found.write(tmp_path / "rows.csv")
    before = (tmp_path / "rows.csv").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables.files.os, "fsync", full)
    with pytest.raises(lg.WriteError, match="could not be written: No space"):
        found.write(tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
