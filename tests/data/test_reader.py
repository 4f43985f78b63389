"""The readers against a line-by-line reference, in every dress a file comes in, and what they refuse."""

import gzip
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgcn_jax.data import reader
from lgcn_jax.data.events import Events
from lgcn_jax.errors import InputError

ids = st.integers(0, reader.MAX_ID)


def read(folder, content: bytes | str, file_format: str = "auto") -> Events:
    path = folder / "file.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return reader.read(path, file_format)


def rows(pairs: Events) -> list[tuple[int, int]]:
    return list(zip(*(column.values[column.codes].tolist() for column in (pairs.users, pairs.items)), strict=True))


def listed(found: Events) -> list[int]:
    """The users without an event."""
    return sorted(set(found.users.values.tolist()) - set(found.users.values[found.users.codes].tolist()))


def refusal(folder, content: bytes | str, file_format: str = "auto") -> str:
    with pytest.raises(InputError) as error:
        read(folder, content, file_format)
    assert "\n" not in str(error.value)
    return str(error.value)


@given(table=st.lists(st.lists(ids, min_size=1, max_size=6), min_size=1, max_size=10))
def test_adjacency_lists_are_read_line_by_line(tmp_path, table):
    found = read(tmp_path, "\n".join(" ".join(map(str, line)) for line in table), "adjacency")
    assert rows(found) == [(line[0], item) for line in table for item in line[1:]]
    assert listed(found) == sorted({line[0] for line in table} - {line[0] for line in table if len(line) > 1})
    assert found.notes["users listed without an item"] == sum(len(line) == 1 for line in table)
    assert found.users.values.dtype == found.items.values.dtype == np.int32


@given(
    table=st.lists(st.tuples(ids, ids), min_size=1, max_size=10),
    delimiter=st.sampled_from(["\t", ",", " ", ", ", " \t "]),
    more=st.sampled_from([(), ("3.2466e+05",), ("5", "881250949"), ("x y",), ("",)]),
    header=st.sampled_from([None, ("user_id:token", "item_id:token"), ("userId", "itemId"), ("USER", "Item")]),
)
def test_pairs_are_read_line_by_line(tmp_path, table, delimiter, more, header):
    if delimiter == " " and set(more) & {"x y", ""}:
        more = ()
    lines = [(*pair, *more) for pair in table]
    lines = [(*header, *(f"column{n}" for n in range(len(more)))), *lines] if header else lines
    text = "\n".join(delimiter.join(map(str, line)) for line in lines)
    assert rows(read(tmp_path, text, "pairs")) == table


def test_a_header_may_name_its_columns_in_any_order(tmp_path):
    text = "rating:float\titem_id:token\ttimestamp:float\tuser_id:token\n5\t20\t881\t1\n3\t21\t882\t2\n"
    assert rows(read(tmp_path, text)) == [(1, 20), (2, 21)]


PLAIN = "1 10 11\n2 12\n3\n"


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (PLAIN.encode(), {}),
        (PLAIN.replace("\n", "\r\n").encode(), {"Windows line ends": 3}),
        (b"\xef\xbb\xbf" + PLAIN.encode(), {"byte-order marks": 1}),
        (gzip.compress(PLAIN.encode(), mtime=0), {"gzip files": 1}),
        (gzip.compress(b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode(), mtime=0), {"Windows line ends": 3}),
        (PLAIN.replace("\n", "\n\n").encode(), {"empty lines": 3}),
        (PLAIN.replace("\n", "\n  \n").encode(), {"empty lines": 3}),
        (PLAIN.rstrip("\n").encode(), {}),
        (PLAIN.replace(" ", "   ").encode(), {}),
        (("  " + PLAIN.replace("\n", "  \n")).encode(), {}),
    ],
)
def test_a_file_may_come_in_any_dress(tmp_path, content, note):
    found = read(tmp_path, content)
    assert rows(found) == [(1, 10), (1, 11), (2, 12)]
    assert listed(found) == [3]
    assert found.notes | note == found.notes
    assert note or not any(found.notes[each] for each in found.notes if each != "users listed without an item")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 2 3\n4 5 6\n", [(1, 2), (1, 3), (4, 5), (4, 6)]),  # every user once: adjacency
        ("1 2 3\n1 5 6\n", [(1, 2), (1, 5)]),  # a user twice: pairs with a weight
        ("1 2 3.5\n4 5 6\n", [(1, 2), (4, 5)]),  # a weight with a point: pairs
        ("1\t2\t3\n4\t5\t6\n", [(1, 2), (4, 5)]),  # tabs: pairs
        ("1,2\n4,5\n", [(1, 2), (4, 5)]),  # commas: pairs
        ("1 2\n1 3 4\n", [(1, 2), (1, 3), (1, 4)]),  # ragged: adjacency, the user's lines are joined
    ],
)
def test_the_format_is_told_from_the_content(tmp_path, text, expected):
    assert rows(read(tmp_path, text)) == expected


def test_the_first_file_of_a_data_set_decides_the_format_of_all(tmp_path):
    """A leave-one-out test file has each user once, and alone it would be read as an adjacency list."""
    (tmp_path / "train.txt").write_text("1 10 5 881\n1 11 4 882\n2 10 3 883\n")
    (tmp_path / "test.txt").write_text("1 12 5 884\n2 13 5 885\n")
    found = reader.read_all([tmp_path / "train.txt", tmp_path / "test.txt"])
    assert rows(found[1]) == [(1, 12), (2, 13)]


@pytest.mark.parametrize("train", ["1 10\n1 11\n2 10\n", "1\t10\n1\t11\n2\t10\n", "1,10\n1,11\n2,10\n"])
def test_an_adjacency_list_beside_pairs_is_refused_and_not_cut_off(tmp_path, train):
    (tmp_path / "train.txt").write_text(train)
    (tmp_path / "test.txt").write_text("1 12 13 14\n2 11 12 13\n")
    files = [tmp_path / "train.txt", tmp_path / "test.txt"]
    with pytest.raises(InputError, match=r"test\.txt:1: found 4 column.*expected 2, as in train\.txt.*--format=pairs"):
        reader.read_all(files)
    assert rows(reader.read_all(files, "pairs")[1]) == [(1, 12), (2, 11)]


def test_files_with_headers_may_have_columns_of_their_own(tmp_path):
    (tmp_path / "train.csv").write_text("user,item,rating\n1,10,5\n")
    (tmp_path / "test.csv").write_text("item,user\n11,1\n")
    assert rows(reader.read_all([tmp_path / "train.csv", tmp_path / "test.csv"])[1]) == [(1, 11)]


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_lines_too_wide_for_pairs_are_read_only_in_a_stated_format(tmp_path, delimiter):
    """Equally wide lines with tabs, which as pairs would lose all but their first item."""
    text = "\n1 2 3 4 5\n2 3 4 5 6\n".replace(" ", delimiter)
    assert ":2: found 5 columns, expected pairs of 2 to 4" in refusal(tmp_path, text)
    assert len(rows(read(tmp_path, text, "adjacency"))) == 8
    assert rows(read(tmp_path, text, "pairs")) == [(1, 2), (2, 3)]
    assert rows(read(tmp_path, "user item a b c\n1 2 3 4 5\n".replace(" ", delimiter))) == [(1, 2)]


def test_later_files_are_opened_once(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("train.txt", "test.txt", "valid.txt")]
    for path in paths:
        path.write_text("1 10 11\n2 12\n")
    opened = []
    original = reader._bytes
    monkeypatch.setattr(reader, "_bytes", lambda path: opened.append(path) or original(path))
    reader.read_all(paths)
    assert opened == paths


@given(
    table=st.lists(st.tuples(ids, ids, st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=10),
    delimiter=st.sampled_from(["\t", ","]),
)
def test_spaces_around_fields_are_stripped(tmp_path, table, delimiter):
    lines = [delimiter.join(f"{' ' * a}{number}{' ' * b}" for number in (u, i)) for u, i, a, b in table]
    assert rows(read(tmp_path, "\n".join(lines), "pairs")) == [(u, i) for u, i, *_ in table]


def test_a_long_run_of_spaces_takes_no_more_passes_over_the_bytes(tmp_path):
    """Lines of Python run by the reader, each a pass at most."""

    def lines_run(spaces: int) -> int:
        count = 0

        def trace(frame, event, argument):
            nonlocal count
            count += event == "line"
            return trace if frame.f_code.co_filename == reader.__file__ else None

        sys.settrace(trace)
        try:
            read(tmp_path, "1,2\n3," + " " * spaces + "4" + " " * spaces + "\n")
        finally:
            sys.settrace(None)
        return count

    assert lines_run(1) == lines_run(3000)


def test_files_that_seem_to_differ_in_format_are_refused_unless_it_is_stated(tmp_path):
    (tmp_path / "train.txt").write_text("1 10 11\n2 12\n")
    (tmp_path / "test.txt").write_text("1 12\n1 13\n")
    files = [tmp_path / "train.txt", tmp_path / "test.txt"]
    with pytest.raises(InputError, match=r"test\.txt: found what looks like pairs.*--format=pairs"):
        reader.read_all(files)
    assert rows(reader.read_all(files, "adjacency")[1]) == [(1, 12), (1, 13)]


@pytest.mark.parametrize("text", ["1,2,3\n\n4,5\n", "1\t2\n3\t4\t5\n"])
def test_pairs_with_unequal_columns_are_refused_at_the_first_odd_line(tmp_path, text):
    line = 1 + text.rstrip().count("\n")
    assert re.search(rf":{line}: found \d columns, expected \d, as on line 1", refusal(tmp_path, text))


def test_a_forced_format_overrides_the_guess(tmp_path):
    text = "1 2 3\n1 5 6\n"
    assert rows(read(tmp_path, text, "adjacency")) == [(1, 2), (1, 3), (1, 5), (1, 6)]
    assert rows(read(tmp_path, "1 2 3\n4 5 6\n", "pairs")) == [(1, 2), (4, 5)]


def test_a_line_of_delimiters_alone_is_an_empty_line(tmp_path):
    found = read(tmp_path, "1\t2\t5\n\t\t\n3\t4\t5\n")
    assert rows(found) == [(1, 2), (3, 4)]
    assert found.notes["empty lines"] == 1


def test_the_largest_id_is_read(tmp_path):
    assert rows(read(tmp_path, "2147483647 2147483647")) == [(2147483647, 2147483647)]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("1 2\n3 x\n", [":2", "'x'", "an integer id"]),
        ("1 2\n\n3 -4\n", [":3", "'-4'"]),
        ("1 2\n3 4.0 5 6 7\n", [":2", "'4.0'"]),
        ("1 2147483648\n", [":1", "'2147483648'", "2147483647"]),
        ("1 2\n3 " + "9" * 30 + "\n", [":2", "'" + "9" * 30 + "'"]),
        ("1 " + "9" * 300 + "\n", [":1", "..."]),
        (b"1 2\n3 \x004\n", [":2", "0x00"]),
        (b"\x89PNG\r\n\x1a\n\x00", [":2", "0x1a"]),
        ("", ["an empty file"]),
        ("\n \n\r\n", ["an empty file"]),
        ("user_id:token\titem_id:token\n", ["a header without an interaction"]),
        ("user_id,rating\n1,5\n", [":1", "a header", "item_id"]),
        ("1\t2\n3\n", [":2", "1 column", "at least 2"]),
        ("1\t2\n\t4\n", [":2", "an empty field"]),
        ("1,2,3\n3,,4\n", [":2", "an empty field"]),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-9], ["truncated or damaged gzip"]),
        (b"\x1f\x8bnot gzip at all", ["truncated or damaged gzip"]),
    ],
)
def test_what_is_no_file_of_interactions_is_refused_by_line(tmp_path, content, parts):
    message = refusal(tmp_path, content)
    assert message.startswith(str(tmp_path / "file.txt"))
    for part in parts:
        assert part in message
    assert re.search("found .*, expected ", message)


def test_what_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        reader.read(tmp_path / "missing.txt")
    with pytest.raises(InputError, match="a directory"):
        reader.read(tmp_path)


@settings(max_examples=300)
@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.text("0123456789 \t\n,x-.\r", max_size=60).map(str.encode),
        st.binary(max_size=40).map(gzip.compress),
    ),
    file_format=st.sampled_from(reader.FORMATS),
)
def test_any_bytes_are_pairs_or_one_clear_line(tmp_path, content, file_format):
    try:
        found = read(tmp_path, content, file_format)
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert len(found.users) == len(found.items)
        assert (found.users.values >= 0).all()
        assert (found.items.values >= 0).all()
    assert "\n" not in message
