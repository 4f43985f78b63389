"""Metrics of all lists together, written out as arithmetic."""

from math import isnan, log2

import numpy as np
import pytest

from lgcn_jax.evaluation import exposure

# Three lists of two items: item 0 stands in all, items 1, 2 and 3 in one each, item 4 in none.
EXPOSURE = np.array([3, 1, 1, 1, 0], np.int32)
POPULARITY = np.array([4, 2, 1, 0, 1], np.int32)  # of eight users; nobody has item 3


def test_coverage_is_the_share_of_items_in_some_list():
    assert exposure.coverage(EXPOSURE) == 4 / 5


def test_novelty_is_the_mean_of_minus_log2_of_the_share_of_users():
    # Item 3, which nobody has, counts as one that one of the eight users has.
    expected = 1 / 6 * (3 * -log2(4 / 8) - log2(2 / 8) - log2(1 / 8) - log2(1 / 8))
    assert exposure.novelty(EXPOSURE, POPULARITY, 8) == pytest.approx(expected)


def test_average_popularity_is_that_of_all_recommendations():
    assert exposure.average_popularity(EXPOSURE, POPULARITY) == pytest.approx(1 / 6 * (3 * 4 + 2 + 1 + 0))


def test_gini_is_the_mean_absolute_difference_over_twice_the_mean():
    differences = sum(abs(int(a) - int(b)) for a in EXPOSURE for b in EXPOSURE) / 5**2
    assert exposure.gini(EXPOSURE) == pytest.approx(differences / (2 * 6 / 5))


@pytest.mark.parametrize(("exposures", "expected"), [([2, 2, 2, 2], 0), ([0, 0, 0, 9], 3 / 4), ([0, 5, 5, 0], 1 / 2)])
def test_gini_of_equal_and_of_concentrated_exposure(exposures, expected):
    assert exposure.gini(np.array(exposures)) == pytest.approx(expected)


def test_without_a_recommendation_only_coverage_has_a_value():
    found = exposure.exposure_metrics(np.zeros(5, np.int32), POPULARITY, 8)
    assert found.pop("coverage") == 0
    assert all(map(isnan, found.values()))


def test_every_metric_has_its_name():
    found = exposure.exposure_metrics(EXPOSURE, POPULARITY, 8)
    assert tuple(found) == exposure.NAMES
    assert found["novelty"] == exposure.novelty(EXPOSURE, POPULARITY, 8)
    assert found["average_popularity"] == exposure.average_popularity(EXPOSURE, POPULARITY)
    assert (found["coverage"], found["gini"]) == (exposure.coverage(EXPOSURE), exposure.gini(EXPOSURE))


def test_counts_that_fill_an_integer_do_not_overflow():
    many = np.full(3, 2**31 - 1, np.int32)
    assert exposure.average_popularity(many, many) == 2**31 - 1
    assert exposure.gini(many) == pytest.approx(0)
