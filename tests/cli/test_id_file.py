"""Files of raw ids as people have them."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from lgcn_jax.cli.id_file import read_ids
from lgcn_jax.errors import InputError

INTEGERS = np.array([3, 7, 2**40])
TEXTS = np.array(["007", "7", "user", "Ünal, A."], object)


def read(tmp_path, content: str | bytes, known=INTEGERS, name="users.txt") -> list:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_ids(path, known, "--users_file").tolist()


def refusal(*arguments, **named) -> str:
    with pytest.raises(InputError) as error:
        read(*arguments, **named)
    return str(error.value)


def test_an_id_on_each_line(tmp_path):
    assert read(tmp_path, "7\n 3 \r\n\n1099511627776") == [7, 3, 2**40]
    assert read(tmp_path, b"\xef\xbb\xbf7\n") == [7]


def test_texts_are_kept_as_they_are(tmp_path):
    assert read(tmp_path, "007\n7\nÜnal, A.\n", TEXTS) == ["007", "7", "Ünal, A."]


def test_a_header_is_no_id_unless_some_user_is_called_so(tmp_path):
    assert read(tmp_path, "user_id\n7\n") == [7]
    assert read(tmp_path, "User ID\n007\n", TEXTS) == ["007"]
    assert read(tmp_path, "user\n007\n", TEXTS) == ["user", "007"]
    assert read(tmp_path, "who\n007\n", TEXTS) == ["who", "007"]  # which then is an unknown user, and not left out


def test_a_column_of_a_table(tmp_path):
    assert read(tmp_path, 'age,user\n30,"Ünal, A."\n40,007\n', TEXTS, "users.csv") == ["Ünal, A.", "007"]
    assert read(tmp_path, "UserId\tage\n7\t30\n", name="users.tsv") == [7]
    assert read(tmp_path, "7\n3\n", name="users.csv") == [7, 3]


@pytest.mark.parametrize(("column", "known"), [([7, 3], INTEGERS), (["007", "7"], TEXTS)])
def test_a_column_of_parquet(tmp_path, column, known):
    for table in ({"anything": column}, {"age": [1, 2], "user_id": column}):
        pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "users.parquet")
        assert read_ids(tmp_path / "users.parquet", known, "--users_file").tolist() == column


@pytest.mark.parametrize(
    ("content", "name", "parts"),
    [
        ("", "users.txt", ["--users_file=", "no id"]),
        ("user\n", "users.txt", ["no id"]),
        ("3\nseven\n", "users.txt", ["users.txt:2", "'seven'", "an integer"]),
        ("3\n\n7.0\n", "users.txt", ["users.txt:3", "'7.0'"]),
        ("1_000\n", "users.txt", ["'1_000'"]),
        ("9" * 5000, "users.txt", ["9'", "an integer"]),
        (str(2**63), "users.txt", [str(2**63), "an integer"]),
        ("a,b\n1,2\n", "users.csv", ["the columns a, b", "called user"]),
        ("user,id\n1,2\n", "users.csv", ["the columns user, id"]),
        ("user,age\n7,30\n,40\n", "users.csv", ["users.csv:3", "no id"]),
        ("user,age\n7\n", "users.csv", ["users.csv:2", "number of columns", "2"]),
        ('user\n"7\n', "users.csv", ["users.csv:2", "unexpected end"]),
        (b"\xff\xfe7\x00", "users.txt", ["no text"]),
        ("nothing of the kind", "users.parquet", ["cannot be read", "parquet"]),
    ],
)
def test_what_is_no_list_of_ids_is_refused_in_one_line(tmp_path, content, name, parts):
    line = refusal(tmp_path, content, name=name)
    assert "\n" not in line
    for part in parts:
        assert part in line


def test_files_that_are_not_there_are_refused(tmp_path):
    for name in ("users.txt", "users.parquet", "a" * 300, "."):
        with pytest.raises(InputError, match="cannot be read"):
            read_ids(tmp_path / name, INTEGERS, "--users_file")


def test_nulls_and_ids_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "users.parquet"
    for column, known, part in (([7, None], INTEGERS, "1 nulls among 2"), (["7"], INTEGERS, "integers")):
        pyarrow.parquet.write_table(pyarrow.table({"user": column}), path)
        with pytest.raises(InputError, match=part):
            read_ids(path, known, "--users_file")
    pyarrow.parquet.write_table(pyarrow.table({"user": pyarrow.array([], pyarrow.int64())}), path)
    with pytest.raises(InputError, match="0 nulls among 0"):
        read_ids(path, INTEGERS, "--users_file")


def attempted(path, known) -> list:
    """The ids of a file; of one that is refused, which takes one line, none."""
    try:
        return read_ids(path, known, "--users_file").tolist()
    except InputError as error:
        refused = str(error)
    assert "\n" not in refused
    return []


CONTENTS = st.binary(max_size=40) | st.text('37u,ser"\n\t\r\x00 _-', max_size=40).map(str.encode)


@hypothesis.given(CONTENTS, st.sampled_from(["txt", "csv", "tsv"]))
@hypothesis.settings(max_examples=300)
def test_whatever_is_in_a_file_it_is_read_or_refused(tmp_path, content, ending):
    path = tmp_path / f"users.{ending}"
    path.write_bytes(content)
    assert all(type(each) is int for each in attempted(path, INTEGERS))
    assert all(type(each) is str and each for each in attempted(path, TEXTS))


def test_a_parquet_file_with_a_changed_byte_is_read_or_refused(tmp_path):
    path = tmp_path / "users.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"user": [7, 3], "age": [1, 2]}), path)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    lengths = []
    for _ in range(300):
        changed = bytearray(whole[: random.integers(1, len(whole) + 1)] if random.random() < 0.3 else whole)
        changed[random.integers(len(changed))] = random.integers(256)
        path.write_bytes(changed)
        found = attempted(path, INTEGERS)
        assert all(type(each) is int for each in found)
        lengths.append(len(found))
    assert {0, 2} <= set(lengths)  # some are refused, and some read


def test_a_first_id_that_begins_like_a_heading_is_an_id(tmp_path):
    (tmp_path / "ids.txt").write_text("user999\nc-007\n")
    known = np.array(["c-007"], object)
    assert read_ids(tmp_path / "ids.txt", known, "--users_file").tolist() == ["user999", "c-007"]


def test_leading_zeros_make_no_integer(tmp_path):
    (tmp_path / "ids.txt").write_text("01\n2\n")
    with pytest.raises(InputError, match=r"ids\.txt:1: found '01', expected an integer"):
        read_ids(tmp_path / "ids.txt", np.array([1, 2]), "--users_file")
