"""Files against a line-by-line reference, in every dress they come in, how their format is told, what is refused."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgcn_jax.data import adjacency, files
from lgcn_jax.data.events import Events
from lgcn_jax.data.settings import FORMATS, DataSettings
from lgcn_jax.errors import InputError

ids = st.integers(0, adjacency.MAX_ID)


def read(folder, content: bytes | str, file_format: str = "auto") -> Events:
    path = folder / "file.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return files.read_file(path, DataSettings(format=file_format))


def read_all(paths, file_format: str = "auto") -> list[Events]:
    parts = dict(zip(("train", "test", "valid"), paths, strict=False))
    return list(files.read_parts(parts, DataSettings(format=file_format)).values())


def files_read(path) -> Events:
    return files.read_file(path, DataSettings())


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
        ("1 2 3\n4 5\n", [(1, 2), (1, 3), (4, 5)]),  # ragged, every user once: adjacency
        ("1 2 3\n1 5 6\n", [(1, 2), (1, 5)]),  # a user twice: pairs with a weight
        ("1 2 3.5\n4 5 6\n", [(1, 2), (4, 5)]),  # a weight with a point: pairs
        ("1\t2\t3\n4\t5\t6\n", [(1, 2), (4, 5)]),  # tabs: pairs
        ("1,2\n4,5\n", [(1, 2), (4, 5)]),  # commas: pairs
        ("1 2\n1 3 4\n", [(1, 2), (1, 3), (1, 4)]),  # ragged: adjacency, the user's lines are joined
        ("% a comment\n# another\n1 2 3\n4 5\n", [(1, 2), (1, 3), (4, 5)]),
        ("# a comment\n1,2\n4,5\n", [(1, 2), (4, 5)]),
    ],
)
def test_the_format_is_told_from_the_content(tmp_path, text, expected):
    assert rows(read(tmp_path, text)) == expected


def test_comments_are_told(tmp_path):
    found = read(tmp_path, "% a comment\n\n# another\n1,2\n4,5\n#7,8\n")
    assert found.remarks[0] == "2 lines before the events that open with # or % are taken for comments"
    assert rows(found)[-1] == ("#7", 8)


def test_the_first_file_of_a_data_set_decides_the_format_of_all(tmp_path):
    """A leave-one-out test file has each user once, and alone it would be read as an adjacency list."""
    (tmp_path / "train.txt").write_text("1 10 5 881\n1 11 4 882\n2 10 3 883\n")
    (tmp_path / "test.txt").write_text("1 12 5 884\n2 13 5 885\n")
    found = read_all([tmp_path / "train.txt", tmp_path / "test.txt"])
    assert rows(found[1]) == [(1, 12), (2, 13)]


@pytest.mark.parametrize("train", ["1 10\n1 11\n2 10\n", "1\t10\n1\t11\n2\t10\n", "1,10\n1,11\n2,10\n"])
def test_an_adjacency_list_beside_pairs_is_refused_and_not_cut_off(tmp_path, train):
    (tmp_path / "train.txt").write_text(train)
    (tmp_path / "test.txt").write_text("1 12 13 14\n2 11 12 13\n")
    files = [tmp_path / "train.txt", tmp_path / "test.txt"]
    with pytest.raises(InputError, match=r"test\.txt: found 4 column.*expected 2, as in train\.txt.*--format=pairs"):
        read_all(files)
    assert rows(read_all(files, "pairs")[1]) == [(1, 12), (2, 11)]


def test_files_with_headers_may_have_columns_of_their_own(tmp_path):
    (tmp_path / "train.csv").write_text("user,item,rating\n1,10,5\n")
    (tmp_path / "test.csv").write_text("item,user\n11,1\n")
    assert rows(read_all([tmp_path / "train.csv", tmp_path / "test.csv"])[1]) == [(1, 11)]


def test_what_could_be_two_formats_is_refused_with_both_readings(tmp_path):
    text = "1 2 3 4 5\n2 3 4 5 6\n"
    for content in (text, text.replace(" ", "\t")):
        message = refusal(tmp_path, content)
        assert (
            "found 5 numbers on each line, and each user on one, expected --format=pairs: a table of 2 events"
            in message
        )
        assert "--format=adjacency: lists of 2 users with 4 of 5 items each" in message
        assert len(rows(read(tmp_path, content, "adjacency"))) == 8
        assert rows(read(tmp_path, content, "pairs")) == [(1, 2), (2, 3)]
    assert rows(read(tmp_path, text.replace(" ", ","), "adjacency"))[0] == (1, 2)
    assert rows(read(tmp_path, "user item a b c\n" + text)) == [(1, 2), (2, 3)]
    assert read(tmp_path, text.replace(" ", ",")).remarks[0].endswith("not used: column 3, column 4, column 5")


def test_one_short_line_is_no_reason_to_take_a_table_for_lists(tmp_path):
    lines = [f"{n % 3} {n} 5 97{n:04}" for n in range(40)]
    for short in (0, 20, 39):
        cut = [*lines]
        cut[short] = lines[short].rsplit(" ", 1)[0]
        expected = f":{short + 1}: found 3 columns, expected 4, as on 39 of the first 40 lines, or --format=adjacency"
        assert refusal(tmp_path, "\n".join(cut)).endswith(expected)


@pytest.mark.parametrize("name", ["counts", "auto"])
def test_lists_that_open_with_their_length_are_noticed(tmp_path, name):
    found = read(tmp_path, "2 10 11\n1 12\n2 11 12\n", name)
    assert rows(found) == [(0, 10), (0, 11), (1, 12), (2, 11), (2, 12)]
    assert name == "counts" or "opens with its number of items (--format=counts)" in found.remarks[0]


def test_lists_that_open_with_their_length_by_chance_are_refused_with_both_readings(tmp_path):
    text = "2 10 11\n1 12\n3 11 12 14\n"
    assert "--format=counts: 3 users, one a line" in refusal(tmp_path, text)
    assert rows(read(tmp_path, text, "adjacency"))[0] == (2, 10)
    assert ":2: found 1 items, expected 2, as the line says" in refusal(tmp_path, "1 10\n2 12\n", "counts")


@given(
    table=st.lists(st.tuples(ids, ids, st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=10),
    delimiter=st.sampled_from(["\t", ","]),
)
def test_spaces_around_fields_are_stripped(tmp_path, table, delimiter):
    lines = [delimiter.join(f"{' ' * a}{number}{' ' * b}" for number in (u, i)) for u, i, a, b in table]
    assert rows(read(tmp_path, "\n".join(lines), "pairs")) == [(u, i) for u, i, *_ in table]


def test_files_that_seem_to_differ_in_format_are_refused_unless_it_is_stated(tmp_path):
    (tmp_path / "train.txt").write_text("1 10 11\n2 12\n")
    (tmp_path / "test.txt").write_text("1 12 5\n1 13 4\n")
    files = [tmp_path / "train.txt", tmp_path / "test.txt"]
    with pytest.raises(InputError, match=r"test\.txt: found what looks like a table.*--format=pairs"):
        read_all(files)
    assert rows(read_all(files, "adjacency")[1]) == [(1, 12), (1, 5), (1, 13), (1, 4)]


@pytest.mark.parametrize("text", ["1,2,3\n\n4,5\n", "1\t2\n3\t4\t5\n"])
def test_pairs_with_unequal_columns_are_refused_at_the_first_odd_line(tmp_path, text):
    line = 1 + text.rstrip().count("\n")
    assert re.search(rf":{line}: found \d columns, expected \d, as", refusal(tmp_path, text))


def test_a_forced_format_overrides_the_guess(tmp_path):
    text = "1 2 3\n1 5 6\n"
    assert rows(read(tmp_path, text, "adjacency")) == [(1, 2), (1, 3), (1, 5), (1, 6)]
    assert rows(read(tmp_path, "1 2 3\n4 5 6\n", "pairs")) == [(1, 2), (4, 5)]


def test_a_line_of_delimiters_alone_is_an_empty_line(tmp_path):
    found = read(tmp_path, "1\t2\t5\n\t\t\n3\t4\t5\n")
    assert rows(found) == [(1, 2), (3, 4)]
    assert found.notes["rows without a user or item left out"] == 1


def test_the_largest_id_is_read(tmp_path):
    assert rows(read(tmp_path, "2147483647 2147483647")) == [(2147483647, 2147483647)]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("1 2 3\n3 x\n", [":2", "found 2 columns, expected 3, as in the first line, or --format=adjacency"]),
        ("1 2\n3 4.0 5 6 7\n", [":2", "found 5 columns, expected 2"]),
        (b"1 2\n3 \x004\n", [":2", "0x00"]),
        (b"\x89PNG\r\n\x1a\n\x00", [":1", "bytes that are no utf-8"]),
        ("", ["an empty file"]),
        ("\n \n\r\n", ["an empty file"]),
        ("# a comment\n", ["no interaction"]),
        ("user_id:token\titem_id:token\n", ["a table without a row"]),
        ("1\t2\n3\n", [":2", "1 column", "expected 2"]),
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


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("1 2\n3 x\n", [":2", "'x'", "an integer id"]),
        ("1 2\n\n3 -4\n", [":3", "'-4'"]),
        ("% head\n1 2147483648\n", [":2", "'2147483648'", "2147483647"]),
        ("1 2\n3 " + "9" * 30 + "\n", [":2", "'" + "9" * 30 + "'"]),
        ("1 " + "9" * 300 + "\n", [":1", "..."]),
    ],
)
def test_lists_hold_integers(tmp_path, content, parts):
    message = refusal(tmp_path, content, "adjacency")
    for part in parts:
        assert part in message


def test_what_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        files_read(tmp_path / "missing.txt")
    with pytest.raises(InputError, match="a directory"):
        files_read(tmp_path)


@settings(max_examples=300)
@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.text("0123456789 \t\n,x-.\r", max_size=60).map(str.encode),
        st.binary(max_size=40).map(gzip.compress),
    ),
    file_format=st.sampled_from(FORMATS),
)
def test_any_bytes_are_pairs_or_one_clear_line(tmp_path, content, file_format):
    try:
        found = read(tmp_path, content, file_format)
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert len(found.users) == len(found.items)
        assert not len(found) or min(found.users.codes.min(), found.items.codes.min()) >= 0
    assert "\n" not in message
