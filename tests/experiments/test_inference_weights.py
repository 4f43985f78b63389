"""How popular the items of each part are."""

import inference_weights
import pytest

import lgcn_jax as lg


def test_an_item_s_pairs_of_all_parts_count_once_for_each_pair_of_the_part():
    data = lg.read(([1, 1, 2, 3, 3], [7, 8, 7, 7, 9]), test=([1, 2], [9, 8]))
    found = inference_weights.popularity_of_parts(data)  # of 7, 8 and 9 there are 3, 2 and 2 pairs
    assert found == pytest.approx({"train": (3 + 2 + 3 + 3 + 2) / 5, "test": 2.0})


@pytest.mark.parametrize(
    ("stated", "line"),
    [
        ((), "inference_weights: found no run, expected the folder of at least one\n"),
        (("nowhere",), "nowhere: found no run of a model with layers to weigh, expected one\n"),
        (("--wide=3",), "Unknown command line flag 'wide'"),
    ],
)
def test_bad_input_ends_in_one_line(stated, line, capsys):
    with pytest.raises(SystemExit) as stopped:
        inference_weights.main(["inference_weights.py", *stated])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert line in err
    assert (err.count("\n"), out) == (1, "")
