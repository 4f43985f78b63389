"""Raw ids beside a checkpoint: exact, whole, and refused where they are something else."""

import numpy as np
import pyarrow
import pytest

from lgcn_jax.errors import InputError
from lgcn_jax.runs import raw_ids
from lgcn_jax.runs.raw_ids import RawIds
from lgcn_jax.system import files

INTEGERS = RawIds(np.array([-3, 5, 2**31 - 1], np.int32))
TEXTS = RawIds(
    np.array(["", "007", "7", "a\nb", "zoë", "\U0001f3ac"], object), np.array([None, "x", "", None, "ß", "y"], object)
)


@pytest.mark.parametrize("ids", [INTEGERS, RawIds(np.array([0, 2**62])), TEXTS])
def test_what_is_written_is_read(ids, tmp_path):
    raw_ids.write_raw_ids(tmp_path / "ids", ids, INTEGERS)
    users, items = raw_ids.read_raw_ids(tmp_path / "ids")
    assert (users.ids.dtype, users.ids.tolist()) == (ids.ids.dtype, ids.ids.tolist())
    assert (users.titles is None) == (ids.titles is None)
    assert ids.titles is None or users.titles.tolist() == ids.titles.tolist()
    assert items.ids.tolist() == INTEGERS.ids.tolist()


def test_other_programs_read_them(tmp_path):
    raw_ids.write_raw_ids(tmp_path / "ids", TEXTS, INTEGERS)
    with pyarrow.ipc.open_file(str(tmp_path / "ids" / "users.arrow")) as file:
        table = file.read_all()
    assert table.column_names == ["id", "title"]
    assert table["id"].to_pylist() == TEXTS.ids.tolist()


def test_what_is_there_stays_where_it_cannot_be_replaced(tmp_path, monkeypatch):
    raw_ids.write_raw_ids(tmp_path / "ids", TEXTS, INTEGERS)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        raw_ids.write_raw_ids(tmp_path / "ids", INTEGERS, INTEGERS)
    assert raw_ids.read_raw_ids(tmp_path / "ids")[0].ids.tolist() == TEXTS.ids.tolist()
    assert sorted(path.name for path in (tmp_path / "ids").iterdir()) == ["items.arrow", "users.arrow"]


def of(table: pyarrow.Table) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "found no such file"),
        (b"", "found a file that cannot be read"),
        (b"ARROW1 and then something else", "found a file that cannot be read"),
        (of(pyarrow.table({"name": [1]})), "found no column id"),
        (of(pyarrow.table({"id": [2, 1]})), "found no ascending ids"),
        (of(pyarrow.table({"id": [1.0, 2.0]})), "found no ascending ids"),
    ],
)
def test_what_holds_no_ids_is_refused(content, text, tmp_path):
    raw_ids.write_raw_ids(tmp_path / "ids", INTEGERS, INTEGERS)
    path = tmp_path / "ids" / "items.arrow"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError) as error:
        raw_ids.read_raw_ids(tmp_path / "ids")
    assert str(error.value).startswith(f"{path}: {text}")
    assert "\n" not in str(error.value)
