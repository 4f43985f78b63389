"""One direction of dependency: a module imports only from those that stand before it in this list."""

import ast
from pathlib import Path

import pytest

import lgcn_jax

ORDER = [
    *(
        "version",
        "errors",
        "paths",
        "files",
        "ending",
        "signals",
        "csr",
        "reader",
        "config",
        "interactions",
        "synthetic",
        "datasets",
    ),
    *("graph", "order", "mesh", "sums", "layout", "kernel", "ring", "propagation", "model", "losses"),
    *("shuffle", "sampling", "optimizer", "metrics", "evaluation", "state", "step", "problem", "programs"),
    *("processes", "training", "checkpoint", "curves", "scalars", "workdir", "display", "profile", "cache"),
    *("lock", "run", "doctor", "cli", "__main__"),
]


def imported(path: Path) -> set[str]:
    """The modules of the package that a file names in its imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in {path}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = [name.split(".") for name in found if name.startswith("lgcn_jax.")]
    return {parts[1] for parts in inside}


@pytest.mark.parametrize(
    "line",
    ["import lgcn_jax.cli", "import lgcn_jax.cli as c", "from lgcn_jax import cli", "from lgcn_jax.cli import main"],
)
def test_every_way_to_import_is_seen(line, tmp_path):
    (tmp_path / "module.py").write_text(f"import os\n\n\ndef later():\n    {line}\n")
    assert imported(tmp_path / "module.py") == {"cli"}


def test_no_module_imports_from_a_later_one():
    files = {path.stem: path for path in Path(lgcn_jax.__file__).parent.glob("*.py") if path.stem != "__init__"}
    assert set(files) == set(ORDER)
    for place, name in enumerate(ORDER):
        assert imported(files[name]) <= set(ORDER[:place]), name


def test_arithmetic_does_not_know_of_files_and_flags():
    arithmetic = {"losses", "metrics", "csr", "sums", "layout", "kernel", "propagation"}
    for name in arithmetic:
        assert imported(Path(lgcn_jax.__file__).parent / f"{name}.py") <= arithmetic, name
