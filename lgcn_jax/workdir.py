"""The run folder: the files that a run leaves behind, each written under a temporary name and renamed.

config.json  environment.json  metrics.jsonl  checkpoints/  result.json  tensorboard/  curves.png
"""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jax
from tensorboardX import SummaryWriter

from lgcn_jax import curves, propagation
from lgcn_jax.config import Config
from lgcn_jax.errors import InputError
from lgcn_jax.interactions import Interactions
from lgcn_jax.version import __version__

FILES = ("config.json", "environment.json", "metrics.jsonl", "result.json", "curves.png")
FOLDERS = ("checkpoints", "tensorboard")


class RunFolder:
    """A work folder while its run is in progress; a context manager that closes its open files."""

    def __init__(self, path: Path):
        self.path = path
        self._metrics = (path / "metrics.jsonl").open("a", encoding="utf-8")
        self._scalars = SummaryWriter(str(path / "tensorboard"), write_to_disk=True)

    @classmethod
    def create(cls, path: Path, config: Config, environment: dict[str, Any], overwrite: bool = False) -> "RunFolder":
        """A folder for a new run, with its config.json and environment.json.

        Raises:
          InputError: the folder cannot be written, or holds a run and `overwrite` is off.
        """
        try:
            if holds_run(path):
                if not overwrite:
                    raise InputError(f"--workdir={path}", "a folder that holds a run", "a new folder, or --overwrite")
                _clear(path)
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / "config.json", config.to_json())
            write_json(path / "environment.json", environment)
            return cls(path)
        except OSError as error:
            found = f"a folder that cannot be written ({error.strerror})"
            raise InputError(f"--workdir={path}", found, "a writable folder") from None

    def log(self, row: dict[str, Any]) -> None:
        """Appends a line to metrics.jsonl and its numbers to TensorBoard's scalars."""
        self._metrics.write(json.dumps(row) + "\n")
        self._metrics.flush()
        for name, value in row.items():
            if name not in ("epoch", "split"):
                self._scalars.add_scalar(f"{row['split']}/{name}", value, row["epoch"])

    def finish(self, result: dict[str, Any]) -> None:
        """Writes curves.png, then result.json, whose presence says that the run has ended."""
        curves.from_metrics(self.path / "metrics.jsonl", self.path / "curves.png")
        write_json(self.path / "result.json", result)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *exception) -> None:
        self._metrics.close()
        self._scalars.close()


def holds_run(path: Path) -> bool:
    """Whether a run was ever begun in the folder."""
    return (path / "config.json").exists()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a run folder, or an InputError that names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, "no such file", "a file that train writes") from None
    except (OSError, ValueError) as error:
        raise InputError(path, f"a damaged file ({error})", "a file that train writes") from None
    if not isinstance(value, dict):
        raise InputError(path, f"a JSON {type(value).__name__}", "a JSON object")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a JSON file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def environment(config: Config, interactions: Interactions) -> dict[str, Any]:
    """What could change a run's numbers besides its settings: versions, device, data, commit."""
    device = jax.devices()[0]
    return {
        **versions(),
        "platform": platform.platform(),
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "cpu_cores": os.cpu_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "propagation": propagation.choose(config.propagation),
        "commit": _commit(),
        "dataset": {
            "name": interactions.name,
            "users": interactions.num_users,
            "items": interactions.num_items,
            "train": interactions.train.nnz,
            "valid": interactions.valid.nnz,
            "test": interactions.test.nnz,
            "content_sha256": interactions.content_hash(),
        },
    }


def versions() -> dict[str, str]:
    """Versions of this package, Python and the packages that compute."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")
    installed = {package: importlib.metadata.version(package) for package in packages}
    return {"lgcn_jax": __version__, "python": platform.python_version(), **installed}


def _commit() -> str | None:
    """The commit of the source tree that this package runs from; None for an installed package."""
    here = Path(__file__)
    tracked = ["git", "-C", str(here.parent), "ls-files", "--error-unmatch", here.name]
    head = ["git", "-C", str(here.parent), "rev-parse", "HEAD"]
    try:
        subprocess.run(tracked, check=True, capture_output=True)
        return subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _clear(path: Path) -> None:
    """Removes what a run leaves behind, and nothing else that lies in the folder."""
    for name in FILES:
        (path / name).unlink(missing_ok=True)
    for name in FOLDERS:
        shutil.rmtree(path / name, ignore_errors=True)
