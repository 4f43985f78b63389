"""How popular the items of each part are."""

import inference_weights
import pytest

import lgcn_jax as lg


def test_an_item_s_pairs_of_all_parts_count_once_for_each_pair_of_the_part():
    data = lg.read(([1, 1, 2, 3, 3], [7, 8, 7, 7, 9]), test=([1, 2], [9, 8]))
    found = inference_weights.popularity_of_parts(data)  # of 7, 8 and 9 there are 3, 2 and 2 pairs
    assert found == pytest.approx({"train": (3 + 2 + 3 + 3 + 2) / 5, "test": 2.0})
