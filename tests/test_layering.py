"""One direction of dependency: a module imports only from those that stand before it in this list."""

import ast
from pathlib import Path

import lgcn_jax

ORDER = [
    *("version", "errors", "csr", "reader", "config", "interactions", "synthetic", "datasets"),
    *(
        "graph",
        "sums",
        "layout",
        "kernel",
        "propagation",
        "model",
        "losses",
        "sampling",
        "optimizer",
        "metrics",
        "evaluation",
    ),
    *("state", "step", "training", "checkpoint", "curves", "scalars", "workdir", "display"),
    *("lock", "signals", "run", "doctor", "cli", "__main__"),
]


def imported(path: Path) -> set[str]:
    """The modules of the package that a file names in its imports."""
    froms = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    inside = [node for node in froms if node.module.partition(".")[0] == "lgcn_jax"]
    return {name for node in inside for name in (node.module.split(".")[1:] or [alias.name for alias in node.names])}


def test_no_module_imports_from_a_later_one():
    files = {path.stem: path for path in Path(lgcn_jax.__file__).parent.glob("*.py") if path.stem != "__init__"}
    assert set(files) == set(ORDER)
    for place, name in enumerate(ORDER):
        assert imported(files[name]) <= set(ORDER[:place]), name


def test_arithmetic_does_not_know_of_files_and_flags():
    arithmetic = {"losses", "metrics", "csr", "sums", "layout", "kernel", "propagation"}
    for name in arithmetic:
        assert imported(Path(lgcn_jax.__file__).parent / f"{name}.py") <= arithmetic, name
