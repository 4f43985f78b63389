"""Metrics written out as arithmetic."""

from math import log2

import jax.numpy as jnp
import numpy as np
import pytest

from lgcn_jax.evaluation import metrics


def top_k(hits, relevant, k) -> list[float]:
    """Precision, recall and ndcg of one user."""
    found = metrics.precision_recall_ndcg(jnp.asarray([hits], bool), jnp.asarray([relevant], jnp.int32), k)
    return [float(values[0]) for values in found]


def test_hits_at_ranks_1_and_3_of_three_relevant_items():
    gain = 1 / log2(2) + 1 / log2(4)
    ideal = 1 / log2(2) + 1 / log2(3) + 1 / log2(4)
    assert top_k([1, 0, 1, 0], 3, 4) == pytest.approx([2 / 4, 2 / 3, gain / ideal])


def test_hits_below_k_do_not_count():
    assert top_k([0, 0, 1, 1], 2, 2) == [0, 0, 0]


def test_the_ideal_list_is_cut_at_k():
    # Five relevant items, two places: the ideal list holds two.
    ideal = 1 / log2(2) + 1 / log2(3)
    assert top_k([0, 1, 1], 5, 2) == pytest.approx([1 / 2, 1 / 5, 1 / log2(3) / ideal])


def test_a_perfect_list():
    assert top_k([1, 1, 0], 2, 3) == pytest.approx([2 / 3, 1, 1])


def test_a_user_without_relevant_items_gets_0():
    assert top_k([0, 0], 0, 2) == [0, 0, 0]


def test_users_are_independent():
    hits = jnp.asarray([[1, 0], [0, 1], [0, 0]], bool)
    precision, recall, ndcg = metrics.precision_recall_ndcg(hits, jnp.asarray([1, 2, 0], jnp.int32), 2)
    np.testing.assert_allclose(precision, [1 / 2, 1 / 2, 0])
    np.testing.assert_allclose(recall, [1, 1 / 2, 0])
    np.testing.assert_allclose(ndcg, [1, 1 / log2(3) / (1 + 1 / log2(3)), 0], rtol=1e-6)


def one(metric, hits, *arguments) -> float:
    """A metric of one user; `arguments` are how many items are relevant, where it takes that, and k."""
    *relevant, k = arguments
    return float(metric(jnp.asarray([hits], bool), *(jnp.asarray([each], jnp.int32) for each in relevant), k)[0])


def test_the_reciprocal_rank_is_that_of_the_first_hit():
    assert one(metrics.reciprocal_rank, [0, 1, 1], 3) == pytest.approx(1 / 2)
    assert one(metrics.reciprocal_rank, [0, 0, 1], 2) == 0
    assert one(metrics.reciprocal_rank, [1, 0, 1], 3) == 1


def test_the_hit_rate_is_1_from_one_hit_on():
    assert one(metrics.hit_rate, [0, 1, 1], 3) == 1
    assert one(metrics.hit_rate, [0, 0, 1], 2) == 0


def test_average_precision_adds_the_precision_at_each_hit():
    assert one(metrics.average_precision, [1, 0, 1, 0], 3, 4) == pytest.approx(1 / 3 * (1 / 1 + 2 / 3))
    assert one(metrics.average_precision, [1, 0, 1, 0], 3, 2) == pytest.approx(1 / 2 * (1 / 1))


def test_average_precision_is_1_for_a_full_list_of_a_user_with_more_relevant_items():
    # Six relevant items, two places; trec_eval would say 1/6 * (1/1 + 2/2).
    assert one(metrics.average_precision, [1, 1, 1], 6, 2) == 1


def test_all_metrics_of_a_user_are_0_without_hits_or_relevant_items():
    for hits, relevant in (([0, 0], 3), ([0, 0], 0)):
        found = metrics.user_metrics(jnp.asarray([hits], bool), jnp.asarray([relevant], jnp.int32), 2)
        assert [float(value[0]) for value in found] == [0] * len(metrics.PER_USER)


def test_the_metrics_of_users_stand_in_the_order_of_their_names():
    hits, relevant = jnp.asarray([[0, 1, 1]], bool), jnp.asarray([3], jnp.int32)
    found = dict(
        zip(metrics.PER_USER, (float(value[0]) for value in metrics.user_metrics(hits, relevant, 3)), strict=True)
    )
    gain, ideal = 1 / log2(3) + 1 / log2(4), 1 / log2(2) + 1 / log2(3) + 1 / log2(4)
    expected = {"precision": 2 / 3, "recall": 2 / 3, "ndcg": gain / ideal}
    expected |= {"mrr": 1 / 2, "hit_rate": 1, "map": 1 / 3 * (1 / 2 + 2 / 3)}
    assert found == pytest.approx(expected)
