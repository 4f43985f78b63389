"""From events to a data set: labels, ratings, repeats, k-core, splits, weights, titles."""

import numpy as np
import pytest
from events_of import pairs

import lgcn_jax as lg
from lgcn_jax.data import csr, filters
from lgcn_jax.data.events import Events
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError

HEADER = "user,item,time,rating,weight,part\n"


def made(tmp_path, rows: str, **settings) -> Interactions:
    (tmp_path / "events.csv").write_text(HEADER + "\n".join(",".join(row.split()) for row in rows.strip().splitlines()))
    return lg.read(tmp_path / "events.csv", **settings)


def raw(found: Interactions, split: str) -> list[tuple]:
    part = found.part(split)
    users, items = found.user_ids[csr.row_of_entry(part)], found.item_ids[part.indices]
    return list(zip(users.tolist(), items.tolist(), strict=True))


SHOP = """
a x 1 5 1 train
a y 2 4 2 train
a z 9 1 3 test
b x 3 2 4 train
b z 8 5 5 valid
c y 7 5 6 test
"""


def test_leave_last_out(tmp_path):
    found = made(tmp_path, SHOP, split="leave_last_out")
    assert raw(found, "test") == [("a", "z"), ("b", "z")]  # c keeps its only item
    assert raw(found, "train") == [("a", "x"), ("a", "y"), ("b", "x"), ("c", "y")]
    both = made(tmp_path, SHOP, split="leave_last_out", validation_fraction=0.1)
    assert (raw(both, "valid"), raw(both, "test")) == ([("a", "y")], [("a", "z"), ("b", "z")])


def test_temporal(tmp_path):
    found = made(tmp_path, SHOP, split="temporal", test_fraction=1 / 3)
    assert raw(found, "test") == [("a", "z"), ("b", "z")]
    assert "split in time: test pairs are from 8 on, 33.3% of all" in found.remarks
    both = made(tmp_path, SHOP, split="temporal", test_fraction=1 / 3, validation_fraction=0.25)
    assert (raw(both, "valid"), raw(both, "train")) == ([("c", "y")], [("a", "x"), ("a", "y"), ("b", "x")])
    with pytest.raises(InputError, match="split=temporal: found no train pair before the last"):
        made(tmp_path, "a x 1 1 1 train\na y 1 1 1 train", split="temporal")


def test_no_moment_is_on_both_sides_of_a_temporal_cut(tmp_path):
    rows = "\n".join(f"u{n % 7} i{n} {n // 10} 1 1 train" for n in range(100))
    found = made(tmp_path, rows, split="temporal", test_fraction=0.25)
    moment = {f"i{n}": n // 10 for n in range(100)}
    train, test = ({moment[item] for _, item in raw(found, split)} for split in ("train", "test"))
    assert (max(train), min(test)) == (6, 7)


def test_by_a_column(tmp_path):
    found = made(tmp_path, SHOP, split="column", split_col="part")
    assert raw(found, "valid") == [("b", "z")]
    assert raw(found, "test") == [("a", "z"), ("c", "y")]
    with pytest.raises(InputError, match="split_col: found '1', expected train, valid or test in each row"):
        made(tmp_path, SHOP, split="column", split_col="rating")


def test_none(tmp_path):
    found = made(tmp_path, SHOP, split="none")
    assert (found.train.nnz, found.valid.nnz, found.test.nnz) == (6, 0, 0)


REPEATED = "a x 5 1 1 t\na x 2 1 10 t\na x 9 1 100 t\na y 6 1 1000 t\nb y 3 1 7 t"


def test_repeats_are_merged_at_their_first_time_with_their_last_weight(tmp_path):
    found = made(tmp_path, REPEATED, split="leave_last_out", weight="weight")
    assert raw(found, "test") == [("a", "y")]  # x came first, at 2
    assert dict(zip(raw(found, "train"), found.weights.tolist(), strict=True)) == {("a", "x"): 1.0, ("b", "y"): 7.0}
    assert found.notes["repeated pairs merged"] == 2
    assert made(tmp_path, REPEATED, split="none", weight="weight").weights.tolist() == [100.0, 1000.0, 7.0]


def test_repeats_are_counted(tmp_path):
    counted = made(tmp_path, REPEATED, split="none", repeats="count")
    assert dict(zip(raw(counted, "train"), counted.weights.tolist(), strict=True)) == {
        ("a", "x"): 3.0,
        ("a", "y"): 1.0,
        ("b", "y"): 1.0,
    }
    summed = made(tmp_path, REPEATED, split="none", repeats="count", weight="weight")
    assert summed.weights.tolist() == [111.0, 1000.0, 7.0]


def test_weights_stay_with_their_pairs_in_a_random_split(tmp_path):
    rows = "\n".join(f"{n % 5} {n} 0 1 {n + 1} t" for n in range(100))
    found = made(tmp_path, rows, weight="weight", test_fraction=0.3)
    assert found.weights.tolist() == [item + 1 for _, item in raw(found, "train")]
    assert found.weights.dtype == np.float32


def test_what_is_not_liked_is_known(tmp_path):
    found = made(tmp_path, SHOP, split="none", min_rating=4.0)
    assert raw(found, "train") == [("a", "x"), ("a", "y"), ("b", "z"), ("c", "y")]
    disliked = found.disliked
    pairs_ = zip(found.user_ids[csr.row_of_entry(disliked)], found.item_ids[disliked.indices], strict=True)
    assert list(pairs_) == [("a", "z"), ("b", "x")]
    assert found.notes["rows rated below 4 left out"] == 2
    assert found.content_hash() != made(tmp_path, SHOP.replace("a z 9 1", "a z 9 5"), split="none").content_hash()


def test_a_pair_that_is_liked_too_is_not_disliked(tmp_path):
    found = made(
        tmp_path, "a x 1 5 1 t\na x 2 1 1 t\nb x 1 5 1 t\nb y 1 5 1 t\na y 1 1 1 t", split="none", min_rating=3
    )
    assert found.disliked.nnz == 1


def brute_force_core(rows: set, least_items: int, least_users: int) -> set:
    while True:
        kept = {
            (u, i)
            for u, i in rows
            if sum(u == v for v, _ in rows) >= least_items and sum(i == j for _, j in rows) >= least_users
        }
        if kept == rows:
            return rows
        rows = kept


def test_the_k_core_is_iterated():
    rng = np.random.default_rng(0)
    rows = {(int(u), int(i)) for u, i in rng.integers(0, [20, 15], (150, 2))}
    events = filters.merge_repeats(pairs(sorted(rows)), "merge")
    found = filters.drop_unused_ids(filters.k_core(events, 5, 5))
    kept = set(zip(*(c.values[c.codes].tolist() for c in (found.users, found.items)), strict=True))
    assert kept == brute_force_core(rows, 5, 5)
    assert 0 < len(kept) < len(rows)
    assert found.notes["pairs left out by the k-core"] == len(rows) - len(kept)
    assert found.notes["users left out by the k-core"] == len({u for u, _ in rows}) - len({u for u, _ in kept})


def test_nothing_left_is_told_with_the_counts_of_every_step(tmp_path):
    with pytest.raises(InputError) as error:
        made(tmp_path, SHOP, min_rating=9)
    assert "found no event that is left (6 rows read; 6 rows rated below 9 left out), expected at least one" in str(
        error.value
    )
    with pytest.raises(InputError) as error:
        made(tmp_path, SHOP, min_rating=2, min_user_interactions=4)
    assert "1 rows rated below 2 left out; 5 pairs left out by the k-core" in str(error.value)


def test_users_and_items_that_are_filtered_away_are_gone(tmp_path):
    found = made(tmp_path, SHOP, split="none", min_rating=5)
    assert (found.user_ids.tolist(), found.item_ids.tolist()) == (["a", "b", "c"], ["x", "y", "z"])
    assert made(tmp_path, SHOP, split="none", min_user_interactions=3).user_ids.tolist() == ["a"]


def test_titles(tmp_path):
    (tmp_path / "films.csv").write_text('movieId,title,year\nx,"Ship, The",1990\nz,Tea,1991\nq,Never seen,1992\n')
    found = made(tmp_path, SHOP, split="none", item_table=str(tmp_path / "films.csv"))
    assert found.item_titles.tolist() == ["Ship, The", "", "Tea"]
    years = made(tmp_path, SHOP, split="none", item_table=str(tmp_path / "films.csv"), item_title_col="year")
    assert years.item_titles.tolist() == ["1990", "", "1991"]
    assert found.content_hash() == made(tmp_path, SHOP, split="none").content_hash()
    with pytest.raises(InputError, match="item_title_col: found 'name', expected a column of"):
        made(tmp_path, SHOP, item_table=str(tmp_path / "films.csv"), item_title_col="name")
    (tmp_path / "films.csv").write_text("movieId,title\n1,Ship\n")
    with pytest.raises(InputError, match="no title of the 3 items, expected ids such as x"):
        made(tmp_path, SHOP, item_table=str(tmp_path / "films.csv"))


def test_an_event_is_taken_with_all_that_is_known_of_it():
    whole = pairs([(1, 2), (3, 4), (5, 6)])
    events = Events(whole.users, whole.items, {"time": np.array([7, 8, 9])})
    assert events.take(np.array([2, 0])).values["time"].tolist() == [9, 7]
