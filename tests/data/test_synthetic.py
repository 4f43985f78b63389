"""The synthetic world: exact counts, blocks that can be made alone, skewed degrees, communities that can be learned."""

import numpy as np
import pytest

from lgcn_jax.data import csr, synthetic


@pytest.fixture
def small_blocks(monkeypatch):
    """Worlds of many blocks, though they are small."""
    monkeypatch.setattr(synthetic, "BLOCK", 500)


@pytest.mark.parametrize(
    "size", [(300, 200, 5000), (2, 2, 2), (5, 300, 750), (300, 5, 750), (40, 90, 30), (3, 1000, 1)]
)
def test_rows_are_sorted_and_distinct_and_exact_in_number(size):
    """Down to worlds smaller than their communities, and up to half of all pairs."""
    users, items, count = size
    found = synthetic.generate(users, items, count, seed=0)
    keys = csr.row_of_entry(found).astype(int) * items + found.indices
    assert (found.num_rows, len(keys)) == (users, count)
    assert (np.diff(keys) > 0).all()
    assert found.indices.min() >= 0
    assert found.indices.max() < items
    assert found.indptr.dtype == found.indices.dtype == np.int32


def test_a_seed_determines_the_world():
    first, again, other = (synthetic.generate(300, 200, 5000, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.indptr, again.indptr)
    assert np.array_equal(first.indices, again.indices)
    assert not np.array_equal(first.indptr, other.indptr)


# A change of these means that the world of a seed is another one, which the changelog has to say.
def test_the_golden_world():
    found = synthetic.generate(1000, 700, 9000, seed=3)
    assert found.indptr[[1, 10, 100]].tolist() == GOLDEN_STARTS
    assert found.indices[[0, 1, 100, 1000, 8999]].tolist() == GOLDEN_ITEMS


GOLDEN_STARTS = [7, 68, 780]
GOLDEN_ITEMS = [28, 56, 698, 592, 574]


def test_a_block_alone_is_the_same_rows_of_the_whole(small_blocks):
    world = synthetic.make_spec(300, 200, 5000, seed=4)
    whole = synthetic.generate_rows(world, 0, 300)
    assert len(world.starts) > 5
    assert (world.starts[0], world.starts[-1]) == (0, 300)
    for number in (4, 0, len(world.starts) - 2):  # whatever was made before it
        users = np.arange(*world.starts[number : number + 2])
        expected, found = csr.take_rows(whole, users), synthetic.generate_block(world, number)
        assert np.array_equal(found.indptr, expected.indptr)
        assert np.array_equal(found.indices, expected.indices)


@pytest.mark.parametrize("bounds", [(0, 1), (17, 120), (299, 300), (50, 50), (0, 300)])
def test_some_users_alone_are_those_of_the_whole(small_blocks, bounds):
    world = synthetic.make_spec(300, 200, 5000, seed=4)
    expected = csr.take_rows(synthetic.generate_rows(world, 0, 300), np.arange(*bounds))
    found = synthetic.generate_rows(world, *bounds)
    assert np.array_equal(found.indptr, expected.indptr)
    assert np.array_equal(found.indices, expected.indices)


def test_some_users_draw_no_block_but_theirs(small_blocks, monkeypatch):
    world, drawn = synthetic.make_spec(300, 200, 5000, seed=4), []
    block = synthetic.generate_block
    monkeypatch.setattr(synthetic, "generate_block", lambda world, number: drawn.append(number) or block(world, number))
    synthetic.generate_rows(world, int(world.starts[2]), int(world.starts[3]) + 1)
    assert drawn == [2, 3]


@pytest.mark.parametrize("size", [(1000, 10**6, 50_000), (1000, 1000, 499_000), (7, 3, 10), (1000, 500, 3)])
def test_degrees_add_up_and_nobody_has_more_than_half(size):
    found = synthetic.draw_user_degrees(*size)
    assert found.sum() == size[2]
    assert found.min() >= 0
    assert found.max() <= (size[1] + 1) // 2


def test_degrees_follow_the_power_law():
    found = synthetic.draw_user_degrees(100_000, 10**6, 10**8)
    rank = np.array([10, 100, 1000, 10_000, 90_000])
    np.testing.assert_allclose(found[rank] / found[10], ((rank + 1) / 11) ** -0.6, rtol=0.01)


def test_popularity_is_skewed_like_a_power_law():
    """Items taken by their popularity: the law's exponent, and far from uniform draws, which give a tenth a tenth."""
    found = synthetic.generate(50_000, 20_000, 200_000, seed=0)
    items = np.sort(csr.column_counts(found, 20_000))[::-1]
    assert items[:2000].sum() > 0.35 * 200_000
    assert items[0] > 10 * np.median(items)
    middle = np.arange(200, 4000)  # below, a user who has an item can't take it again; above, single pairs count
    slope = np.polyfit(np.log(middle), np.log(items[middle]), 1)[0]
    assert slope == pytest.approx(-0.8, abs=0.06)


def test_items_are_drawn_with_their_probability():
    """A user with few items among many draws from the law that the race of crowded users is run by."""
    world = synthetic.make_spec(16, 50, 16, seed=0)
    drawn = synthetic._draw_items(world, np.random.default_rng(0), np.full(200_000, 3))
    counts = np.bincount(drawn, minlength=50)[world.item_permutation]
    expected = 200_000 * synthetic._rank_probabilities(world, 3)
    assert expected.sum() == pytest.approx(200_000)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_rejection_and_race_follow_the_same_law():
    """How often each item is among the 6 of 96 of many equal users, drawn by the one and by the other."""
    world = synthetic.make_spec(16, 96, 16, seed=0)
    count, wanted, community = 20_000, np.full(20_000, 6), np.full(20_000, 5)
    everybody = np.arange(count)
    ways = (
        synthetic._draw_by_rejection(world, np.random.default_rng(0), wanted, community),
        synthetic._draw_by_race(world, np.random.default_rng(1), everybody, wanted, community),
    )
    shares = [np.bincount(np.concatenate(keys) % 96, minlength=96) / count for keys in ways]
    deviation = np.sqrt(2 * shares[0] * (1 - shares[0]) / count)
    assert (np.abs(shares[0] - shares[1]) < 5 * deviation + 1e-9).all()


def test_items_of_a_community_share_their_users():
    """The second to sixteenth singular vectors stand out of the noise: one for each further community."""
    found = synthetic.generate(1600, 800, 60_000, seed=0)
    matrix = np.zeros((1600, 800))
    matrix[csr.row_of_entry(found), found.indices] = 1
    scale = [np.sqrt(np.maximum(matrix.sum(axis), 1)) for axis in (1, 0)]
    values = np.linalg.svd(matrix / scale[0][:, None] / scale[1], compute_uv=False)
    assert values[15] > 1.5 * values[16]


def test_a_community_predicts_taste():
    """Most of what a user with few items has is of the user's own community, one sixteenth of all items."""
    world = synthetic.make_spec(2000, 3200, 40_000, seed=1)
    found = synthetic.generate_rows(world, 0, 2000)
    item_community = np.empty(3200, int)
    item_community[world.item_permutation] = np.arange(3200) % 16
    own = item_community[found.indices] == world.user_community[csr.row_of_entry(found)]
    assert 0.7 < own.mean() < 0.85


def test_a_world_that_would_be_dense_is_refused():
    with pytest.raises(ValueError, match="51 of 10 x 10"):
        synthetic.generate(10, 10, 51, seed=0)


def test_a_million_pairs_stay_within_the_stated_memory():
    """Arrays alive at once while a world is made, as Python's allocator counts them."""
    import tracemalloc

    from lgcn_jax.data import preparation
    from lgcn_jax.data.settings import DataSettings

    tracemalloc.start()
    whole = synthetic.generate(12_500, 6_250, 1_000_000, seed=0)
    preparation.interactions_from_rows("x", whole, 6_250, DataSettings())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < synthetic.peak_bytes(12_500, 6_250, 1_000_000)
