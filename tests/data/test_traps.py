"""What reading once got wrong without a word: each a small file that a user could bring."""

import numpy as np
import polars
import pyarrow as pa
import pytest
import scipy.sparse

import lgcn_jax as lg
from lgcn_jax.data import csr
from lgcn_jax.errors import InputError


@pytest.fixture
def read(tmp_path):
    """Reads a table of text that is written first, without a test part."""

    def made(text: str, name: str = "events.csv", split: str = "none", **settings):
        (tmp_path / name).write_text(text)
        return lg.read(tmp_path / name, split=split, **settings)

    return made


def raw(found, part: str = "train") -> list[tuple]:
    rows = found.part(part)
    users, items = found.user_ids[csr.row_of_entry(rows)], found.item_ids[rows.indices]
    return list(zip(users.tolist(), items.tolist(), strict=True))


def test_positions_make_no_header_of_a_first_row(read):
    for delimiter in ("::", ",", "\t"):
        found = read("2 1 5\n7 9 4\n8 9 3\n".replace(" ", delimiter), user=1, item=2)
        assert raw(found) == [(2, 1), (7, 9), (8, 9)]


def test_a_name_is_first_taken_as_it_stands(read):
    text = "user,Item,item\na,X1,y1\nb,X2,y2\n"
    assert read(text, item="Item").item_ids.tolist() == ["X1", "X2"]
    assert read(text, item="item").item_ids.tolist() == ["y1", "y2"]


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        ("user_name,user_id,item,item_id", "user = user_id, item = item_id"),
        ("user,user_id,item,item_id", "user = user_id, item = item_id"),
        ("user_id,movie,movie_id", "user = user_id, item = movie_id"),
        ("User-ID,Location,ISBN", "user = User-ID, item = ISBN"),
        ("customer_id,user_id,item_id,movie_id", "user = user_id, item = item_id"),
    ],
)
def test_ids_come_before_words(read, names, taken):
    row = ",".join(f"v{n}" for n in range(names.count(",") + 1))
    assert read(f"{names}\n{row}\n").remarks[0].startswith(f"columns {taken};")


@pytest.mark.parametrize(
    ("names", "settings", "expected"),
    [
        ("user_id,artist_id,track_id", {}, "item: found artist_id and track_id in"),
        ("user,item,item", {}, "item: found item, twice in"),
        ("user,item,date,time", {"split": "temporal"}, "time: found date and time in"),
        ("customer_id,visitor_id,item", {}, "user: found customer_id and visitor_id in"),
        ("user,item,item", {"item": "item"}, "item: found 2 columns called 'item'"),
    ],
)
def test_names_that_may_be_either_are_asked_for(read, names, settings, expected):
    row = ",".join("12345"[: names.count(",") + 1])
    with pytest.raises(InputError) as error:
        read(f"{names}\n{row}\n", **settings)
    assert str(error.value).startswith(expected)


def test_files_of_one_set_have_the_same_columns(tmp_path):
    (tmp_path / "a.csv").write_text("user,item,label\na,x,1\na,y,0\nb,x,1\n")
    (tmp_path / "b.csv").write_text("user,item\nb,y\nb,z\n")
    with pytest.raises(InputError, match=r"b\.csv: found neither beside users and items, expected label, as in a\.csv"):
        lg.read([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_times_of_two_kinds_are_not_compared(tmp_path):
    (tmp_path / "a.csv").write_text("user,item,time\na,x,1700000000\n")
    (tmp_path / "b.csv").write_text("user,item,time\na,y,2021-01-01\n")
    with pytest.raises(InputError, match=r"b\.csv: found times that are dates, expected numbers, as in a\.csv"):
        lg.read([tmp_path / "a.csv", tmp_path / "b.csv"], split="temporal")


@pytest.mark.parametrize(
    ("labels", "kept"), [(("1", "0"), 1), (("true", "false"), 1), (("1.0", "0.0"), 1), (("yes", "no"), 2)]
)
def test_a_label_that_is_taken_is_used(read, labels, kept):
    found = read(f"user,item,label\na,x,{labels[0]}\na,y,{labels[1]}\n")
    assert found.train.nnz == kept
    assert ("label = label" in found.remarks[0]) == (kept == 1)
    assert ("not used: label" in found.remarks[0]) == (kept == 2)
    frame = lg.read({"user": ["a", "a"], "item": ["x", "y"], "label": list(labels)}, split="none")
    assert frame.train.nnz == (2 if labels[0] in ("yes", "true") else 1)


@pytest.mark.parametrize("last", ["2024-01-01", "9999-12-31"])
def test_dates_of_any_year_are_in_order(read, last):
    found = read(f"user,item,date\n1,a,1500-01-01\n1,b,{last}\n1,c,2023-01-01\n", split="leave_last_out")
    assert raw(found, "test") == [(1, "b")]


def test_a_time_that_is_not_a_number_is_none():
    with pytest.raises(InputError, match="time: found 1 rows without a time"):
        lg.read({"user": [1, 1], "item": [1, 2], "time": [1.0, float("nan")]}, split="leave_last_out")


@pytest.mark.parametrize(
    "text",
    [
        'user,item,plays\n1,a,"1,024"\n1,b,"12"\n2,a,"3,500"\n',
        "user;item;plays\n1;a;1,024\n1;b;12\n",
        "user,item,plays\n1,a,1.2.3\n",
        'user,item,plays\n1,a,"1,024,000"\n',
    ],
)
def test_thousands_are_no_decimals(read, text):
    with pytest.raises(InputError, match=r"events\.csv:2: found '.*', expected a number"):
        read(text, weight="plays")


def test_decimal_commas_in_quotes(read):
    assert read('user,item,n\n1,a,"1,5"\n1,b,"2,25"\n', weight="n").weights.tolist() == [1.5, 2.25]


def test_a_json_array_is_no_table(read):
    for text in ('[{"user":1,"item":2},{"user":2,"item":3}]', '[\n{"user":1,"item":2}\n]\n'):
        with pytest.raises(InputError, match=r"events\.csv:1: found a JSON array, expected a JSON object on each line"):
            read(text)


EVENTS = (
    "user,item,time,n,label\n1,10,1,1,1\n1,11,2,1,1\n2,10,3,1,1\n1,10,75,5,1\n2,12,70,1,1\n"
    "1,10,70,9,1\n2,11,80,1,0\n1,12,1,1,0\n"
)


def test_nothing_after_the_cut_is_known_in_training(read):
    counted = read(EVENTS, split="temporal", repeats="count")
    assert (raw(counted, "test"), counted.weights.tolist()) == ([(2, 12)], [1.0, 1.0, 1.0])
    weighted = read(EVENTS, split="temporal", weight="n")
    assert weighted.weights.tolist() == [1.0, 1.0, 1.0]
    disliked = weighted.disliked
    assert (csr.row_of_entry(disliked).tolist(), weighted.item_ids[disliked.indices].tolist()) == ([0], [12])
    last = read(EVENTS, split="leave_last_out", repeats="count")
    assert dict(zip(raw(last), last.weights.tolist(), strict=True)) == {(1, 10): 1.0, (2, 10): 1.0}


def test_dislikes_of_the_test_part_are_not_known(read):
    text = "user,item,label,split\n1,10,1,train\n1,11,0,test\n2,11,1,train\n2,10,1,test\n1,12,1,train\n2,12,0,train\n"
    found = read(text, split="column")
    assert (csr.row_of_entry(found.disliked).tolist(), found.item_ids[found.disliked.indices].tolist()) == ([1], [12])


def test_sparse_matrices_with_other_values():
    with pytest.raises(InputError, match=r"source: found a sparse matrix with -2\.0, expected values above 0"):
        lg.read(scipy.sparse.csr_matrix([[1.0, 0, -2], [0, 1, 3]]))
    found = lg.read(scipy.sparse.csr_matrix([[1, 0, 2], [0, 1, 3]]), split="none")
    assert found.remarks == ("values of the matrix are not used: each counts once",)


def test_the_k_core_of_lists_removes_users_and_items(read):
    found = read("0 1 2 3\n1 1 2\n2 7\n3 1 2 5 6\n", min_user_interactions=2, min_item_interactions=2)
    assert (found.user_ids.tolist(), found.item_ids.tolist()) == ([0, 1, 3], [1, 2])


@pytest.mark.parametrize(
    ("early", "late", "settings"),
    [
        ("3", "3.5", {"min_rating": 1.0}),
        ("", "4", {"min_rating": 1.0}),
        ("10:00:00", "10:00:00.5", {"time": "rating", "split": "temporal"}),
    ],
)
def test_a_later_block_may_look_different(read, early, late, settings):
    split = settings.pop("split", "none")
    text = "user,item,rating\n" + f"10,20,{early}\n" * 700_000 + f"11,21,{late}\n"
    if "time" in settings:
        with pytest.raises(InputError, match="no time, such as '10:00:00'"):
            read(text, split=split, **settings)
    else:
        assert 11 in read(text, split=split, **settings).user_ids


def test_frames_of_categories_and_small_integers():
    column = polars.Series(["a", "b"], dtype=polars.Categorical)
    assert lg.read(polars.DataFrame({"user": [1, 2], "item": column}), split="none").item_ids.tolist() == ["a", "b"]
    small = np.array([-100, 100, 3], np.int8)
    assert lg.read({"user": small, "item": [1, 2, 3]}, split="none").user_ids.tolist() == [-100, 3, 100]
    large = pa.array(["a", "b"], pa.large_string())
    assert lg.read({"user": [1, 2], "item": large}, split="none").item_ids.tolist() == ["a", "b"]


@pytest.mark.parametrize("encoding", ["rot13", "hex", "nonsense"])
def test_what_encodes_no_text_is_no_encoding(read, encoding):
    with pytest.raises(InputError, match=f"encoding: found {encoding}, expected an encoding"):
        read("user,item\n1,2\n", encoding=encoding)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"PK\x03\x04abc", "found a zip or Excel file, expected text, parquet or Arrow"),
        (b"1,2\r3,4\r", "found lines that end in carriage returns alone, expected line feeds"),
        (
            "user,item\n1,2\n".encode("utf-16"),
            "found bytes that are no utf-8, expected text, or its encoding, such as utf-16",
        ),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path, content, expected):
    (tmp_path / "events").write_bytes(content)
    with pytest.raises(InputError) as error:
        lg.read(tmp_path / "events")
    assert expected in str(error.value)


def test_nothing_and_missing_files(tmp_path):
    with pytest.raises(InputError, match="split=column: found no column that says so, expected a table with one"):
        lg.read(([1, 2], [3, 4]), split="column")
    with pytest.raises(InputError, match="source: found nothing, expected a path"):
        lg.read(None)
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    with pytest.raises(InputError, match=r"found '.*missing\.csv', which is not there"):
        lg.read([str(tmp_path / "a.csv"), str(tmp_path / "missing.csv")])
    (tmp_path / "a.csv").write_text("user,item")
    with pytest.raises(InputError, match="found a header without an interaction"):
        lg.read(tmp_path / "a.csv")


FILMS = [
    "id,title\nx,Tea\nz,Rye\n",
    "item_id,item\nx,Tea\nz,Rye\n",
    "id;name\nx;Tea\nz;Rye\nx;Other\n",
]


@pytest.mark.parametrize("films", FILMS)
def test_titles_are_found_in_tables_of_many_forms(read, tmp_path, films):
    (tmp_path / "films.csv").write_text(films)
    events = "user\titem\n1\tx\n1\tz\n"
    found = read(events, delimiter="tab", header="yes", item_table=str(tmp_path / "films.csv"))
    assert found.item_titles.tolist() == ["Tea", "Rye"]


def test_one_odd_id_of_a_table_of_titles_changes_none_of_the_others(read, tmp_path):
    (tmp_path / "films.csv").write_text("item_id,title\n10,Tea\ntt5,Bad\n9,Rye\n")
    found = read("user,item\n1,9\n1,10\n", item_table=str(tmp_path / "films.csv"))
    assert found.item_titles.tolist() == ["Rye", "Tea"]


def test_ids_of_json_that_look_like_dates_stay(read):
    found = read('{"n": 1, "user": "2020-01-01", "item": "a"}\n{"n": 2, "user": "2021-01-01", "item": "b"}\n')
    assert found.user_ids.tolist() == ["2020-01-01", "2021-01-01"]
    assert found.remarks[0] == "columns user = user, item = item; not used: n"
