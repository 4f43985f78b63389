"""Files of the kinds that people bring: what each holds, or one line that says why it is refused."""

import os
from pathlib import Path

import pytest

import lgcn_jax as lg
from lgcn_jax.data import csr

HERE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cases() -> Path:
    folder = Path(os.environ.get("LGCN_JAX_CASES", HERE.parent / "shared" / "cases"))
    if not folder.is_dir():
        pytest.skip("the files of such kinds are neither under LGCN_JAX_CASES nor in shared/cases beside the project")
    return folder


@pytest.mark.parametrize(
    ("name", "users", "items", "pairs", "remark"),
    [
        ("camel-case-header.csv", 20, 30, 160, "columns user = userId, item = movieId; not used: rating, timestamp"),
        ("spaced-header.csv", 20, 30, 160, "columns user = User ID, item = Item ID"),
        ("double-colon.dat", 20, 30, 160, "columns user = column 1, item = column 2; not used: column 3, column 4"),
        ("semicolon.csv", 20, 30, 160, "columns user = user, item = item; not used: rating"),
        ("string-ids.csv", 20, 30, 160, "columns user = user_id, item = item_id; not used: timestamp"),
        ("uuid-ids.csv", 20, 30, 160, "columns user = user_id, item = item_id"),
        ("quoted.csv", 20, 30, 160, "columns user = user_id, item = item_id; not used: title"),
        (
            "six-columns.txt",
            20,
            27,
            160,
            "columns user = column 1, item = column 2; not used: column 3, column 4, column 5",
        ),
        (
            "count-first.txt",
            30,
            58,
            None,
            "each line opens with its number of items (--format=counts): users are the lines",
        ),
        ("few-per-user.csv", 100, 30, 325, "columns user = user_id, item = item_id"),
        ("zero-labels.inter", 20, 15, 81, "columns user = user_id:token, item = item_id:token, label = label:float"),
        ("val-folder", 20, 30, 180, "columns user = column 1, item = column 2"),
        ("shop", 20, 30, 180, "columns user = user_id:token, item = item_id:token"),
    ],
)
def test_it_is_read_as_it_is_meant(cases, name, users, items, pairs, remark):
    found = lg.read(cases / name)
    assert (found.num_users, found.num_items) == (users, items)
    assert pairs is None or found.train.nnz + found.valid.nnz + found.test.nnz == pairs
    assert found.remarks[0].startswith(remark)
    assert (csr.degrees(found.test) > 0).all()


def test_ids_are_kept(cases):
    assert lg.read(cases / "string-ids.csv").user_ids[0] == "A001K"
    found = lg.read(cases / "uuid-ids.csv")
    assert (found.user_ids[0], found.item_ids[0]) == ("00000000-0000-4000-8000-000000000001", 10000000000000001)


def test_decimal_commas_are_understood(cases):
    ratings = [
        float(line.rsplit(";", 1)[1].replace(",", ".")) for line in (cases / "semicolon.csv").read_text().split()[1:]
    ]
    found = lg.read(cases / "semicolon.csv", min_rating=4.0, split="none")
    assert found.train.nnz == sum(rating >= 4 for rating in ratings)


def test_parts_are_found(cases):
    for name in ("val-folder", "shop"):
        found = lg.read(cases / name)
        assert (found.train.nnz, found.valid.nnz, found.test.nnz) == (120, 20, 40)


def test_a_line_too_short_is_named(cases):
    with pytest.raises(
        lg.InputError, match=r"short-line\.txt:160: found 3 columns, expected 4, as on 159 of the first 160"
    ):
        lg.read(cases / "short-line.txt")


def test_zero_labels_are_counted(cases):
    assert lg.read(cases / "zero-labels.inter").notes["rows with label 0 (no positives)"] == 79
