"""Groups of users by their interactions, of items by their popularity."""

import numpy as np
import pytest

from lgcn_jax.data import csr, datasets
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import groups


def test_groups_have_equal_sums_and_equal_sizes_stay_together():
    sizes = np.array([6, 1, 2, 1, 2, 3, 3, 6])  # 24 in all: 1 + 1 + 2 + 2 reach 6, 3 + 3 reach 12, a 6 reaches 18
    assert groups.equal_share_bounds(sizes, 4).tolist() == [2, 3, 6]
    assert groups.equal_share_bounds(sizes, 1).tolist() == [6]
    assert groups.equal_share_bounds(np.array([0, 0, 5]), 2).tolist() == [5]
    assert groups.equal_share_bounds(np.array([0, 0]), 3).tolist() == [0]


@pytest.mark.parametrize(("name", "expected"), [("gowalla", [24, 48, 110, 1014]), ("yelp2018", [32, 59, 122, 2311])])
def test_published_groups_of_users(published, name, expected):
    data = datasets.load(DataSettings(dataset=name, data_dir=published(name)))
    interactions = csr.degrees(data.train) + csr.degrees(data.test)
    assert groups.equal_share_bounds(interactions, 4).tolist() == expected


def test_stated_bounds_get_a_last_group_for_what_is_larger():
    assert groups.group_bounds(np.array([1, 5, 30]), (2, 10)).tolist() == [2, 10, 30]
    assert groups.group_bounds(np.array([1, 5, 30]), [2, 50]).tolist() == [2, 30, 50]
    assert groups.group_bounds(np.array([1, 5, 30]), np.array([30])).tolist() == [30]


@pytest.mark.parametrize("stated", [0, -1, True, "four", (), (3, 3), (5, 2), [[1, 2]], None, 2**70])
def test_other_groups_are_refused(stated):
    with pytest.raises(InputError, match="groups"):
        groups.group_bounds(np.array([1, 2]), stated)


def test_a_row_for_each_group_of_users():
    sizes, values = np.array([1, 9, 2, 4]), {"recall@5": np.array([0.5, 1.0, 0.25, 0.0], np.float32)}
    found = groups.user_group_table(sizes, values, (2, 3, 9))
    assert {name: column.tolist() for name, column in found.items() if name != "recall@5"} == {
        "up_to": [2, 3, 9],
        "users": [2, 0, 2],
    }
    np.testing.assert_allclose(found["recall@5"], [1 / 2 * (0.5 + 0.25), np.nan, 1 / 2 * (1 + 0)])


def test_a_row_for_each_group_of_items():
    popularity, relevant = np.array([1, 7, 2, 0]), np.array([2, 4, 0, 1])
    lists = {3: (np.array([1, 6, 1, 0]), np.array([1, 3, 0, 0]), np.array([0.25, 0.5, 0, 0], np.float32))}
    found = groups.item_group_table(popularity, relevant, lists, (0, 2))
    assert {name: found[name].tolist() for name in ("up_to", "items", "train", "relevant")} == {
        "up_to": [0, 2, 7],
        "items": [1, 2, 1],
        "train": [0, 3, 7],
        "relevant": [1, 2, 4],
    }
    np.testing.assert_allclose(found["exposure@3"], [0, 2 / 8, 6 / 8])
    np.testing.assert_allclose(found["recall@3"], [0, 0.25, 0.5])
    np.testing.assert_allclose(found["found@3"], [0 / 1, 1 / 2, 3 / 4])


def test_shares_of_nothing_are_no_numbers():
    nothing = np.zeros(2, np.int32)
    found = groups.item_group_table(np.array([2, 2]), nothing, {3: (nothing, nothing, nothing)}, (1,))
    assert np.isnan(found["exposure@3"]).all()
    assert np.isnan(found["found@3"]).all()
    assert found["recall@3"].tolist() == [0, 0]
