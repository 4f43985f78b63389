"""The loss's terms as arithmetic."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lgcn_jax.losses import terms

POSITIVE, NEGATIVE = jnp.asarray([1.0, 0.0, -2.0]), jnp.asarray([0.0, 3.0, -2.0])


def test_ranking_is_softplus_of_the_difference_and_the_margin():
    expected = [math.log(1 + math.exp(d + 0.05)) for d in (-1.0, 3.0, 0.0)]
    np.testing.assert_allclose(terms.ranking(POSITIVE, NEGATIVE, 0.05), expected, rtol=1e-6)


def test_without_a_margin_ranking_is_bpr():
    expected = [-math.log(1 / (1 + math.exp(d))) for d in (-1.0, 3.0, 0.0)]
    np.testing.assert_allclose(terms.ranking(POSITIVE, NEGATIVE, 0.0), expected, rtol=1e-6)


def test_contrast_is_the_positives_share_of_two_exponentials():
    pairs = [(1.0, 0.0), (0.0, 3.0), (-2.0, -2.0)]
    expected = [-math.log(math.exp(p / 0.2) / (math.exp(p / 0.2) + math.exp(n / 0.2))) for p, n in pairs]
    np.testing.assert_allclose(terms.contrastive(POSITIVE, NEGATIVE, 0.2), expected, rtol=1e-5)


def test_contrast_with_one_negative_is_softplus_of_the_scaled_difference():
    found = terms.contrastive(POSITIVE, NEGATIVE, 0.7)
    np.testing.assert_allclose(found, terms.ranking(POSITIVE / 0.7, NEGATIVE / 0.7, 0.0), rtol=1e-5)


def test_l2_is_half_the_squared_rows_of_each_triple():
    rows = [[[1.0, 2.0], [0.0, 0.0]], [[0.0, 3.0], [2.0, 0.0]], [[-1.0, 0.0], [1.0, 1.0]]]
    expected = [0.5 * ((1 + 4) + (0 + 9) + (1 + 0)), 0.5 * ((0 + 0) + (4 + 0) + (1 + 1))]
    np.testing.assert_allclose(terms.l2(*map(jnp.asarray, rows)), expected)


def test_terms_are_weighted():
    total = terms.combine(jnp.asarray(2.0), jnp.asarray(3.0), jnp.asarray(5.0), 0.8, 0.1)
    assert float(total) == pytest.approx(0.8 * 2 + 0.2 * 3 + 0.1 * 5)


@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_extreme_scores_stay_finite(scale):
    positive, negative = jnp.asarray([scale, -scale]), jnp.asarray([-scale, scale])
    np.testing.assert_allclose(terms.ranking(positive, negative, 0.05), [0, 2 * scale + 0.05], rtol=1e-6)
    np.testing.assert_allclose(terms.contrastive(positive, negative, 0.2), [0, 2 * scale / 0.2], rtol=1e-6)


def test_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):
        scores = jnp.asarray([0.3, -1.2, 2.0]), jnp.asarray([0.1, 0.4, -0.6])
        check_grads(lambda p, n: terms.ranking(p, n, 0.05), scores, order=2)
        check_grads(lambda p, n: terms.contrastive(p, n, 0.2), scores, order=2)
