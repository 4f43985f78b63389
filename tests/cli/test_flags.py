"""Flags made of settings."""

import re

import pytest
from absl import flags

from lgcn_jax.baselines import BASELINES
from lgcn_jax.cli import main
from lgcn_jax.cli.flags import all_flags, define_flags, stated_settings
from lgcn_jax.config import PARTS
from lgcn_jax.losses import LOSSES
from lgcn_jax.settings import Registry, fields, format_value


def parsed(*arguments) -> dict:
    values = flags.FlagValues()
    define_flags(values, all_flags())
    values(["program", *arguments])
    return stated_settings(values, all_flags())


def test_the_help_of_a_flag_ends_with_its_default_and_the_parts_that_have_it():
    ends = {
        "epochs": "in all (default: 1000)",
        "dataset": "a folder with a file for each part",
        "l2": "rows (default: 0.0001)",
    }
    ends |= {"margin": "(default: 0.05 for enhanced, 0.9 for ccl; of --loss=enhanced or ccl)"}
    ends |= {"loss": f", {list(LOSSES)[-1]} (default: enhanced)", "beta": "(default: 0.75; of --negatives=popularity)"}
    for name, end in ends.items():
        assert all_flags()[name].help.endswith(end)


def test_defaults_that_differ_are_told_with_the_part_of_each():
    found = all_flags({"baseline": BASELINES})["rank"].help
    assert "(default: 256 for gf-cf, 512 for chebycf, 448 for bspm, 650 for sgfcf; of --model=gf-cf or" in found


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
    parts = [each for kind in PARTS.values() for each in (kind.values() if named(kind) else [kind])]
    settings = {name: field for part in parts for name, field in fields(part).items()}
    assert len({field.metadata["help"] for field in settings.values()}) == len(settings) > 30
    for name, field in settings.items():
        line = lines[f"--{name}"]
        said = line.removeprefix(f"--{name}").partition("(default: ")[0].strip()
        assert len(re.findall(r"[A-Za-z]{2,}", said)) >= 3, line
        if field.default not in (None, (), ""):
            shown = re.escape(format_value(field.default))  # where parts of a kind differ, each says whose it is
            assert re.search(rf"\(default: ({shown}|.*\b{shown} for \w+.*)[;)]", line)
        choices = re.fullmatch("one of (.*)", field.metadata["expected"])
        for choice in choices[1].split(", ") if choices else ():
            assert re.search(rf"\b{choice}\b", said), line
    for kind in filter(named, PARTS.values()):
        assert all(re.search(rf"\b{name}\b", lines[f"--{kind.kind}"]) for name in kind)


def named(kind) -> bool:
    """Whether there are several parts of the kind, each with a name."""
    return isinstance(kind, Registry)
