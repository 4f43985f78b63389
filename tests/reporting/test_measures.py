"""Samples, the plane of the items and the users that are shown, against what can be said of them otherwise."""

import numpy as np
import pytest

from lgcn_jax.data import csr
from lgcn_jax.reporting import measures


def test_pairs_are_the_parts_with_an_item_that_the_user_has_nowhere():
    """Users 0, 1 and 2 of six items; the second has all of them, and so gives no pair."""
    seen = csr.from_pairs(np.array([0, 0, 1, 1, 1, 1, 2]), np.array([0, 1, 0, 1, 2, 3, 5]), (3, 6))
    part = csr.from_pairs(np.array([0, 0, 1, 1, 2]), np.array([2, 5, 4, 5, 0]), (3, 6))
    drawn = set()
    for _ in range(50):
        users, positives, unseen = measures.sample_triples(part, seen, 6)
        assert list(zip(users.tolist(), positives.tolist(), strict=True)) == [(0, 2), (0, 5), (2, 0)]
        drawn |= set(zip(users.tolist(), unseen.tolist(), strict=True))
    assert len(drawn) <= 3  # the seed is fixed
    assert drawn <= {(0, 3), (0, 4), (2, 1), (2, 2), (2, 3), (2, 4)}


def test_unseen_items_are_drawn_uniformly():
    seen = csr.from_pairs(np.zeros(3, int), np.array([1, 4, 8]), (1, 10))
    own = seen.indices
    assert [measures._kth_missing_item(own, rank) for rank in range(7)] == [0, 2, 3, 5, 6, 7, 9]


def test_large_parts_are_sampled(monkeypatch):
    monkeypatch.setattr(measures, "SAMPLE", 10)
    rows, columns = np.divmod(np.arange(200), 10)
    users, positives, _ = measures.sample_triples(csr.from_pairs(rows, columns, (20, 30)), csr.empty(20), 30)
    assert len(set(zip(users.tolist(), positives.tolist(), strict=True))) == 10


def test_area_under_the_curve_is_the_share_of_pairs_in_order():
    positive, negative = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0])
    # 3 > 2, 3 > 0, 1 < 2, 1 > 0, 2 = 2, 2 > 0
    assert measures.area_under_curve(positive, negative) == pytest.approx((1 + 1 + 0 + 1 + 0.5 + 1) / 6)
    assert np.isnan(measures.area_under_curve(positive, np.zeros(0)))


def test_the_map_is_along_the_directions_of_largest_variance():
    """Of points that lie in a plane, spread three times as far along one direction as along the other."""
    random = np.random.default_rng(3)
    basis = np.linalg.qr(random.normal(size=(5, 2)))[0].T
    plane = random.normal(size=(400, 2)) * (3, 1)
    plane -= plane.mean(0)
    found = measures.item_map((plane @ basis + 7).astype(np.float32), np.arange(400))
    assert found.items.tolist() == list(range(400))
    assert sum(found.explained) == pytest.approx(1, abs=1e-6)
    assert found.explained[0] == pytest.approx(0.9, abs=0.03)
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
    shown = np.linalg.norm(found.xy[:, None] - found.xy[None], axis=-1)
    np.testing.assert_allclose(shown, distances, atol=1e-4)


def test_the_map_of_many_items_has_the_most_popular_ones_and_others(monkeypatch):
    monkeypatch.setattr(measures, "POINTS", 20)
    degrees = np.random.default_rng(0).permutation(100)
    found = measures.item_map(np.random.default_rng(1).normal(size=(100, 4)), degrees)
    assert (len(set(found.items.tolist())), found.popular, found.num_items) == (20, 10, 100)
    assert set(found.degrees[-10:].tolist()) == set(range(90, 100))
    assert (np.diff(found.degrees) > 0).all()


@pytest.mark.parametrize("vectors", [np.ones((5, 3)), np.arange(5.0)[:, None], np.ones((1, 4))])
def test_the_map_of_what_has_no_plane(vectors):
    found = measures.item_map(vectors, np.arange(len(vectors)))
    assert np.isfinite(found.xy).all()
    assert found.xy.shape == (len(vectors), 2)
    assert np.isfinite(found.explained).all()


def test_users_shown_are_of_all_degrees():
    degrees = np.random.default_rng(0).permutation(120)
    shown = measures.users_to_show(degrees, np.flatnonzero(degrees >= 24))
    assert len(shown) == 12
    assert ((degrees[shown] - 24) // 8).tolist() == list(range(12))
    assert measures.users_to_show(degrees, np.array([5, 3])).tolist() == sorted([5, 3], key=lambda user: degrees[user])
    assert measures.users_to_show(degrees, np.zeros(0, int)).tolist() == []
