"""Spaces: what they are made of, when a setting is drawn, and what is refused before the first trial."""

import json

import pytest

from lgcn_jax.errors import InputError
from lgcn_jax.searching import space
from lgcn_jax.searching.dimensions import Choices, Range
from lgcn_jax.searching.space import Space

FIXED = {"dataset": "synthetic", "eval_split": "valid"}


def first(name, dimension):
    return dimension.values_to_check[0]


def last(name, dimension):
    return dimension.values_to_check[-1]


def test_a_file_has_lists_and_ranges_of_the_types_of_the_settings(tmp_path):
    (tmp_path / "space.json").write_text(
        '{"learning_rate": {"low": 1e-4, "high": 1, "log": true}, "num_layers": {"low": 1, "high": 1},'
        ' "margin": [0, 0.5], "l2": {"low": 0, "high": 1, "step": 0.1}, "layer_weights": [[1, 2], [0.5, 1]]}'
    )
    found = space.read_space(tmp_path / "space.json", FIXED)
    assert found.dimensions == {
        "num_layers": Range(1, 1),
        "layer_weights": Choices(((1.0, 2.0), (0.5, 1.0))),
        "margin": Choices((0.0, 0.5)),
        "l2": Range(0.0, 1.0, step=0.1),
        "learning_rate": Range(1e-4, 1.0, log=True),
    }


def test_a_setting_is_drawn_where_the_parts_of_the_trial_have_it():
    """Whether it is one of the space, or the same in all trials."""
    drawn = Space.of({"temperature": [0.1], "loss": ["bpr", "enhanced"], "margin": [0.2]}, FIXED)
    assert drawn.settings(first) == FIXED | {"loss": "bpr"}
    assert drawn.settings(last) == FIXED | {"loss": "enhanced", "margin": 0.2, "temperature": 0.1}
    fixed = Space.of({"loss": ["bpr", "enhanced"]}, FIXED | {"margin": 0.3, "epochs": 5})
    assert fixed.settings(first) == FIXED | {"loss": "bpr", "epochs": 5}
    assert fixed.settings(last) == FIXED | {"loss": "enhanced", "epochs": 5, "margin": 0.3}


def test_a_loss_brings_its_own_negatives():
    drawn = Space.of({"loss": ["bpr", "directau"], "num_negatives": [1, 2]}, FIXED)
    assert "num_negatives" in drawn.settings(first)
    assert "num_negatives" not in drawn.settings(last)


def test_examples_have_all_parts_and_all_ends():
    drawn = Space.of({"loss": ["bpr", "enhanced"], "margin": [0.1, 0.2], "epochs": {"low": 1, "high": 9}}, FIXED)
    found = [drawn.pick_searched(settings) for settings in drawn.examples()]
    bpr, enhanced = {"loss": "bpr", "epochs": 1}, {"loss": "enhanced", "margin": 0.1, "epochs": 1}
    expected = [bpr, bpr | {"epochs": 9}, enhanced, enhanced | {"margin": 0.2}, enhanced | {"epochs": 9}]
    assert sorted(map(str, found)) == sorted(str(drawn.pick_searched(settings)) for settings in expected)


def test_what_a_study_remembers_does_not_depend_on_where_data_lie_or_what_is_stated_as_its_default():
    stated = {"learning_rate": {"low": 1e-4, "high": 1e-2}, "layer_weights": [[1, 1, 1, 1]]}
    known = Space.of(stated, FIXED).facts()
    assert known == json.loads(json.dumps(known))
    assert known == Space.of(stated, FIXED | {"data_dir": "/elsewhere", "mesh": "data:2", "epochs": 1000}).facts()
    assert known != Space.of(stated, FIXED | {"epochs": 999}).facts()
    assert known != Space.of(stated | {"learning_rate": {"low": 1e-4, "high": 1e-1}}, FIXED).facts()


RATE, LAYERS = "learning_rate", "num_layers"


@pytest.mark.parametrize(
    ("stated", "line"),
    [
        ({}, "space.json: found no setting, expected at least one"),
        ([], "space.json: found a list, expected an object"),
        (
            {"lerning_rate": [1]},
            "lerning_rate: found an unknown setting, expected a setting of train (did you mean lear",
        ),
        ({RATE: 0.1}, 'learning_rate: found 0.1, expected a list of values, or {"low": .., "high": ..}'),
        ({RATE: []}, "learning_rate: found an empty list, expected at least one value"),
        ({RATE: [1, 1.0]}, "learning_rate: found 1.0 more than once, expected each value once"),
        ({RATE: ["a"]}, "learning_rate: found 'a', expected a number"),
        ({RATE: [True]}, "learning_rate: found True, expected a number"),
        ({RATE: [float("nan")]}, "learning_rate: found nan, expected a number"),
        ({RATE: {"low": 1, "high": 0.5}}, "learning_rate: found low 1.0 above high 0.5, expected low of at most high"),
        ({RATE: {"low": 0, "high": 1, "log": True}}, "learning_rate: found log with low 0.0, expected low above 0"),
        ({RATE: {"low": 0, "high": 1}}, "learning_rate: found 0.0, expected a number above 0 (in float32)"),
        ({RATE: {"low": 1}}, "learning_rate: found a range without high"),
        ({RATE: {"low": 1, "hihg": 2}}, "learning_rate: found the key 'hihg', expected high"),
        ({RATE: {"low": 1, "high": 2, "log": 1}}, "learning_rate, log: found 1, expected true or false"),
        ({RATE: {"low": 1, "high": 2, "log": True, "step": 1}}, "learning_rate: found both log and step"),
        ({RATE: {"low": 1, "high": 2, "step": 0}}, "learning_rate, step: found 0.0, expected a number above 0"),
        ({RATE: {"low": 1, "high": 2, "step": 0.3}}, "found high 2.0, which steps of 0.3 from 1.0 do not meet"),
        ({LAYERS: {"low": 1, "high": 2.5}}, "num_layers, high: found 2.5, expected an integer"),
        ({"epochs": [0]}, "epochs: found 0, expected an integer from 1 to"),
        (
            {"loss": {"low": 1, "high": 2}},
            "loss: found a range, expected a list of values, since the setting is a text",
        ),
        ({"loss": ["bprr"]}, "loss: found 'bprr', expected one of enhanced, bpr"),
        (
            {"loss": ["bpr"], "margin": [0.1]},
            "margin: found a setting that no part of the search has, expected nothing,",
        ),
        (
            {"top_k": [5]},
            "top_k: found a setting that no search chooses, expected it beside the space, since all trials",
        ),
        ({"mesh": ["data:1"]}, "mesh: found a setting that no search chooses"),
        ({"seed": [1], "epochs": [3]}, "--epochs: found a setting that space.json has, too"),
        (
            {"loss": ["bpr", "simgcl"], LAYERS: [1, 0]},
            "space.json, loss=simgcl, num_layers=0: found simgcl, whose noise",
        ),
        ({"model": ["neumf"], "loss": ["bpr", "ssm"]}, "model=neumf, loss=ssm: found ssm, which needs scores that are"),
    ],
)
def test_what_no_search_can_draw_from_is_one_line(stated, line):
    fixed = FIXED | ({"epochs": 5} if "seed" in stated else {})
    with pytest.raises(InputError) as caught:
        Space.of(stated, fixed, "space.json")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_flag_that_no_trial_has_is_refused():
    with pytest.raises(InputError, match="--margin: found a setting that no part of the search has"):
        Space.of({"loss": ["bpr"]}, FIXED | {"margin": 0.1})


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"{", "a file that is no JSON"),
        (b'{"epochs": [1], "epochs": [2]}', "epochs stands there twice"),
        (b'{"margin": [NaN]}', "NaN is no number"),
        (b"\xff\xfe", "a file that is no JSON"),
        (None, "a file that cannot be read (No such file or directory)"),
    ],
)
def test_a_file_that_is_no_space_is_one_line(content, line, tmp_path):
    if content is not None:
        (tmp_path / "space.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        space.read_space(tmp_path / "space.json", FIXED)
    assert line in str(caught.value)
    with pytest.raises(InputError, match="a file that cannot be read"):
        space.read_space(tmp_path, FIXED)
