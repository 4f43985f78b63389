"""Settings: ranges, presets, flags and files."""

import dataclasses
import json
import re

import pytest
from absl import flags

from lgcn_jax import config as configs
from lgcn_jax.cli import main
from lgcn_jax.config import Config
from lgcn_jax.errors import InputError
from lgcn_jax.graph import propagation


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
        Config(**{name: value})
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
    assert getattr(Config(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("spec", "shape"), [("data:2,nodes:3", (2, 3)), ("data:2", (2, 1)), ("nodes:3", (1, 3)), ("data:12345", (12345, 1))]
)
def test_a_mesh_has_size_1_where_no_other_is_stated(spec, shape):
    assert configs.mesh_shape(spec) == shape


def test_a_plateau_that_is_off_leaves_its_settings_without_effect():
    names = ("plateau_patience", "plateau_min_lr", "plateau_metric")
    assert Config().without_effect() == dict.fromkeys(names, "--plateau_factor below 1")
    assert Config(plateau_factor=0.5).without_effect() == {}


def test_values_are_shown_as_the_command_line_takes_them():
    assert [configs.text(value) for value in ((5, 10), (), "", "user", 0.5, None)] == [
        *("5,10", "", "''", "user", "0.5", "None"),
    ]


def test_presets_fill_what_is_not_given():
    enhanced, bpr = Config(), Config(loss="bpr")
    assert (enhanced.margin, enhanced.temperature, enhanced.alpha) == (0.05, 0.2, 0.8)
    assert (bpr.margin, bpr.alpha) == (0.0, 1.0)
    assert Config(margin=0.5).margin == 0.5


def test_bpr_is_margin_0_and_alpha_1_alone():
    assert Config(loss="bpr", margin=0.0, alpha=1.0) == Config(loss="bpr")
    with pytest.raises(InputError, match=r"--margin: found 0\.1, expected 0\.0 with --loss=bpr"):
        Config(loss="bpr", margin=0.1)


def test_layer_weights_are_uniform_unless_given():
    assert Config(num_layers=3).weights == (0.25, 0.25, 0.25, 0.25)
    assert Config(num_layers=0).weights == (1.0,)
    assert Config(num_layers=1, layer_weights=(0.0, 2.0)).weights == (0.0, 2.0)


def test_the_first_k_names_the_watched_metric():
    config = Config(top_k=(10, 5))
    assert config.watched == config.plateau_metric == "recall@10"
    assert config.metric_names == ("precision@10", "recall@10", "ndcg@10", "precision@5", "recall@5", "ndcg@5")
    assert Config(top_k=(10, 5), plateau_metric="ndcg@5").plateau_metric == "ndcg@5"


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().alpha = 0.5


def test_settings_survive_their_file(tmp_path):
    config = Config(dataset="gowalla", top_k=(5, 50), layer_weights=(0.5, 0.5), num_layers=1, margin=0.3)
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


def parsed(*arguments) -> dict:
    values, names = flags.FlagValues(), [field.name for field in dataclasses.fields(Config)]
    configs.define_flags(values, names)
    values(["program", *arguments])
    return configs.given(values, names)


def test_the_help_of_a_flag_ends_with_a_default_that_there_is():
    values, defaults = (
        flags.FlagValues(),
        {"epochs": "1000", "top_k": "20", "dataset": None, "margin": None, "l2": "0.0001"},
    )
    configs.define_flags(values, defaults)
    for name, default in defaults.items():
        help_text = Config.__dataclass_fields__[name].metadata["help"]
        assert values[name].help == (f"{help_text} (default: {default})" if default else help_text)


def test_flags_have_the_types_of_their_settings():
    found = parsed("--epochs=7", "--alpha=0.5", "--top_k=5,10", "--layer_weights=0.5,1", "--dataset=x", "--margin=1")
    expected = {"epochs": 7, "alpha": 0.5, "top_k": (5, 10), "layer_weights": (0.5, 1.0), "dataset": "x", "margin": 1.0}
    assert found == expected
    assert [type(value) for value in found.values()] == [str, tuple, float, float, int, tuple]


def test_only_stated_flags_are_given():
    assert parsed() == {}
    assert parsed("--seed=2020") == {"seed": 2020}


@pytest.mark.parametrize("argument", ["--epochs=1.5", "--alpha=x", "--top_k=5,", "--top_k=a", "--epochs="])
def test_text_that_is_no_value_of_the_type_is_refused(argument):
    with pytest.raises(flags.IllegalFlagValueError, match="expected"):
        parsed(argument)


def test_every_setting_has_a_help_text(capsys):
    """As `train --help` shows it: in words, with its choices and its default."""
    assert main.main(["train", "--help"]) == 0
    lines = {line.split()[0]: line.strip() for line in capsys.readouterr().out.splitlines() if "--" in line}
    fields = dataclasses.fields(Config)
    assert len({field.metadata["help"] for field in fields}) == len(fields)
    for field in fields:
        line = lines[f"--{field.name}"]
        said = line.removeprefix(f"--{field.name}").partition("(default: ")[0].strip()
        assert len(re.findall(r"[A-Za-z]{2,}", said)) >= 3, line
        if field.default not in (None, (), ""):
            assert line.endswith(f"(default: {configs.text(field.default)})")
        choices = re.fullmatch("one of (.*)", field.metadata["expected"])
        for choice in choices[1].split(", ") if choices else ():
            assert re.search(rf"\b{choice}\b", said), line


def test_the_layouts_that_can_be_chosen_are_those_that_there_are():
    assert ("auto", *propagation.LAYOUTS) == configs.LAYOUTS
