"""The loss's terms as arithmetic."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lgcn_jax import losses
from lgcn_jax.losses import BPR, EmbeddedBatch, Embeddings, Enhanced
from lgcn_jax.losses.bpr import ranking_loss
from lgcn_jax.losses.enhanced import contrastive_loss

POSITIVE, NEGATIVE = jnp.asarray([1.0, 0.0, -2.0]), jnp.asarray([0.0, 3.0, -2.0])


def test_ranking_is_softplus_of_the_difference_and_the_margin():
    expected = [math.log(1 + math.exp(d + 0.05)) for d in (-1.0, 3.0, 0.0)]
    np.testing.assert_allclose(ranking_loss(POSITIVE, NEGATIVE[None], 0.05), expected, rtol=1e-6)


def test_without_a_margin_ranking_is_bpr():
    expected = [-math.log(1 / (1 + math.exp(d))) for d in (-1.0, 3.0, 0.0)]
    np.testing.assert_allclose(ranking_loss(POSITIVE, NEGATIVE[None], 0.0), expected, rtol=1e-6)


def test_contrast_is_the_positives_share_of_two_exponentials():
    pairs = [(1.0, 0.0), (0.0, 3.0), (-2.0, -2.0)]
    expected = [-math.log(math.exp(p / 0.2) / (math.exp(p / 0.2) + math.exp(n / 0.2))) for p, n in pairs]
    np.testing.assert_allclose(contrastive_loss(POSITIVE, NEGATIVE[None], 0.2), expected, rtol=1e-5)


def test_contrast_with_one_negative_is_softplus_of_the_scaled_difference():
    found = contrastive_loss(POSITIVE, NEGATIVE[None], 0.7)
    np.testing.assert_allclose(found, ranking_loss(POSITIVE / 0.7, NEGATIVE[None] / 0.7, 0.0), rtol=1e-5)


def batch(user, positive, negative, item=(0, 1), axis=None) -> EmbeddedBatch:
    """A batch whose final and layer-0 embeddings are the same."""
    rows = Embeddings(*(None if part is None else jnp.asarray(part) for part in (user, positive, negative)))
    return EmbeddedBatch(rows, rows, jnp.full(2, 0.5), jnp.asarray(item), None, axis)


USER, OWN = [[1.0, 2.0], [0.0, 1.0]], [[0.0, 3.0], [2.0, 0.0]]
EACH = [[[-1.0, 0.0], [1.0, 1.0]], [[2.0, 2.0], [0.0, 4.0]]]  # two negatives of each of two examples


def test_scores_are_dot_products_with_an_example_s_own_negatives():
    positive, negative = losses.scores(batch(USER, OWN, EACH))
    np.testing.assert_array_equal(positive, [6, 0])
    np.testing.assert_array_equal(negative, [[-1, 1], [6, 4]])


def test_shared_negatives_are_scored_by_all_examples():
    _, negative = losses.scores(batch(USER, OWN, [[1.0, 1.0], [0.0, 2.0], [3.0, 0.0]]))
    np.testing.assert_array_equal(negative, [[3, 1], [4, 2], [3, 0]])


def test_in_batch_negatives_are_the_other_positive_items():
    _, negative = losses.scores(batch(USER, OWN, None))
    np.testing.assert_array_equal(negative, [[-np.inf, 3], [2, -np.inf]])
    _, negative = losses.scores(batch(USER, OWN, None, item=(7, 7)))
    assert np.isneginf(negative).all()  # the same item is nobody's negative


def test_padding_is_nobody_s_negative():
    padded = batch(USER, OWN, None)._replace(weight=jnp.asarray([1.0, 0.0]))
    np.testing.assert_array_equal(losses.scores(padded)[1], [[-np.inf, 3], [-np.inf, -np.inf]])


def test_l2_is_half_the_squared_rows_of_each_example():
    expected = [0.5 * ((1 + 4) + 9 + (1 + 0) + (4 + 4)), 0.5 * (1 + 4 + (1 + 1) + 16)]
    np.testing.assert_allclose(losses.l2_penalty(batch(USER, OWN, EACH)), expected)
    np.testing.assert_allclose(losses.l2_penalty(batch(USER, OWN, None)), [0.5 * (5 + 9), 0.5 * (1 + 4)])


def test_l2_counts_shared_rows_once_a_batch():
    found = losses.l2_penalty(batch(USER, OWN, [[1.0, 1.0], [0.0, 2.0]]))
    assert float(found.sum()) == pytest.approx(0.5 * (5 + 9 + 1 + 4 + 2 + 4))


def test_terms_are_weighted():
    enhanced = Enhanced(alpha=0.8, l2=0.1)
    means = {"ranking": jnp.asarray(2.0), "contrastive": jnp.asarray(3.0), "l2": jnp.asarray(5.0)}
    assert float(enhanced.total(means)) == pytest.approx(0.8 * 2 + 0.2 * 3 + 0.1 * 5)
    assert float(BPR(l2=0.1).total(means)) == pytest.approx(2 + 0.1 * 5)


def test_bpr_is_the_ranking_term_without_a_margin():
    found, example = BPR().terms(batch(USER, OWN, EACH)), Enhanced(margin=0.0).terms(batch(USER, OWN, EACH))
    assert found.keys() == {"ranking"}
    np.testing.assert_array_equal(found["ranking"], example["ranking"])


def test_several_negatives_are_averaged_by_ranking_and_compete_in_contrast():
    terms = Enhanced(margin=0.05, temperature=0.5).terms(batch(USER, OWN, EACH))
    differences = [[-1 - 6, 6 - 6], [1 - 0, 4 - 0]]
    expected = [np.mean([math.log(1 + math.exp(d + 0.05)) for d in row]) for row in differences]
    np.testing.assert_allclose(terms["ranking"], expected, rtol=1e-6)
    shares = [
        math.exp(6 / 0.5) / sum(math.exp(s / 0.5) for s in (6, -1, 6)),
        1 / sum(math.exp(s / 0.5) for s in (0, 1, 4)),
    ]
    np.testing.assert_allclose(terms["contrastive"], [-math.log(share) for share in shares], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_extreme_scores_stay_finite(scale):
    positive, negative = jnp.asarray([scale, -scale]), jnp.asarray([-scale, scale])
    np.testing.assert_allclose(ranking_loss(positive, negative[None], 0.05), [0, 2 * scale + 0.05], rtol=1e-6)
    np.testing.assert_allclose(contrastive_loss(positive, negative[None], 0.2), [0, 2 * scale / 0.2], rtol=1e-6)


def test_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):
        scores = jnp.asarray([0.3, -1.2, 2.0]), jnp.asarray([0.1, 0.4, -0.6])
        check_grads(lambda p, n: ranking_loss(p, n[None], 0.05), scores, order=2)
        check_grads(lambda p, n: contrastive_loss(p, n[None], 0.2), scores, order=2)
