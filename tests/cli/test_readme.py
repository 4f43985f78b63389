"""What the README tells a user to type: every command is run, on a small world where it names a large one."""

import re
from pathlib import Path

import pytest

from lgcn_jax.cli import checks, main
from lgcn_jax.cli.command import config_from_flags, parse_flags, run_setting_names
from lgcn_jax.cli.flags import stated_settings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^ {4}\S.*\n(?:^ *\n(?= {4}))*)+", TEXT, re.MULTILINE)
LINES = [line.strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = [re.split(r" {2,}#", line)[0].split()[3:] for line in LINES if line.startswith("python -m lgcn_jax ")]
INLINE = [command.split() for command in re.findall(r"`(train [^`]*|evaluate [^`]*)`", TEXT) if "--" in command]
WORLD = ["--dataset=synthetic", "--num_users=60", "--num_items=50", "--num_interactions=900"]
FORMS = ("COMMAND", "...")  # lines that show how commands are formed


def smaller(arguments: list[str]) -> list[str]:
    """The command on a small world, for a hundredth of its epochs and two of its trials."""
    small = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == "--epochs":
            small.append(f"--epochs={max(1, int(value) // 100)}")
        elif name == "--trials":
            small.append("--trials=2")
        else:
            small += WORLD if name == "--dataset" else [argument]
    return small


def test_the_commands_are_found():
    """Of each kind, and none that begins otherwise: else the tests below would pass over it."""
    names = [command[0] for command in COMMANDS]
    assert set(names) == {"COMMAND", *main.COMMANDS}
    assert len(COMMANDS) == len(re.findall(r"^ +python3? -m lgcn_jax ", TEXT, re.MULTILINE)) >= 12
    assert any("--flagfile" in " ".join(command) for command in INLINE)


def test_the_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    """In the order of the README, since some go on with the run of one before. What doctor checks has other tests."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.setattr(checks, "CHECKS", {})
    for command in COMMANDS:
        if not set(FORMS) & set(command):
            assert main.main(smaller(command)) == 0, (command, capsys.readouterr().err)
    assert (tmp_path / "runs" / "ml-100k" / "result.json").exists()


@pytest.mark.parametrize("name", main.COMMANDS)
def test_the_form_of_a_command_is_that_of_its_help(name, capsys):
    shown, helped = ([name if part == "COMMAND" else part for part in form] for form in COMMANDS if "COMMAND" in form)
    assert helped == [name, "--help"]
    assert main.main(helped) == 0
    assert main.main(["--help"]) == 0
    assert f"python -m lgcn_jax COMMAND {' '.join(shown[1:])}" in capsys.readouterr().out


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[1:2] == ["..."]] + INLINE, ids=" ".join)
def test_flags_of_commands_that_are_shown_in_part_exist(command, monkeypatch):
    """Their values pass, too; what stands for several flags is left out."""
    monkeypatch.chdir(ROOT)
    name, *flags = [part for part in command if part != "..."]
    config_from_flags(stated_settings(parse_flags(main.COMMANDS[name], name, flags), run_setting_names()))


def test_the_example_in_python_runs(monkeypatch, tmp_path, capsys):
    """Word for word, but for the data set and the number of epochs."""
    monkeypatch.chdir(tmp_path)
    (code,) = (block for block in BLOCKS if "import lgcn_jax as lg" in block)
    code = re.sub("^ {4}", "", code, flags=re.MULTILINE)
    world = '"synthetic", num_users=300, num_items=200, num_interactions=6000'
    code, data_sets = re.subn(r'"ml-100k", data_dir="data"', world, code)
    code, epochs = re.subn(r"epochs=50\b", "epochs=10", code)
    assert (data_sets, epochs) == (1, 1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    names = {}
    exec(code, names)
    assert names["found"].ids.shape == (2, 5)
    ours, popular = names["model"].evaluate(names["interactions"]), names["lg"].Popularity().fit(names["interactions"])
    assert ours["recall@20"] > popular.evaluate(names["interactions"])["recall@20"]
    assert "synthetic: 300 users" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["README.md", "BUILD_NOTES.md", "CHANGELOG.md", "data/README.md"])
def test_files_that_texts_name_exist(name):
    found = re.findall(
        r"\b(?:experiments|lgcn_jax|tests|data)/[\w/-]+\.(?:py|flags|md|csv)\b", (ROOT / name).read_text()
    )
    assert found or name in ("CHANGELOG.md", "data/README.md")
    assert [path for path in found if not (ROOT / path).exists()] == []


def test_the_makes_that_are_named_exist():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"\bmake ([a-z-]+)", "\n".join(LINES) + "".join(re.findall(r"`make [a-z-]+`", TEXT)))
    assert {"demo", "test", "test-long"} <= set(named) <= set(targets)
