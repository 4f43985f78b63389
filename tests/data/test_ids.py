"""Raw ids: integers or text, coded, brought together, and found again."""

import numpy as np
import pytest

from lgcn_jax.data import ids
from lgcn_jax.errors import InputError


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (np.array([7, 3, 7, 900], np.int64), np.int32),
        (np.array([7, 3, 7, 8], np.uint8), np.int32),
        (np.array([2**40, 3, 2**40]), np.int64),
        (np.array([-5, 3, -(2**40)]), np.int64),
        (np.array([-5, 3, -5]), np.int32),
    ],
)
def test_integers_keep_their_values_in_the_narrowest_type(raw, kind):
    found = ids.integer_id_column(raw)
    assert found.values.dtype == kind
    assert found.values[found.codes].tolist() == raw.tolist()
    assert found.values.tolist() == sorted(set(raw.tolist()))


def test_integers_beyond_64_bits_are_text():
    found = ids.integer_id_column(np.array([2**64 - 1, 2], np.uint64))
    assert found.values[found.codes].tolist() == [str(2**64 - 1), "2"]


def test_text_is_kept_exactly_and_in_the_order_of_code_points():
    found = ids.text_id_column(["b", "007", "7", "b", "é"])
    assert found.values.tolist() == ["007", "7", "b", "é"]
    assert found.values[found.codes].tolist() == ["b", "007", "7", "b", "é"]


def test_columns_come_together_as_text_where_one_is_text():
    values, (first, second) = ids.unify_ids([ids.integer_id_column(np.array([10, 9])), ids.text_id_column(["a", "9"])])
    assert values.tolist() == ["10", "9", "a"]
    assert (values[first].tolist(), values[second].tolist()) == (["10", "9"], ["a", "9"])


def test_an_empty_column_takes_no_part():
    empty = ids.integer_id_column(np.zeros(0, np.int64))
    values, (first, second) = ids.unify_ids([empty, ids.text_id_column(["b", "a"])])
    assert (values.tolist(), first.tolist(), second.tolist()) == (["a", "b"], [], [1, 0])


@pytest.mark.parametrize("known", [np.array([2, 5, 9], np.int32), np.array(["2", "5", "9"], object)])
def test_ids_are_found_again(known):
    asked = [known[2], known[0]]
    assert ids.positions(asked, known, "users").tolist() == [2, 0]
    assert ids.positions(known[1], known, "users").tolist() == [1]
    other = 7 if known.dtype.kind == "i" else "7"
    assert ids.positions([known[1], other], known, "users", skip_unknown=True).tolist() == [1]
    with pytest.raises(InputError, match="users: found 1 unknown ids, such as 7, expected ids of the data set"):
        ids.positions([other, known[1]], known, "users")


def test_integers_are_not_text():
    with pytest.raises(InputError, match="users: found 5 of type int, expected ids that are text, such as '2'"):
        ids.positions([5], np.array(["2", "5"], object), "users")
    with pytest.raises(InputError, match="users: found '5' of type str, expected ids that are integers, such as 2"):
        ids.positions(["5"], np.array([2, 5]), "users")
