"""The synthetic world: exact counts, skewed degrees, and communities that can be learned."""

import numpy as np
import pytest

from lgcn_jax import synthetic


def degrees(ids, size) -> np.ndarray:
    return np.sort(np.bincount(ids, minlength=size))[::-1]


def test_pairs_are_distinct_exact_in_number_and_sorted():
    found = synthetic.generate(300, 200, 5000, seed=0)
    keys = found.users.astype(int) * 200 + found.items
    assert len(keys) == 5000
    assert (np.diff(keys) > 0).all()
    assert (found.users.min(), found.items.min()) >= (0, 0)
    assert found.users.max() < 300
    assert found.items.max() < 200


def test_a_seed_determines_the_world():
    first, again, other = (synthetic.generate(300, 200, 5000, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.items, again.items)
    assert not np.array_equal(first.items, other.items)


def test_degrees_are_skewed_like_a_power_law():
    found = synthetic.generate(3000, 2000, 60_000, seed=0)
    users, items = degrees(found.users, 3000), degrees(found.items, 2000)
    # Uniform draws would give the most active tenth about 12 % of all pairs.
    assert items[:200].sum() > 0.35 * 60_000
    assert users[:300].sum() > 0.2 * 60_000
    assert items[0] > 10 * np.median(items)


def test_items_of_a_community_share_their_users():
    """The second to sixteenth singular vectors stand out of the noise: one for each further community."""
    found = synthetic.generate(1600, 800, 60_000, seed=0)
    matrix = np.zeros((1600, 800))
    matrix[found.users, found.items] = 1
    scale = [np.sqrt(np.maximum(matrix.sum(axis), 1)) for axis in (1, 0)]
    values = np.linalg.svd(matrix / scale[0][:, None] / scale[1], compute_uv=False)
    assert values[15] > 1.5 * values[16]


@pytest.mark.parametrize(("users", "items"), [(2, 2), (5, 300), (300, 5)])
def test_worlds_smaller_than_their_communities(users, items):
    count = users * items // 2
    assert len(synthetic.generate(users, items, count, seed=0).users) == count


def test_a_world_that_would_be_dense_is_refused():
    with pytest.raises(ValueError, match="51 of 10 x 10"):
        synthetic.generate(10, 10, 51, seed=0)
