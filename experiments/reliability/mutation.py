"""Mutation testing with mutmut: which tests are run for a mutant, and a table of what became of them.

As a pytest plugin (`make mutants` loads it) it gives every mutant all tests that concern its module. mutmut alone would
give it those during which its function was called; with JAX, a function is called when it is traced, and a test that
uses a program compiled by an earlier test would be left out.

As a program (`python experiments/reliability/mutation.py`) it prints the table and the mutants that were not killed;
with a number N, the names of every N-th mutant that was not tried yet: `make mutants MUTANTS="$(... mutation.py 10)"`
tries a tenth of them, and the share that is killed has the standard error sqrt(p (1 - p) / tried).
"""

import collections
import gc
import json
import os
import sys
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from mutmut import configuration
from mutmut.state import state
from mutmut.stats import status_by_exit_code

# What is run for the mutants of a module, or of all modules of a wing: files of tests, or single tests of a file.
CONCERNED = {
    "config": ("test_config.py", "test_plugins.py", "devices/test_mesh.py::test_a_mesh_of_another_form"),
    "settings": ("test_config.py", "test_plugins.py", "cli/test_flags.py"),
    "evaluation": (
        *("evaluation", "devices/test_mesh.py::test_more_places_than_items"),
        "devices/test_mesh.py::test_ties_go_to_the_lower_id",
    ),
    "losses": ("losses/test_losses.py", "losses/test_parity_torch.py::test_terms_total", "test_plugins.py"),
    "optimization": ("optimization", "test_config.py::test_a_plateau"),
    "runs": ("runs/test_run.py", "runs/test_checkpoint.py"),
    "sampling": ("sampling", "devices/test_mesh.py::test_all_devices_draw"),
    "training.step": (
        *(f"training/test_training.py::test_{name}" for name in ("one_step", "the_first_loss", "types_do_not_change")),
        *("training/test_training.py::test_padding", "training/test_training.py::test_eight_devices"),
        *("losses/test_parity_torch.py::test_terms_total", "test_plugins.py"),
        *(
            "losses/test_parity_torch.py::test_parameters_after_clipped_steps",
            "devices/test_mesh.py::test_a_table_travels",
        ),
    ),
    "training": ("training/test_training.py", "runs/test_run.py"),
}

SLOW = 20.0  # seconds of a test above which it is left out: most of those start processes, which have no mutant
PROGRAMS = Path(".compiled").absolute()  # in mutmut's folder, in which pytest runs


def measuring() -> bool:
    """Whether this is the run in which mutmut measures the tests, without a mutant."""
    return os.environ.get("MUTANT_UNDER_TEST") == "stats"


def concerned(module: str) -> tuple[str, ...]:
    """How the names of the tests begin that are run for a module's mutants; `module` as in evaluation.metrics."""
    names = CONCERNED.get(module) or CONCERNED[module.split(".")[0]]
    return tuple(f"tests/{name}" for name in names)


def module_of(mutant: str) -> str:
    """The module of a mutated function or a mutant, such as lgcn_jax.evaluation.metrics.x_top_k."""
    return mutant.removeprefix("lgcn_jax.").rpartition(".")[0]


def pytest_configure():
    gc.freeze()  # pytest collects garbage at its end, and need not look at what was imported for all mutants


@pytest.fixture(scope="session", autouse=True)
def compiled_before(compiled_once):
    """What no mutant changes is not compiled again: the run that measures keeps its programs, the others only read.

    JAX's cache is not made for several processes that write at once.
    """
    jax.config.update("jax_compilation_cache_dir", str(PROGRAMS))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0 if measuring() else 1e9)
    compilation_cache.reset_cache()


def wanted() -> tuple[str, ...]:
    """How the names of the tests begin that concern a module that is mutated."""
    return tuple(
        name
        for path in configuration.config().only_mutate
        for name in concerned(path.removeprefix("lgcn_jax/").removesuffix(".py").replace("/", "."))
    )


def pytest_ignore_collect(collection_path):
    if not collection_path.match("test_*.py"):
        return None
    path = collection_path.as_posix()
    return None if any(f"/{name.partition('::')[0]}" in path for name in wanted()) else True


def pytest_collection_modifyitems(config, items):
    """The fastest tests first: the first one that fails ends a mutant's run."""
    seconds = state().duration_by_test
    others = [item for item in items if not item.nodeid.startswith(wanted()) or seconds.get(item.nodeid, 0.0) > SLOW]
    config.hook.pytest_deselected(items=others)
    items[:] = sorted((item for item in items if item not in others), key=lambda item: seconds.get(item.nodeid, 0.0))


def pytest_sessionfinish():
    """At the end of the run in which mutmut measures the tests, its choice of tests is replaced."""
    if measuring():
        chosen, measured = state().tests_by_mangled_function_name, state().duration_by_test
        for function in list(chosen):
            chosen[function] = {test for test in measured if test.startswith(concerned(module_of(function)))}


def results() -> dict[str, str]:
    """What became of each mutant, by its name. 255: pytest could not begin, since the mutant cannot be imported."""
    files = [json.loads(path.read_text()) for path in sorted(Path("mutants/lgcn_jax").rglob("*.meta"))]
    codes = {name: code for file in files for name, code in file["exit_code_by_key"].items()}
    return {name: "not importable" if code == 255 else status_by_exit_code[code] for name, code in codes.items()}


def main():
    found = results()
    if sys.argv[1:]:
        print(*[name for name, status in found.items() if status == "not checked"][:: int(sys.argv[1])])
        return
    table = collections.defaultdict(collections.Counter)
    for name, status in found.items():
        table[module_of(name)][status] += 1
    for module, counts in table.items():
        print(f"{module:24}", ", ".join(f"{count} {status}" for status, count in counts.most_common()))
    for name, status in found.items():
        if status not in ("killed", "not importable", "not checked"):
            print(f"{status}: {name}")


if __name__ == "__main__":
    main()
