"""Metrics written out as arithmetic."""

from math import log2

import jax.numpy as jnp
import numpy as np
import pytest

from lgcn_jax.evaluation import metrics


def top_k(hits, relevant, k) -> list[float]:
    """Precision, recall and ndcg of one user."""
    found = metrics.top_k(jnp.asarray([hits], bool), jnp.asarray([relevant], jnp.int32), k)
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
    precision, recall, ndcg = metrics.top_k(hits, jnp.asarray([1, 2, 0], jnp.int32), 2)
    np.testing.assert_allclose(precision, [1 / 2, 1 / 2, 0])
    np.testing.assert_allclose(recall, [1, 1 / 2, 0])
    np.testing.assert_allclose(ndcg, [1, 1 / log2(3) / (1 + 1 / log2(3)), 0], rtol=1e-6)
