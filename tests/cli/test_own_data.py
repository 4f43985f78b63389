"""What docs/own-data.md shows: its commands print what stands below them, and its lines of Python run."""

import re
import shutil
from pathlib import Path

import pytest

from lgcn_jax.cli import main

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^ {4}\$ python -m lgcn_jax (.*)\n((?: {4}[^$].*\n)*)", TEXT, re.MULTILINE)
SHOP = [(command, text) for command, text in SHOWN if "ml-100k" not in command]


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Path:
    shutil.copytree(ROOT / "data" / "shop", tmp_path / "data" / "shop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(text: str) -> list[list[str]]:
    """The lines, without what another machine may print in another way: numbers with a point."""
    return [[word for word in line.split() if not re.fullmatch(r"-?\d+\.\d+", word)] for line in text.splitlines()]


def test_five_commands_go_from_events_to_an_index(shop, capsys):
    assert [command.split()[0] for command, _ in SHOP] == ["data", "train", "recommend", "similar", "export"]
    for command, text in SHOP:
        assert main.main(command.split()) == 0
        found, expected = capsys.readouterr().out, re.sub("^ {4}", "", text, flags=re.MULTILINE)
        assert words(found) == words(expected)
    assert (shop / "runs" / "shop-index" / "items.usearch").exists()


def test_the_same_from_python(shop, capsys):
    code = TEXT.partition("## The same from Python")[2].partition("\n##")[0]
    lines = re.sub("^ {4}", "", code, flags=re.MULTILINE).strip()
    assert len([line for line in lines.splitlines() if line]) <= 15
    exec(lines, {})
    assert "events.csv: 240 users, 60 items, 1,680 train pairs" in capsys.readouterr().out
    assert (shop / "runs" / "shop-from-python" / "result.json").exists()


def test_the_sample_is_what_its_program_makes(shop):
    kept = {path.name: path.read_bytes() for path in (shop / "data" / "shop").glob("*.csv")}
    names: dict = {"__name__": "make", "__file__": str(shop / "data" / "shop" / "make.py")}
    exec((shop / "data" / "shop" / "make.py").read_text(), names)
    names["main"]()
    assert kept == {path.name: path.read_bytes() for path in (shop / "data" / "shop").glob("*.csv")}
