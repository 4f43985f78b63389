"""Arrays, matrices, files and names as data sets."""

import numpy as np
import pytest
import scipy.sparse

import lgcn_jax as lg
from lgcn_jax.data import csr

USERS, ITEMS = [7, 7, 7, 9, 9, 9], [1, 2, 3, 1, 5, 6]


def parts(found) -> list[int]:
    return [found.train.nnz, found.valid.nnz, found.test.nnz]


@pytest.mark.parametrize(
    "source",
    [
        (USERS, ITEMS),
        [np.array(USERS), np.array(ITEMS, np.uint8)],
        np.array([USERS, ITEMS], np.int64).T,
        np.array([USERS, ITEMS]).T.tolist(),
        scipy.sparse.coo_matrix((np.ones(6), (USERS, ITEMS))),
        scipy.sparse.csr_array((np.full(6, 3.5), (USERS, ITEMS))),
    ],
    ids=["two lists", "two arrays", "one array", "rows", "coo", "csr array"],
)
def test_pairs_come_in_many_forms(source):
    found = lg.read(source, test_fraction=0.4)
    assert (found.user_ids.tolist(), found.item_ids.tolist()) == ([7, 9], [1, 2, 3, 5, 6])
    assert parts(found) == [4, 0, 2]
    assert found.content_hash() == lg.read((USERS, ITEMS), test_fraction=0.4).content_hash()


def test_a_list_of_lists_has_a_row_for_each_pair_however_long_it_is():
    for rows in ([[1, 2], [3, 4]], [(1, 2), (3, 4)], [[1, 2], [3, 4], [5, 6]]):
        found = lg.read(rows, test=[(1, 4)])
        assert found.user_ids.tolist() == [row[0] for row in rows]


def test_zeros_of_a_matrix_are_no_interactions():
    matrix = scipy.sparse.csr_matrix((np.array([1.0, 0.0, 2.0]), ([0, 0, 1], [0, 1, 1])))
    assert sum(parts(lg.read(matrix, test_fraction=0.5))) == 2


def test_parts_may_be_given():
    found = lg.read((USERS, ITEMS), test=([7], [5]), valid=np.array([[9, 2]]), name="mine")
    assert (found.name, parts(found)) == ("mine", [6, 1, 1])


def test_a_validation_part_is_split_off():
    many = np.stack(np.divmod(np.arange(100), 10), axis=1)
    found = lg.read(many, test_fraction=0.2, validation_fraction=0.25, seed=3)
    assert parts(found) == [60, 20, 20]
    assert found.content_hash() != lg.read(many, test_fraction=0.2, validation_fraction=0.25, seed=4).content_hash()


def test_a_path_is_read_as_on_the_command_line(tmp_path):
    (tmp_path / "events.csv").write_text("".join(f"{n % 4},{n}\n" for n in range(40)))
    found = lg.read(tmp_path / "events.csv", test_fraction=0.3)
    assert (found.name, parts(found)) == ("events.csv", [28, 0, 12])
    assert found.source.dataset == str(tmp_path / "events.csv")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"source": ([1.5], [2])}, "source users: found ids of type float64, expected integers, or text"),
        ({"source": ([None], [2])}, "source users: found ids such as None, expected integers, or text"),
        ({"source": ([1, 2], [2])}, "source: found users of shape (2,) and items of (1,), expected two arrays"),
        ({"source": np.zeros((3, 3), int)}, "source: found ndarray of shape (3, 3), expected a path"),
        ({"source": 7}, "source: found int of shape (), expected a path"),
        ({"source": ([], [])}, "interactions: found no event that is left (no row)"),
        (
            {"source": (USERS, ITEMS), "split": "temporal"},
            "split=temporal: found no times, expected a column of them (time_col)",
        ),
        ({"source": (USERS, ITEMS), "test_fraction": 1.0}, "test_fraction: found 1.0"),
        ({"source": "events.csv", "test": ([1], [2])}, "test: found a part beside a path"),
        ({"source": (USERS, ITEMS), "valid": ([1], [2])}, "valid: found a part without a test part"),
        ({"source": "nowhere.csv"}, "dataset: found"),
    ],
)
def test_what_cannot_be_read_is_refused(arguments, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(lg.InputError) as error:
        lg.read(**arguments)
    assert str(error.value).startswith(text)


def test_names_are_loaded_and_paths_are_not(tmp_path):
    found = lg.load("synthetic", num_users=50, num_items=40, num_interactions=500, data_seed=3)
    assert (found.num_users, found.source.data_seed) == (50, 3)
    assert csr.degrees(found.train).sum() == found.train.nnz
    for name, text in ((str(tmp_path), "files are read by lgcn_jax.read"), ("gowala", "did you mean gowalla")):
        with pytest.raises(lg.InputError, match=text):
            lg.load(name)
    with pytest.raises(lg.InputError, match=r"colour: found 1, expected a setting that there is$"):
        lg.load("synthetic", colour=1)
