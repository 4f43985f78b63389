"""The run folder: what a run leaves behind. Files are written whole or not at all, but for metrics.jsonl, which grows.

config.json  environment.json  ids/  metrics.jsonl  checkpoints/  result.json  tensorboard/  curves.png  profile/
report.html
"""

import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.graph import order, propagation
from lgcn_jax.runs import checkpoint, curves, integrity, raw_ids
from lgcn_jax.runs.raw_ids import RawIds
from lgcn_jax.system.files import describe_os_error, write
from lgcn_jax.system.limits import usable_cores
from lgcn_jax.version import __version__

FILES = ("config.json", "environment.json", "metrics.jsonl", "result.json", "curves.png", "report.html")
FOLDERS = ("checkpoints", "tensorboard", "profile", raw_ids.FOLDER)
POPULATION, MEMBERS = "population.json", "members"  # what a population has beside its checkpoints and its result
JAX_SETTINGS = (
    *("jax_default_prng_impl", "jax_threefry_partitionable", "jax_enable_x64", "jax_default_matmul_precision"),
    "jax_random_seed_offset",
)


@contextlib.contextmanager
def as_write_error(folder: Path) -> Iterator[None]:
    """A file of a work folder that cannot be written, as a WriteError that names both."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"--workdir={folder}", describe_os_error(error)) from error


class RunFolder:
    """A work folder while its run is in progress; a context manager that closes its open files.

    Args:
      path: the folder; made when missing.
      config: written to config.json.
      environment: written to environment.json.
      rows: what the run logged before, when it is continued; metrics.jsonl then holds these lines and no other.
      ids: raw ids and titles of users and items, written to ids/; None: they are not.

    Raises:
      WriteError: a file cannot be written (so do the methods).
    """

    def __init__(
        self,
        path: Path,
        config: Config,
        environment: dict[str, Any],
        rows: list[dict[str, Any]] = (),
        ids: tuple[RawIds, RawIds] | None = None,
    ):
        from lgcn_jax.runs.scalars import TensorBoardLog  # whose library imports torch where it is installed

        self.path, self.config, self.environment = path, config, environment
        self.rows = list(rows)
        with as_write_error(self.path):
            path.mkdir(parents=True, exist_ok=True)
            (path / "result.json").unlink(missing_ok=True)  # its presence says that the run has ended
            write_json(path / "config.json", config.to_json())
            write_json(path / "environment.json", environment)
            if ids is not None:
                raw_ids.write_raw_ids(path / raw_ids.FOLDER, *ids)
            write(path / "metrics.jsonl", "".join(map(_json_line, self.rows)).encode())
            self._metrics = (path / "metrics.jsonl").open("a", encoding="utf-8")
            self._scalars = TensorBoardLog(
                path / "tensorboard", 1 + max((row["epoch"] for row in self.rows), default=0)
            )

    def log(self, row: dict[str, Any]) -> None:
        """Appends a line to metrics.jsonl and its numbers to TensorBoard's scalars."""
        self.rows.append(row)
        with as_write_error(self.path):
            self._metrics.write(_json_line(row))
            self._metrics.flush()
            self._scalars.append(row)
            if row["split"] != "train":
                self._scalars.flush()

    def finish(self, result: dict[str, Any]) -> None:
        """Writes result.json, and curves.png where there was an evaluation: what matters more comes first."""
        with as_write_error(self.path):
            whole = result | {"config": self.config.to_json(), "environment": self.environment}
            write_json(self.path / "result.json", whole)
            if any(row["split"] != "train" for row in self.rows):
                write(self.path / "curves.png", curves.plot_run(self.rows))

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind, *exception) -> None:
        # Closing flushes, which fails on a full disk; the error that is on its way then says so already.
        with contextlib.suppress(WriteError) if kind else contextlib.nullcontext(), as_write_error(self.path):
            self._metrics.close()
            self._scalars.close()


class NullRunFolder(RunFolder):
    """The run folder of a process that writes nothing, since another one does."""

    def __init__(self, path: Path, config: Config, environment: dict[str, Any], rows: list[dict[str, Any]], ids: Any):
        del ids
        self.path, self.config, self.environment, self.rows = path, config, environment, list(rows)

    def log(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def finish(self, result: dict[str, Any]) -> None:
        """Nothing."""

    def __exit__(self, kind, *exception) -> None:
        """Nothing is open."""


def check_is_run_folder(path: Path) -> None:
    """Raises an InputError where names of the run folder are taken by what no run of ours can have left there."""
    for names, kind, is_kind in ((FILES, "file", Path.is_file), (FOLDERS, "folder", Path.is_dir)):
        for name in names:
            if os.path.lexists(path / name) and not is_kind(path / name):
                raise InputError(path / name, f"what is no {kind}", f"a {kind}, or nothing")
    present = [name for name in (*FILES, *FOLDERS) if (path / name).exists()]
    if present and not _is_ours(path):
        found = f"{', '.join(present)}, but neither settings, environment nor checkpoint of a run"
        raise InputError(f"--workdir={path}", found, "a run, or a free folder")


def clear_run(path: Path) -> None:
    """Removes what a run leaves behind, and nothing else that lies in the folder.

    Raises:
      InputError: as `check_is_run_folder`.
      WriteError: something cannot be removed.
    """
    check_is_run_folder(path)
    of_population = ((POPULATION,), (MEMBERS,)) if is_population(path) else ((), ())
    files, folders = (*of_population[0], *FILES), (*of_population[1], *FOLDERS)
    try:
        for name in folders:
            if (path / name).exists():
                shutil.rmtree(path / name)
        for name in reversed(files):  # what names it last: killed before that, the folder can be cleared still
            (path / name).unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"--workdir={path}", error.strerror or error) from error


def is_population(path: Path) -> bool:
    """Whether a population was begun in the folder."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return "population_format" in json.loads((path / POPULATION).read_text(encoding="utf-8"))
    return False


def content_sha256(path: Path) -> str | None:
    """The content hash of the data that environment.json names; None where it names none."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return json.loads((path / "environment.json").read_text(encoding="utf-8"))["dataset"]["content_sha256"]
    return None


def logged_rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl; where it is missing or damaged, those before that."""
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(OSError, ValueError), (path / "metrics.jsonl").open(encoding="utf-8") as file:
        for line in file:
            rows.append(json.loads(line))
    return rows


def _is_ours(path: Path) -> bool:
    """Whether something in the folder can only have been written by a run; any one file of it may be damaged."""
    if is_population(path):
        return True
    with contextlib.suppress(InputError):
        Config.from_json(path / "config.json")
        return True
    with contextlib.suppress(OSError, ValueError, TypeError):
        if "lgcn_jax" in json.loads((path / "environment.json").read_text(encoding="utf-8")):
            return True
    for number in integrity.checkpoint_steps(path / "checkpoints"):
        with contextlib.suppress(integrity.DamagedError, InputError):
            checkpoint.read_metadata(path / "checkpoints", number)
            return True
    return False


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a JSON file whole or not at all."""
    write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def _json_line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def describe_environment(
    config: Config, interactions: Interactions, warm_start: dict[str, str] | None = None
) -> dict[str, Any]:
    """What could change a run's numbers besides its settings: versions, device, data, commit, what it began with."""
    return {
        **describe_common_environment(interactions),
        "propagation": propagation.resolve_layout_name(config.graph.propagation),
        "node_order": order.resolve_order_name(config.graph.node_order),
        **({} if warm_start is None else {"warm_start": warm_start}),
    }


def describe_common_environment(interactions: Interactions) -> dict[str, Any]:
    """What could change the numbers of any model: versions, device, data, commit."""
    device = jax.devices()[0]
    return {
        **versions(),
        "platform": platform.platform(),
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "cpu": _cpu_model(),
        "cpu_cores": usable_cores(),
        **{name: getattr(jax.config, name) for name in JAX_SETTINGS},
        "variables": {name: os.environ[name] for name in sorted(os.environ) if _is_recorded(name)},
        "processes": jax.process_count(),
        "commit": _git_commit(),
        "dataset": {
            "name": interactions.name,
            "users": interactions.num_users,
            "items": interactions.num_items,
            "train": interactions.train.nnz,
            "valid": interactions.valid.nnz,
            "test": interactions.test.nnz,
            "content_sha256": interactions.content_hash(),
            "evaluation_sha256": interactions.evaluation_hash(),
        },
    }


def _is_recorded(variable: str) -> bool:
    """Whether an environment variable can change numbers: those of JAX and XLA, but for where caches and dumps lie."""
    named = variable.startswith(("JAX_", "XLA_")) or variable == "NVIDIA_TF32_OVERRIDE"
    return named and not variable.endswith(("_DIR", "_PATH"))


def _cpu_model() -> str:
    """The processor's name as Linux gives it, elsewhere as Python does."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def flatten(values: dict[str, Any]) -> dict[str, Any]:
    """{'a': 1, 'b': {'c': 2}} -> {'a': 1, 'b.c': 2}."""
    flat = {}
    for name, value in values.items():
        flat |= {f"{name}.{inner}": part for inner, part in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def versions() -> dict[str, str]:
    """Versions of this package, Python and the packages that compute."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")
    installed = {package: importlib.metadata.version(package) for package in packages}
    return {"lgcn_jax": __version__, "python": platform.python_version(), **installed}


@functools.cache  # what this process runs does not change with the tree
def _git_commit() -> str | None:
    """The commit of the source tree that this package runs from, `-dirty` with changes; None for an installed one."""
    here = Path(__file__)
    try:
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        commit = _git(here.parent, "rev-parse", "HEAD")
        return commit + ("-dirty" if _git(here.parent, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *command: str) -> str:
    """What git prints; it takes no lock of the index, which would stay in the tree if this process were killed."""
    line = ["git", "--no-optional-locks", "-C", str(folder), *command]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()
