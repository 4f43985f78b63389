"""The examples of the documentation give what they show."""

import doctest
import importlib
from pathlib import Path

import pytest

import lgcn_jax as lg

ROOT = Path(lg.__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "lgcn_jax").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_every_public_name_has_an_example():
    finder = doctest.DocTestFinder(recurse=False)
    tested = {
        name
        for name in set(lg.__all__) - {"__version__", "LightGCN"}
        if finder.find(getattr(lg, name), name)[0].examples
    }
    assert tested == set(lg.__all__) - {"__version__", "LightGCN"}  # LightGCN's is that of Model
