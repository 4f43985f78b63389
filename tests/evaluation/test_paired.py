"""Paired differences against SciPy and against simulated coverage."""

import numpy as np
import pytest
import scipy.stats

from lgcn_jax.evaluation.paired import bootstrap_interval, holm, paired_difference


def test_a_difference_is_that_of_the_means_and_counts_its_signs():
    found = paired_difference(np.array([0.5, 0.25, 0.0, 1.0]), np.array([0.75, 0.25, 0.5, 0.5]))
    assert found.mean == 0.0625
    assert (found.pairs, found.higher, found.lower) == (4, 2, 1)


def test_the_p_value_is_exact_for_few_seeds():
    """Five differences of the same sign: two of 2^5 sign patterns are as extreme."""
    found = paired_difference(np.zeros(5), np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert found.p_value == pytest.approx(2 / 32)


def test_pairs_without_a_difference_count_for_it():
    random = np.random.default_rng(0)
    some = random.normal(0.3, 1, 40)
    alone, diluted = (paired_difference(np.zeros(len(x)), x) for x in (some, np.concatenate([some, np.zeros(200)])))
    assert diluted.p_value == pytest.approx(
        scipy.stats.wilcoxon(np.concatenate([some, np.zeros(200)]), zero_method="pratt").pvalue
    )
    assert diluted.p_value != alone.p_value


def test_equal_samples_differ_in_nothing():
    found = paired_difference(np.ones(6), np.ones(6))
    assert found == (0, 0, 0, 1, 6, 0, 0)


def test_a_single_pair_has_no_interval():
    found = paired_difference(np.array([0.1]), np.array([0.3]))
    assert found.mean == pytest.approx(0.2)
    assert np.isnan([found.low, found.high]).all()


def test_the_interval_is_that_of_scipys_bootstrap():
    values = np.random.default_rng(3).exponential(1, 60)
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999, vectorized=True)
    np.testing.assert_allclose(bootstrap_interval(values), expected.confidence_interval, atol=0.02)


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(5)
    held = [low <= 1 <= high for low, high in (bootstrap_interval(random.normal(1, 1, 40), n) for n in range(150))]
    assert 0.87 <= np.mean(held) <= 0.985


def test_a_seed_gives_the_same_interval_again():
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_interval(values, 1) == bootstrap_interval(values, 1) != bootstrap_interval(values, 2)


def test_corrected_p_values_are_never_below_nor_out_of_order():
    p_values = [0.2, 0.001, 0.04, 0.03, 0.9]
    corrected = holm(p_values)
    np.testing.assert_allclose(corrected, [0.4, 0.005, 0.12, 0.12, 0.9])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
