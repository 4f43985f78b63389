"""Settings: ranges, parts, defaults and files."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lgcn_jax.config import Config
from lgcn_jax.devices.mesh import mesh_shape
from lgcn_jax.errors import InputError
from lgcn_jax.losses import BPR
from lgcn_jax.settings import format_value


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("alpha", -0.1, "from 0 to 1"),
        ("alpha", 1.1, "from 0 to 1"),
        ("alpha", float("nan"), "from 0 to 1"),
        ("temperature", 0.0, "above 0"),
        ("temperature", -1.0, "above 0"),
        ("margin", float("inf"), "finite"),
        ("num_layers", -1, "from 0"),
        ("embedding_dim", 0, "from 1"),
        ("batch_size", 0, "from 1"),
        ("batch_size", 2**31, "to 2147483647"),
        ("epochs", 0, "from 1"),
        ("eval_every", 0, "from 1"),
        ("learning_rate", 0.0, "above 0"),
        ("l2", -1e-9, "at least 0"),
        ("clip_norm", -1.0, "at least 0"),
        ("init_std", 0.0, "above 0"),
        ("seed", -1, "from 0"),
        ("top_k", (), "distinct integers"),
        ("top_k", (0,), "distinct integers"),
        ("top_k", (5, 5), "distinct integers"),
        ("test_fraction", 1.0, "between 0 and 1"),
        ("validation_fraction", 1.0, "below 1"),
        ("plateau_factor", 0.0, "at most 1"),
        ("plateau_factor", 1.5, "at most 1"),
        ("plateau_patience", -1, "from 0"),
        ("plateau_min_lr", -1.0, "at least 0"),
        ("plateau_metric", "recall@7", "recall@20"),
        ("layer_weights", (1.0, 2.0), "4 (num_layers + 1)"),
        ("layer_weights", (1.0, float("nan"), 0.0, 0.0), "finite"),
        ("layer_weights", (1.0, 1e39, 0.0, 0.0), "float32"),
        ("layer_weights", (1.0, 1e-46, 0.0, 0.0), "float32"),
        ("loss", "hinge", "bpr"),
        ("sampler", "popular", "one of user, edge"),
        ("eval_split", "train", "valid"),
        ("format", "csv", "adjacency"),
        ("propagation", "dense", "bcsr"),
        ("propagation_dtype", "float16", "bfloat16"),
        ("num_users", 1, "from 2"),
        ("epochs", 1.5, "an integer from 1"),
        ("mesh", "rows:2", "data:D,nodes:M"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_flag(name, value, expected):
    with pytest.raises(InputError) as error:
        Config.of(**{name: value})
    assert str(error.value).startswith(f"--{name}: found ")
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("epochs", 1), ("seed", 0), ("seed", 2**31 - 1), ("num_layers", 64), ("num_users", 2)),
        *(("l2", 0.0), ("l2", 1e-37), ("l2", 1e38), ("margin", -1e38), ("alpha", 0.0), ("alpha", 1.0)),
        *(("plateau_factor", 1.0), ("plateau_min_lr", 1e-3), ("layer_weights", (0.0, 1e-37, 1e38, 1.0))),
    ],
)
def test_the_ends_of_a_range_are_accepted(name, value):
    assert Config.of(**{name: value}).to_dict()[name] == value


@pytest.mark.parametrize(
    ("spec", "shape"), [("data:2,nodes:3", (2, 3)), ("data:2", (2, 1)), ("nodes:3", (1, 3)), ("data:12345", (12345, 1))]
)
def test_a_mesh_has_size_1_where_no_other_is_stated(spec, shape):
    assert mesh_shape(spec) == shape


def test_a_plateau_that_is_off_leaves_its_settings_without_effect():
    names = ("plateau_patience", "plateau_min_lr", "plateau_metric")
    assert Config.of().ignored_settings() == dict.fromkeys(names, "--plateau_factor below 1")
    assert Config.of(plateau_factor=0.5).ignored_settings() == {}


def test_values_are_shown_as_the_command_line_takes_them():
    assert [format_value(value) for value in ((5, 10), (), "", "user", 0.5, None)] == [
        *("5,10", "", "''", "user", "0.5", "None"),
    ]


def test_a_part_has_its_own_defaults():
    enhanced = Config.of().loss
    assert (enhanced.margin, enhanced.temperature, enhanced.alpha) == (0.05, 0.2, 0.8)
    assert Config.of(margin=0.5).loss.margin == 0.5


@pytest.mark.parametrize("name", ["margin", "temperature", "alpha"])
def test_a_setting_that_the_chosen_part_lacks_is_refused_by_name_and_part(name):
    expected = (
        rf"--{name}: found 0.1, expected nothing with --loss=bpr, which has none \(--loss=enhanced( or [\w@]+)* has\)"
    )
    with pytest.raises(InputError, match=expected):
        Config.of(loss="bpr", **{name: 0.1})


def test_a_setting_that_there_is_not_is_refused():
    with pytest.raises(InputError, match=r"--colour: found red, expected a setting that there is$"):
        Config.of(colour="red")


@pytest.mark.parametrize(
    ("typed", "meant"), [("lerning_rate", "learning_rate"), ("los", "loss"), ("plateau_facter", "plateau_factor")]
)
def test_a_misspelt_setting_is_told_with_the_one_that_is_like_it(typed, meant):
    with pytest.raises(InputError, match=rf"\(did you mean --{meant}\?\)$"):
        Config.of(**{typed: 1})


def test_another_part_begins_with_its_own_defaults():
    config = Config.of(margin=0.3, l2=0.1, epochs=7)
    assert config.replace(loss="bpr").loss == BPR()
    assert config.replace(loss="bpr", l2=0.2).to_dict() == Config.of(loss="bpr", l2=0.2, epochs=7).to_dict()
    assert config.replace(loss="enhanced", epochs=8) == Config.of(margin=0.3, l2=0.1, epochs=8)


LATER = ("config_format", "model", "schedule", "min_test_items")


def test_the_settings_of_runs_of_the_first_format_are_read():
    """They had a margin, a temperature and an alpha for BPR, too, and no model or schedule."""
    values = Config.of(dataset="gowalla", loss="bpr", epochs=7).to_json()
    old = {name: value for name, value in values.items() if name not in LATER}
    old |= {"margin": 0.0, "temperature": 1.0, "alpha": 1.0}
    assert Config.of_json(old).to_json() == values | {"min_test_items": 0}


def test_settings_of_a_later_format_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(Config.of(dataset="x").to_json() | {"config_format": 9}))
    with pytest.raises(InputError, match=r"format 9, of which this version knows 1 to 2"):
        Config.from_json(tmp_path / "config.json")


def test_layer_weights_are_uniform_unless_given():
    assert Config.of(num_layers=3).model.weights == (0.25, 0.25, 0.25, 0.25)
    assert Config.of(num_layers=0).model.weights == (1.0,)
    assert Config.of(num_layers=1, layer_weights=(0.0, 2.0)).model.weights == (0.0, 2.0)


def test_the_first_k_names_the_watched_metric():
    config = Config.of(top_k=(10, 5), plateau_factor=0.5)
    assert config.evaluation.watched_metric == config.observed_metric == "recall@10"
    assert config.evaluation.metric_names == (
        "precision@10",
        "recall@10",
        "ndcg@10",
        "precision@5",
        "recall@5",
        "ndcg@5",
    )
    assert Config.of(top_k=(10, 5), plateau_factor=0.5, plateau_metric="ndcg@5").observed_metric == "ndcg@5"
    assert config.replace(top_k=(3,)).observed_metric == "recall@3"
    assert Config.of(top_k=(10, 5)).observed_metric is None  # the schedule is off


def test_one_length_of_lists_needs_no_tuple():
    assert Config.of(top_k=5) == Config.of(top_k=(5,))
    for wrong in (True, 0, "5"):
        with pytest.raises(InputError, match="--top_k"):
            Config.of(top_k=wrong)


def test_what_watches_evaluations_needs_them():
    assert Config.of(eval_split="none").observed_metric is None
    for settings in ({"plateau_factor": 0.5}, {"early_stopping_patience": 3}):
        with pytest.raises(InputError, match=r"--eval_split: found none, with .*, expected test or valid"):
            Config.of(eval_split="none", **settings)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config.of().loss.alpha = 0.5
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config.of().loss = BPR()


def test_settings_survive_their_file(tmp_path):
    config = Config.of(dataset="gowalla", top_k=(5, 50), layer_weights=(0.5, 0.5), num_layers=1, margin=0.3)
    values = config.to_json()
    assert (values["top_k"], values["layer_weights"], values["margin"]) == ([5, 50], [0.5, 0.5], 0.3)
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert Config.from_json(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", '{"colour": 1}', '{"epochs": "many"}', '{"alpha": 7}'),
        *('{"dataset": "x", "data_dir": 3}', '{"dataset": 3, "data_dir": "x"}'),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json: found a file that is no run's config"):
        Config.from_json(tmp_path / "config.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Config.from_json(tmp_path / "config.json")


def test_values_are_made_plain_and_other_types_are_refused():
    config = Config.of(top_k=[5, np.int64(10)], learning_rate=np.float32(0.5), epochs=np.int32(3), data_dir=Path("x"))
    assert config.to_json()["top_k"] == [5, 10]
    assert json.dumps(config.to_json())
    for name, value in (("learning_rate", "0.1"), ("top_k", "20"), ("mesh", None), ("loss", ["bpr"]), ("epochs", True)):
        with pytest.raises(InputError, match=f"--{name}: found"):
            Config.of(**{name: value})


@pytest.mark.parametrize(
    ("stated", "ignored"),
    [
        ({"loss": "ssm"}, {"in_batch"}),
        ({"loss": "ssm", "negatives": "shared"}, set()),
        ({"init": "xavier"}, {"init_std"}),
        ({}, set()),
    ],
)
def test_settings_without_effect_are_known(stated, ignored):
    assert Config.of(plateau_factor=0.5, **stated).ignored_settings().keys() == ignored
