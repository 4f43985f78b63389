"""From raw pairs to the parts of a data set: dense ids, counts, splits, hash."""

import dataclasses

import numpy as np
import pytest
from events_of import pairs

from lgcn_jax.data import csr, interactions, preparation, synthetic
from lgcn_jax.data.events import Events
from lgcn_jax.data.interactions import Interactions, assemble, hold_out
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError


def raw(data, split: str) -> set[tuple[int, int]]:
    """A part as raw id pairs."""
    part = data.part(split)
    users, items = data.user_ids[csr.row_of_entry(part)], data.item_ids[part.indices]
    return set(zip(users.tolist(), items.tolist(), strict=True))


def train_test_split(name: str, found: Events, fraction: float, seed: int, min_test: int = 0) -> Interactions:
    return preparation.interactions_from_table(name, found, _settings(fraction, seed, min_test))


def train_test_split_csr(name, rows, num_items: int, fraction: float, seed: int, min_test: int = 0) -> Interactions:
    return preparation.interactions_from_rows(name, rows, num_items, _settings(fraction, seed, min_test))


def _settings(fraction: float, seed: int, min_test: int) -> DataSettings:
    return DataSettings(test_fraction=fraction, data_seed=seed, min_test_items=min_test)


def raw_events(found: Events) -> set[tuple[int, int]]:
    """Events as raw id pairs."""
    return set(zip(*(column.values[column.codes].tolist() for column in (found.users, found.items)), strict=True))


def test_raw_ids_get_dense_ids_in_their_order():
    data = assemble("x", pairs([(70, 5), (3, 900)]), pairs([(3, 5), (8, 2)], listed=[100]))
    assert data.user_ids.tolist() == [3, 8, 70, 100]
    assert data.item_ids.tolist() == [2, 5, 900]
    assert raw(data, "train") == {(70, 5), (3, 900)}
    assert raw(data, "test") == {(3, 5), (8, 2)}


def test_what_was_met_is_handled_and_counted():
    train = pairs([(1, 10), (1, 10), (1, 11), (4, 10), (1, 10)], listed=[2])
    test = pairs([(1, 11), (4, 13), (4, 13), (9, 10)])
    data = assemble("x", train, test)
    assert raw(data, "train") == {(1, 10), (1, 11), (4, 10)}
    assert raw(data, "test") == {(4, 13), (9, 10)}
    summary = data.summary()
    assert summary["repeated pairs merged"] == 2 + 1
    users, *others = data.noticed("test").split("; ")
    expected = "2 of 4 users have an item in the test part and are evaluated, 1 of them without a train item"
    assert users.startswith(expected)  # of 1, 2, 4, 9; the last one
    assert "3 repeated pairs merged" in others
    assert data.noticed("valid").startswith("0 of 4 users have an item in the valid part")
    assert summary["test pairs left out (seen before)"] == 1  # (1, 11)
    assert summary["users listed without an item"] == 1
    assert summary["test items unknown to train"] == 1  # 13
    assert summary["users without train items"] == 2  # 2 and 9
    assert summary["items without train users"] == 1  # 13
    assert summary["users without test items"] == 2  # 1 and 2
    assert summary["gaps in the user ids"] == (9 - 1 + 1) - 4
    assert summary["gaps in the item ids"] == (13 - 10 + 1) - 3
    assert summary["largest user degree"] == 2
    assert summary["largest item degree"] == 2
    assert summary["density"] == 3 / (4 * 3)


def test_a_validation_part_is_disjoint_from_both_others():
    data = assemble("x", pairs([(0, 0), (0, 1)]), pairs([(0, 2), (0, 3)]), pairs([(0, 1), (0, 2)]))
    assert (raw(data, "train"), raw(data, "valid"), raw(data, "test")) == ({(0, 0), (0, 1)}, {(0, 2)}, {(0, 3)})
    assert data.seen("valid") is data.train
    assert data.seen("test").indices.tolist() == [0, 1, 2]


def test_a_data_set_without_train_pairs_is_refused():
    with pytest.raises(InputError, match="no train interaction"):
        assemble("x", pairs([], listed=[1]), pairs([(1, 2)]))


def test_the_hash_does_not_depend_on_order_or_repeats():
    rows = [(1, 2), (3, 4), (1, 5), (6, 2)]
    first = assemble("a", pairs(rows), pairs([(1, 4)]))
    second = assemble("b", pairs([*rows[::-1], rows[0]]), pairs([(1, 4)]))
    assert first.content_hash() == second.content_hash()


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ([(1, 2), (3, 4), (1, 5)], [(1, 4)]),  # one pair fewer
        ([(1, 2), (3, 4), (1, 5), (6, 4)], [(1, 4)]),  # one pair changed
        ([(1, 2), (3, 4), (1, 5), (6, 2), (1, 4)], []),  # one pair moved
        ([(1, 2), (3, 4), (1, 5), (7, 2)], [(1, 4)]),  # one id renamed
    ],
)
def test_the_hash_changes_with_any_pair(train, test):
    original = assemble("a", pairs([(1, 2), (3, 4), (1, 5), (6, 2)]), pairs([(1, 4)]))
    assert assemble("a", pairs(train), pairs(test)).content_hash() != original.content_hash()


@pytest.fixture
def whole():
    return made(200, 100, 4000, seed=1)


def made(users: int, items: int, count: int, seed: int) -> Events:
    """A synthetic world as the pairs that a file of it would hold."""
    rows = synthetic.generate(users, items, count, seed)
    return pairs(np.stack([csr.row_of_entry(rows), rows.indices], 1))


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.29, 0.5])
def test_a_split_takes_the_floor_of_each_users_share(whole, fraction):
    data = train_test_split("x", whole, fraction, seed=0)
    total = csr.degrees(data.train) + csr.degrees(data.test)
    assert csr.degrees(data.test).tolist() == [int(n * round(fraction * 100)) // 100 for n in total.tolist()]
    assert raw(data, "train") | raw(data, "test") == raw_events(whole)
    assert not raw(data, "train") & raw(data, "test")


def test_a_split_is_determined_by_its_seed(whole):
    hashes = [train_test_split("x", whole, 0.2, seed).content_hash() for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_split_draws_from_all_of_a_users_items():
    one_user = pairs([(0, item) for item in range(100)] + [(1, 0)])
    drawn = np.concatenate([train_test_split("x", one_user, 0.1, seed).test.indices for seed in range(200)])
    counts = np.bincount(drawn, minlength=100)  # 2,000 draws of 100 items: 20 each, 4.2 deviation
    assert counts.min() > 0
    assert counts.max() < 20 + 6 * 4.2


def checked() -> Events:
    """500 pairs that no generator moves: 50 users, 40 items."""
    keys = np.arange(500) * 7 % 2000
    return pairs(np.stack(np.divmod(keys, 40), 1))


# A change of this hash means that splits have moved: results before and after are of different data.
def test_the_golden_split():
    data = train_test_split("x", checked(), 0.2, seed=3)
    assert hold_out(data, 0.1, 3).content_hash() == "2558a543746c46fa557446060555b0a4f91e734fc5da35dfb831cad73084fe3a"


def test_rows_are_divided_as_the_same_pairs_of_a_file(whole):
    rows = csr.from_pairs(*(column.values[column.codes] for column in (whole.users, whole.items)), (200, 100))
    found, expected = train_test_split_csr("x", rows, 100, 0.2, seed=7), train_test_split("x", whole, 0.2, seed=7)
    assert found.content_hash() == expected.content_hash()


def test_rows_without_a_pair_stay():
    data = train_test_split_csr("x", csr.from_pairs(np.array([1, 1]), np.array([0, 2]), (4, 5)), 5, 0.5, seed=0)
    assert (data.num_users, data.num_items, data.train.nnz, data.test.nnz) == (4, 5, 1, 1)


@pytest.mark.parametrize("block", [1, 37, 10**6])
def test_a_split_is_the_same_whatever_the_blocks(whole, block, monkeypatch):
    expected = train_test_split("x", whole, 0.3, seed=0).content_hash()
    monkeypatch.setattr(csr, "BLOCK", block)
    assert train_test_split("x", whole, 0.3, seed=0).content_hash() == expected


def test_draws_that_rounding_makes_equal_keep_their_order():
    rows, draws = np.array([0, 9, 9, 9]), np.array([1 - 2**-53, 2**-52, 2**-53, 0.5])
    assert interactions._order_in_rows(rows, draws).tolist() == [0, 2, 1, 3]


def test_holding_out_leaves_the_test_part_alone(whole):
    data = train_test_split("x", whole, 0.2, 0)
    held = hold_out(data, 0.1, 5)
    assert raw(held, "test") == raw(data, "test")
    assert raw(held, "train") | raw(held, "valid") == raw(data, "train")
    assert csr.degrees(held.valid).tolist() == [n // 10 for n in csr.degrees(data.train).tolist()]


def test_a_set_with_a_validation_part_keeps_it(whole):
    held = hold_out(train_test_split("x", whole, 0.2, 0), 0.1, 0)
    with pytest.raises(InputError, match="--validation_fraction"):
        hold_out(held, 0.1, 0)


def test_interactions_are_frozen():
    data = assemble("x", pairs([(0, 0)]), pairs([]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.train = interactions.csr.empty(1)


def test_users_with_few_items_get_a_test_item_and_keep_a_train_item():
    """Users with 1 to 6 items, a fifth of which is less than one for most."""
    whole = pairs([(user, item) for user in range(1, 7) for item in range(user)])
    without = train_test_split("x", whole, 0.2, seed=0)
    assert csr.degrees(without.test).tolist() == [0, 0, 0, 0, 1, 1]
    assert csr.degrees(train_test_split("x", whole, 0.2, 0, min_test=1).test).tolist() == [0, 1, 1, 1, 1, 1]
    found = train_test_split("x", whole, 0.2, 0, min_test=3)
    assert csr.degrees(found.test).tolist() == [0, 1, 2, 3, 3, 3]
    assert csr.degrees(found.train).tolist() == [1, 1, 1, 1, 2, 3]


def test_what_is_evaluated_has_a_hash_that_held_out_pairs_and_weights_do_not_move():
    data = assemble("x", pairs([(1, 5), (1, 6), (1, 7), (2, 5), (2, 7)]), pairs([(1, 8), (2, 6)]))
    assert data.evaluation_hash() == data.content_hash()
    held = hold_out(data, 0.5, seed=1)
    assert held.valid.nnz
    assert held.content_hash() != data.content_hash()
    weighed = dataclasses.replace(data, weights=np.ones(data.train.nnz, np.float32))
    assert held.evaluation_hash() == weighed.evaluation_hash() == data.evaluation_hash()
    for part in ("train", "test"):
        other = dataclasses.replace(data, **{part: csr.from_pairs([0, 1], [0, 0], (2, 4))})
        assert other.evaluation_hash() != data.evaluation_hash()
