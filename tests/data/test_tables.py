"""Tables of events in any dress: the same events from each, ids exactly as written, errors that name the line."""

import csv
import gzip
import io
import uuid

import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lgcn_jax as lg
from lgcn_jax.data import files
from lgcn_jax.data.events import Events
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError

EVENTS = [("ann", "B01"), ("ann", "007"), ("bob", "7"), ("bob", "tea, green"), ("zoë", 'x "y" z')]


def read(path, content: bytes | str, **settings) -> Events:
    (path / "file").write_bytes(content.encode() if isinstance(content, str) else content)
    return files.read_file(path / "file", DataSettings(**settings))


def pairs(found: Events) -> list[tuple]:
    return list(zip(*(column.values[column.codes].tolist() for column in (found.users, found.items)), strict=True))


def refusal(path, content: bytes | str, **settings) -> str:
    with pytest.raises(InputError) as error:
        read(path, content, **settings)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "")


def written(rows, delimiter: str = ",", header=("user_id", "item_id")) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()


def compressed(kind: str, data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, kind) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_quoted_fields_may_hold_separators_and_quotes(tmp_path, delimiter):
    assert pairs(read(tmp_path, written(EVENTS, delimiter))) == EVENTS


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: compressed("zstd", text.encode()),
        lambda text: compressed("bz2", text.encode()),
        lambda text: text.replace("\n", "\n\n").encode(),
        lambda text: ("# from a shop\n\n" + text).encode(),
        lambda text: text.rstrip("\n").encode(),
    ],
)
def test_a_table_may_come_in_any_dress(tmp_path, dress):
    assert pairs(read(tmp_path, dress(written(EVENTS)))) == EVENTS


@pytest.mark.parametrize("kind", ["gzip", "bz2", "zstd"])
def test_the_last_byte_of_a_compressed_file_is_read(tmp_path, kind):
    assert pairs(read(tmp_path, compressed(kind, b"user,item\n1,23"))) == [(1, 23)]


def test_another_encoding_is_stated(tmp_path):
    content = written(EVENTS).encode("latin-1")
    message = refusal(tmp_path, content)
    assert message == "/file:6: found bytes that are no utf-8, expected text, or its --encoding, such as latin-1"
    assert pairs(read(tmp_path, content, encoding="latin-1")) == EVENTS
    for delimiter in (",", "\t"):
        found = read(tmp_path, written(EVENTS, delimiter).encode("utf-16"), encoding="utf-16")
        assert (pairs(found), found.remarks[0]) == (EVENTS, "columns user = user_id, item = item_id")
    found = read(tmp_path, "user::item::n\n1::2::3\n".encode("utf-16-le"), encoding="utf-16-le")
    assert pairs(found) == [(1, 2)]


def test_bytes_that_are_no_text_are_named_by_line_beyond_the_first_lines_too(tmp_path):
    content = b"user,item\n" + b"a1,b1\n" * 100_000 + b"a2,\xe9\n"
    assert "/file:100002: found bytes that are no utf-8" in refusal(tmp_path, content)


def test_columnar_files_and_lines_of_json(tmp_path):
    table = pa.table({"item_id": [item for _, item in EVENTS], "user_id": [user for user, _ in EVENTS]})
    pyarrow.parquet.write_table(table, tmp_path / "parquet")
    with pa.ipc.new_file(tmp_path / "arrow", table.schema) as writer:
        writer.write_table(table)
    lines = "".join(f'{{"user_id": "{user}", "item_id": {item!r}, "n": 1}}\n' for user, item in EVENTS[:3])
    (tmp_path / "jsonl").write_text(lines.replace("'", '"'))
    assert pairs(files.read_file(tmp_path / "parquet", DataSettings())) == EVENTS
    assert pairs(files.read_file(tmp_path / "arrow", DataSettings(format="arrow"))) == EVENTS
    found = files.read_file(tmp_path / "jsonl", DataSettings())
    assert (pairs(found), found.remarks[0]) == (EVENTS[:3], "columns user = user_id, item = item_id; not used: n")
    with pytest.raises(InputError, match="found no parquet file, expected one, as --format=parquet says"):
        files.read_file(tmp_path / "arrow", DataSettings(format="parquet"))
    (tmp_path / "parquet").write_bytes((tmp_path / "parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match="expected a whole parquet or Arrow file"):
        files.read_file(tmp_path / "parquet", DataSettings())
    with pytest.raises(InputError, match="expected a JSON object on each line, with the same columns"):
        read(tmp_path, '{"user": 1, "item": 2}\n{"user": {}, "item": 2}\n')


@pytest.mark.parametrize("make", [pandas.DataFrame, polars.DataFrame, pa.table, pa.record_batch, dict])
def test_frames(make):
    columns = {"when": [3, 2, 1, 4], "who": ["a", "a", "b", "b"], "what": [7, 8, 7, 9]}
    found = lg.read(make(columns), user="who", item="what", test_fraction=0.5, name="frame")
    assert (found.user_ids.tolist(), found.item_ids.tolist(), found.name) == (["a", "b"], [7, 8, 9], "frame")
    assert found.remarks == ("columns user = who, item = what; not used: when",)
    latest = lg.read(make(columns), user="who", item="what", time="when", split="leave_last_out")
    assert latest.item_ids[latest.test.indices].tolist() == [7, 9]


def test_frames_that_hold_something_else():
    mixed = pandas.DataFrame({"user": ["a", 1], "item": [1, 2]})
    with pytest.raises(InputError, match="source: found a DataFrame that Arrow does not take"):
        lg.read(mixed)
    with pytest.raises(InputError, match=r"source: item ids: found numbers with fractions, expected integers or text"):
        lg.read(pandas.DataFrame({"user": [1, 2], "item": [1.5, 2]}))
    with pytest.raises(InputError, match=r"user: found 'nobody', expected a column of source: user, item, or 1 to 2"):
        lg.read(pa.table({"user": [1], "item": [2]}), user="nobody")
    with pytest.raises(InputError, match="source: user ids: found values of type list"):
        lg.read(pa.table({"user": [[1]], "item": [2]}))


def test_integers_that_a_gap_has_made_floats_are_integers(tmp_path):
    found = lg.read(pandas.DataFrame({"user": [1, None, 3.0], "item": [5, 6, 5]}), test_fraction=0.1)
    assert found.user_ids.tolist() == [1, 3]
    assert "user ids are integers stored as floats" in found.remarks
    assert found.notes["rows without a user or item left out"] == 1


@pytest.mark.parametrize(
    ("written_ids", "kind"),
    [
        (["3", "20", "100"], np.int32),
        (["-3", "0", "4000000000"], np.int64),
        (["007", "7", "8"], object),
        (["1", "9" * 25, "2"], object),
        ([str(uuid.UUID(int=n)) for n in range(3)], object),
        (["1.0", "2.0", "3.0"], object),
        (["+1", "1", "2"], object),
    ],
)
def test_ids_stay_as_they_are_written(tmp_path, written_ids, kind):
    found = read(tmp_path, "user,item\n" + "".join(f"{each},x\n" for each in written_ids))
    assert found.users.values.dtype == kind
    assert [str(user) for user, _ in pairs(found)] == written_ids
    assert found.users.values.tolist() == sorted(found.users.values.tolist())


def test_few_ids_that_are_no_integers_are_named(tmp_path):
    found = read(tmp_path, "user,item\n" + "".join(f"{n},x{n}\n" for n in range(99)) + "user,item\n")
    assert "user ids are text, since 1 of 100 are no plain integers, such as 'user'" in found.remarks


def test_rows_without_an_id_are_counted_or_refused(tmp_path):
    content = 'user,item\n1,2\n,3\n4, \n5,""\n6,nan\n'
    found = read(tmp_path, content)
    assert pairs(found) == [(1, "2"), (6, "nan")]
    assert found.notes["rows without a user or item left out"] == 3
    assert "the item id 'nan' is kept: it is text" in found.remarks
    assert "--strict: found 3 rows without a user or item, expected none" in refusal(tmp_path, content, strict=True)


def test_columns_by_name_and_by_position(tmp_path):
    content = "shop,buyer,sku\ns1,a1,b1\ns2,a2,b2\n"
    assert pairs(read(tmp_path, content, user_col="buyer")) == [("a1", "b1"), ("a2", "b2")]
    assert pairs(read(tmp_path, content, user_col="2", item_col="1")) == [("a1", "s1"), ("a2", "s2")]
    assert pairs(read(tmp_path, content, user_col="BUYER", item_col="Sku")) == [("a1", "b1"), ("a2", "b2")]
    hint = "expected a column of /file: shop, buyer, sku, or 1 to 3 (did you mean buyer?)"
    assert refusal(tmp_path, content, user_col="buyr").endswith(hint)
    assert "--user_col: found '4'" in refusal(tmp_path, content, user_col="4")
    assert "--user_col: found '0'" in refusal(tmp_path, content, user_col="0")
    same = refusal(tmp_path, content, user_col="sku", item_col="sku")
    assert same == "--user_col: found sku, which holds the items, expected another column"


def test_a_column_may_be_two_things(tmp_path):
    found = read(tmp_path, "user,item,time\n1,2,30\n1,3,20\n", split="temporal", weight_col="time")
    assert found.values["time"].tolist() == found.weight.tolist() == [30, 20]


def test_a_column_that_is_needed_and_not_found_is_asked_for(tmp_path):
    message = refusal(tmp_path, "a,b\nx1,y1\n")
    assert message.startswith(
        "--user_col: found nothing, and no column with a usual name, expected the column of the user"
    )
    assert message.endswith("by name or position: a, b")
    assert "--rating_col: found nothing" in refusal(tmp_path, "user,item\n1,2\n", min_rating=3.0)
    assert "--time_col: found nothing" in refusal(tmp_path, "user,item\n1,2\n", split="temporal")


def test_whether_a_first_line_names_columns(tmp_path):
    assert pairs(read(tmp_path, "A1,B1\nA2,B2\n")) == [("A1", "B1"), ("A2", "B2")]
    assert "found nothing, and no column with a usual name" in refusal(tmp_path, "x,y\n1,2\n")
    message = refusal(tmp_path, "ann,tea\nbob,rye\n")
    assert message.startswith("/file:1: found the names of columns, or events of user 'ann', expected --header=yes or")
    assert pairs(read(tmp_path, "ann,tea\nbob,rye\n", header="no")) == [("ann", "tea"), ("bob", "rye")]
    stated = {"header": "yes", "user_col": "ann", "item_col": "tea"}
    assert pairs(read(tmp_path, "ann,tea\nbob,rye\n", **stated)) == [("bob", "rye")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("user,item,n\n1,2,3\n4,5\n", "/file:3: found 2 columns, expected 3, as in the header"),
        ("user,item,n\n4,5,6\n4,5\n", "/file:3: found 2 columns, expected 3, as in the header"),
        ("user,item,n\r\n4,5,6\r\n4,5\r\n", "/file:3: found 2 columns, expected 3, as in the header"),
        ("user,item,n\n1,2,3\n\n4,5,6,7\n", "/file:4: found 4 columns, expected 3, as in the header"),
        ("user::item::n\n1::2::3\n4::5\n", "/file:3: found 2 columns, expected 3, as in the header"),
        ("user item n\n1 2 3\n4  5\n", "/file:3: found 2 columns, expected 3, as in the header"),
    ],
)
def test_a_line_of_another_width_is_refused(tmp_path, content, expected):
    assert expected in refusal(tmp_path, content)


def test_a_short_line_far_below_is_refused_by_its_number(tmp_path):
    content = "user,item,n\n" + "1,2,3\n" * 100_000 + "1,9\n" + "1,2,3\n" * 9
    assert "/file:100002: found 2 columns, expected 3" in refusal(tmp_path, content)


def test_quotes_that_do_not_end_are_told(tmp_path):
    expected = "/file: found '2' and further lines in quotes, as a item id, expected quotes that end on their line"
    assert refusal(tmp_path, 'user,item\n1,"2\n4,5\n') == expected
    content = '# shop\nuser,item,text\n1,2,"a\nb"\n\n  \n1,3,c\n'
    for text in (content, content.replace("\n", "\r\n")):
        found = read(tmp_path, text)
        assert pairs(found) == [(1, 2), (1, 3)]
        assert found.remarks[1].endswith("not used: text; 1 line breaks inside quoted fields")
    assert "line breaks" not in read(tmp_path, content.replace("a\nb", "a b")).remarks[1]


def test_a_stray_quote_swallows_nothing_in_tabs(tmp_path):
    content = 'user\titem\tname\n1\t2\t"12 inch\n1\t3\t5" nail\n2\t2\tx\n'
    assert pairs(read(tmp_path, content)) == [(1, 2), (1, 3), (2, 2)]


@pytest.mark.parametrize(
    ("content", "settings", "expected"),
    [
        ("user;item;rating\n1;2;4,5\n1;3;2,5\n", {"min_rating": 3.0}, [(1, 2)]),
        ("user,item,rating\n1,2,5\n1,3,\n1,4,1\n", {"min_rating": 3.0}, [(1, 2)]),
        ("user,item,label\n1,2,1\n1,3,0\n1,4,1\n", {}, [(1, 2), (1, 4)]),
        ("user,item,label\n1,2,true\n1,3,false\n", {}, [(1, 2)]),
        ("user,item,label\n1,2,news\n1,3,sport\n", {}, [(1, 2), (1, 3)]),  # no label of ours
    ],
)
def test_ratings_and_labels_say_what_is_a_positive(tmp_path, content, settings, expected):
    (tmp_path / "file.csv").write_text(content)
    found = lg.read(tmp_path / "file.csv", split="none", **settings)
    rows = np.repeat(np.arange(found.num_users), np.diff(found.train.indptr))
    kept = zip(found.user_ids[rows].tolist(), found.item_ids[found.train.indices].tolist(), strict=True)
    assert list(kept) == expected


def test_what_is_no_number_or_time_is_refused(tmp_path):
    content = "user,item,rating,when,n\n1,2,good,soon,1\n2,2,bad,later,0\n"
    assert "/file:2: found 'good', expected a number" in refusal(tmp_path, content, min_rating=1.0)
    assert "--time_col: found what is no time, such as 'soon'" in refusal(tmp_path, content, split="temporal")
    assert "--weight_col: found 1 weights such as 0.0, expected numbers above 0" in refusal(
        tmp_path, content, weight_col="n"
    )
    late = "user,item,time\n" + "1,2,3\n" * 1_000_000 + "1,2,x\n"
    assert "--time_col: found what is no time, such as 'x'" in refusal(tmp_path, late, split="temporal")


@pytest.mark.parametrize(
    "times", [("1", "2"), ("1.5", "2.5"), ("2024-05-31", "2024-06-01"), ("2024-05-31 18:30:00", "2024-05-31T18:30:01")]
)
def test_times_order_events(tmp_path, times):
    found = read(tmp_path, f"user,item,time\n1,2,{times[1]}\n1,3,{times[0]}\n", split="temporal")
    assert found.values["time"][0] > found.values["time"][1]


def test_several_files_are_one_table(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    (tmp_path / "b.csv").write_text("item,user\nx,1\n")
    found = lg.read([tmp_path / "a.csv", tmp_path / "b.csv"], split="none")
    assert (found.user_ids.tolist(), found.item_ids.tolist(), found.name) == ([1], ["2", "x"], "a.csv and 1 more")
    assert lg.read(f"{tmp_path}/a.csv,{tmp_path}/b.csv", split="none").content_hash() == found.content_hash()


def test_parts_are_found_by_their_names(tmp_path):
    for name in ("shop.train.inter", "shop.val.inter", "shop.test.inter", "README.md", "shop.item"):
        (tmp_path / name).write_text("user_id:token\titem_id:token\n1\t" + str(len(name)) + "\n")
    found = lg.read(tmp_path)
    assert (found.train.nnz, found.valid.nnz, found.test.nnz) == (1, 1, 1)
    assert found.remarks[0] == "files not used: README.md, shop.item"
    (tmp_path / "train.csv").write_text("1,2\n")
    with pytest.raises(InputError, match=r"shop\.train\.inter and train\.csv, expected one file of the train part"):
        lg.read(tmp_path)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0", exclude_categories=("Cc", "Cs")), max_size=8)


@given(
    rows=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8), delimiter=st.sampled_from([",", ";", "\t"])
)
def test_tables_are_read_as_pythons_csv_reads_them(tmp_path, rows, delimiter):
    text = written([("a", "b", "c"), *rows], delimiter, header=("user_id", "item_id", "note"))
    expected = [("a", "b")] + [(user.strip(), item.strip()) for user, item, _ in rows if user.strip() and item.strip()]
    found = read(tmp_path, text, delimiter="tab" if delimiter == "\t" else delimiter)
    assert [tuple(map(str, pair)) for pair in pairs(found)] == expected
