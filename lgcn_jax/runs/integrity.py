"""Whole checkpoints and damaged ones: what is saved with each, and how every byte of it is verified."""

import contextlib
import hashlib
import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from lgcn_jax.errors import InputError
from lgcn_jax.training.state import Progress

FORMAT = 3  # 2 had the contrastive term among the totals of BPR, and config.json without a format

META = {
    "progress": dict,
    "steps_per_epoch": int,
    "scheduled": bool,
    "config": dict,
    "content_sha256": str,
    "environment": dict,
    "log": list,
}


class DamagedError(Exception):
    """A checkpoint that is provably incomplete or not what was saved; one that cannot be read is an InputError."""


class ChecksumHandler(ocp.StandardCheckpointHandler):
    """Orbax's arrays, and beside them the sums of their files: written before the checkpoint is made final.

    Orbax itself notices damage late or never, and a failed read of its leaves coroutines behind whose complaints
    reach stderr at any later time. So the files are looked at before Orbax is.
    """

    NAME = "SHA256SUMS"  # in the format of the program sha256sum, which can check it
    LATER = (NAME, "commit_success.txt")  # what Orbax adds when it makes the folder final

    def finalize(self, directory) -> None:
        super().finalize(directory)
        sums = self._checksums(Path(directory))
        lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        (Path(directory) / self.NAME).write_text(lines, encoding="utf-8")

    @classmethod
    def check(cls, directory: Path) -> None:
        """Raises a DamagedError where a file is missing, added or changed."""
        try:
            lines = _read_content(directory / cls.NAME).decode().split("\n")
        except UnicodeDecodeError:
            raise DamagedError(f"{cls.NAME} is not the file that was saved") from None
        written = {name: digest for digest, _, name in (line.partition("  ") for line in lines if line)}
        with read_errors_as_input_errors(directory):
            found = cls._checksums(directory)
        if written != found:
            changed = min(name for name in written.keys() | found.keys() if written.get(name) != found.get(name))
            raise DamagedError(f"{changed or cls.NAME} is not the file that was saved")

    @classmethod
    def _checksums(cls, directory: Path) -> dict[str, str]:
        files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in cls.LATER)
        return {str(path.relative_to(directory)): _digest(path) for path in files}


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of which there is a checkpoint, whole or not, ascending.

    Raises:
      InputError: the folder cannot be read.
    """
    with read_errors_as_input_errors(folder):
        if not folder.exists():
            return []
        names = [path.name for path in folder.iterdir()]
    return sorted({int(name) for name in names if name.isascii() and name.isdigit() and str(int(name)) == name})


def verify_all(folder: Path) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
    """Verifies all checkpoints: what the good ones say of themselves, by step, and for the others the reason.

    Raises:
      InputError: one is of a format that this version does not know, or cannot be read.
    """
    good, bad = {}, {}
    for step in checkpoint_steps(folder):
        try:
            good[step] = verify(folder, step)
        except DamagedError as error:
            bad[step] = str(error)
    return good, bad


def verify(folder: Path, step: int) -> dict[str, Any]:
    """What the checkpoint of `step` says of itself, after a look at every byte of it.

    Raises:
      DamagedError: it is incomplete or was changed since it was saved.
      InputError: it is of a format that this version does not know, or cannot be read.
    """
    path = folder.absolute() / str(step)
    meta = read_metadata(folder, step)
    with read_errors_as_input_errors(path):
        if not ocp.utils.is_checkpoint_finalized(path):
            raise DamagedError("its saving was cut off")
    ChecksumHandler.check(path / "arrays")
    try:
        metrics = json.loads(_read_content(path / "metrics" / "metrics"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(describe_error(error)) from None
    if metrics != metrics_of(Progress(**meta["progress"]), meta["scheduled"]):
        raise DamagedError("its metrics are not those that were saved")
    return meta


def read_metadata(folder: Path, step: int) -> dict[str, Any]:
    """What the checkpoint of `step` says of itself, verified; the arrays are not looked at.

    Raises:
      DamagedError, InputError: as for `verify`.
    """
    path = folder / str(step)
    try:
        meta = json.loads(_read_content(path / "meta" / "metadata"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(describe_error(error)) from None
    if not isinstance(meta, dict):
        raise DamagedError("its meta data are no JSON object")
    found = meta.get("format")
    future = type(found) is int and found > FORMAT  # which may be sealed in another way
    if not future and meta != with_checksum({key: value for key, value in meta.items() if key != "sha256"}):
        raise DamagedError("its meta data are not those that were saved")
    if type(found) is not int or found != FORMAT:
        advice = "begin anew with --overwrite, or use the version that began the run"
        known = f"format {FORMAT}, the one of this version ({advice})"
        raise InputError(path, f"checkpoint format {found!r}", known)
    wrong = [name for name, kind in META.items() if type(meta.get(name)) is not kind]
    if wrong or not Progress.describes(meta["progress"]):
        raise InputError(path, f"meta data with an unknown {(wrong or ['progress'])[0]}", f"those of format {FORMAT}")
    return meta


def step_of(progress: Progress, steps_per_epoch: int) -> int:
    return progress.epoch * steps_per_epoch + progress.step


def checkpoint_sort_key(watched: str, metrics: dict[str, float]) -> tuple[float, float]:
    """By which the best checkpoint is kept: the highest watched metric, the earliest of equals."""
    return metrics.get(watched, -math.inf), -metrics["epoch"]


def metrics_of(progress: Progress, is_scheduled: bool) -> dict[str, float]:
    """What Orbax ranks by: epoch, whether it was scheduled, and the metrics where this very place was evaluated.

    An evaluation that only the end made due is none of them: were the run to go on, it would never have been.
    """
    evaluated = progress.step == 0 and progress.last is not None and progress.last["epoch"] == progress.epoch
    metrics = {name: value for name, value in progress.last.items() if "@" in name} if evaluated else {}
    return {"epoch": progress.epoch, "scheduled": int(is_scheduled), **metrics}


@contextlib.contextmanager
def read_errors_as_input_errors(path: Path):
    """What the operating system does not let us read is the user's to mend, and no damage."""
    try:
        yield
    except OSError as error:
        raise InputError(path, f"what cannot be read ({error.strerror or error})", "readable files") from None


def _read_content(path: Path) -> bytes:
    """The bytes of a file of a checkpoint; a DamagedError where there is no such file."""
    with read_errors_as_input_errors(path):
        try:
            if stat.S_ISREG(path.stat().st_mode):
                return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            pass
    raise DamagedError(f"{path.name} is missing")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_checksum(meta: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(meta, sort_keys=True)
    return meta | {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def describe_error(error: Exception) -> str:
    """One line: what the operating system said, where it can be found in the error, else how the error begins."""
    if code := re.search(r"os_error_code='(\d+)'", str(error)):
        return os.strerror(int(code[1]))
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
