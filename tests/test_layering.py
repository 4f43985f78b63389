"""One direction of dependency: a wing imports only from itself and from those above it in this list."""

import ast
from pathlib import Path

import pytest

import lgcn_jax

PACKAGE = Path(lgcn_jax.__file__).parent
WINGS = [
    *("version", "errors", "settings", "system", "data", "devices", "graph", "models", "losses", "sampling"),
    *(
        "optimization",
        "evaluation",
        "baselines",
        "config",
        "training",
        "runs",
        "serving",
        "reporting",
        "searching",
        "cli",
    ),
    "__main__",
]

# What computes knows neither files nor flags, nor anything of the run that it is part of.
ARITHMETIC = {
    "losses": {"losses", "settings", "errors"},
    "models": {"models", "graph", "devices", "settings", "errors"},
    "optimization": {"optimization", "settings", "errors"},
    "sampling": {"sampling", "data", "devices", "settings", "errors"},
}


def imported(path: Path) -> set[str]:
    """The wings of the package that a file names in its imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in {path}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("lgcn_jax.")}


def files(wing: str) -> list[Path]:
    return list((PACKAGE / wing).rglob("*.py")) if (PACKAGE / wing).is_dir() else [PACKAGE / f"{wing}.py"]


@pytest.mark.parametrize(
    "line",
    ["import lgcn_jax.cli", "import lgcn_jax.cli as c", "from lgcn_jax import cli", "from lgcn_jax.cli import main"],
)
def test_every_way_to_import_is_seen(line, tmp_path):
    (tmp_path / "module.py").write_text(f"import os\n\n\ndef later():\n    {line}\n")
    assert imported(tmp_path / "module.py") == {"cli"}


def test_every_name_at_the_top_has_its_place():
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert names - {"__init__"} == set(WINGS)


@pytest.mark.parametrize("wing", WINGS)
def test_no_wing_imports_from_a_later_one(wing):
    for path in files(wing):
        assert imported(path) <= set(WINGS[: WINGS.index(wing) + 1]), path


@pytest.mark.parametrize("wing", ARITHMETIC)
def test_arithmetic_does_not_know_of_files_and_flags(wing):
    for path in files(wing):
        assert imported(path) <= ARITHMETIC[wing], path


def test_no_file_is_long():
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path.name: length for path, length in lengths.items() if length > 300} == {}
