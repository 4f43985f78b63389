"""Orbax checkpoints of a run: the newest two and the best, saved in the background, verified when they are read.

    checkpoints/STEP/arrays    parameters, optimizer state and totals of the epoch in hand; SHA256SUMS of these files
                     meta      JSON: format, progress, the run's settings, content hash of its data, its log so far

STEP counts the steps since the beginning. `meta` holds a sha256 over itself, and so every truncated, flipped or
missing byte is found before a checkpoint is used; no pickle is involved anywhere.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from flax import nnx
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.state import Progress, Snapshot

FORMAT = 1
WHICH = ("best", "latest")
KEPT = 2  # of the newest: where the last one proves damaged, the one before it is still there


class Checkpoint(NamedTuple):
    """A checkpoint as it was read: its place in the run, and what else was saved with it."""

    snapshot: Snapshot
    facts: dict[str, Any]


class DamagedError(Exception):
    """A checkpoint that is incomplete or not what was saved."""


class _Summed(ocp.StandardCheckpointHandler):
    """Orbax's arrays, and beside them the sums of their files: written before the checkpoint is made final.

    Orbax itself notices damage late or never, and a failed read of its leaves coroutines behind whose complaints
    reach stderr at any later time. So the files are looked at before Orbax is.
    """

    NAME = "SHA256SUMS"  # in the format of the program sha256sum, which can check it
    LATER = (NAME, "commit_success.txt")  # what Orbax adds when it makes the folder final

    def finalize(self, directory) -> None:
        super().finalize(directory)
        (Path(directory) / self.NAME).write_text("".join(self._lines(Path(directory))), encoding="utf-8")

    @classmethod
    def check(cls, directory: Path) -> None:
        """Raises a DamagedError where a file is missing, added or changed."""
        try:
            written = (directory / cls.NAME).read_bytes().decode().splitlines(keepends=True)
            found = cls._lines(directory)
        except (OSError, ValueError) as error:
            raise DamagedError(_reason(error)) from None
        if written != found:
            changed = min(set(written) ^ set(found), default=cls.NAME)
            raise DamagedError(f"{changed.split()[-1]} is not the file that was saved")

    @classmethod
    def _lines(cls, directory: Path) -> list[str]:
        files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in cls.LATER)
        return [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(directory)}\n" for path in files]


class Checkpoints:
    """Saves the checkpoints of a run under `folder`; a context manager that waits for them on exit.

    Open it over checkpoints that `verified` has looked at. The best one is that with the highest `watched` metric,
    the earliest of equals.
    """

    def __init__(self, folder: Path, watched: str):
        def rank(metrics: dict[str, float]) -> tuple[float, float]:
            return metrics.get(watched, -math.inf), -metrics["epoch"]

        best = BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy([LatestN(KEPT), best]),
            best_fn=rank,
            cleanup_tmp_directories=True,
        )
        self._folder = folder
        handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
        handlers.add("arrays", ocp.args.StandardSave, _Summed())
        # Orbax writes from a background thread, where a relative path would mean another place.
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options, handler_registry=handlers)

    def save(self, snapshot: Snapshot, steps_per_epoch: int, facts: dict[str, Any]) -> None:
        """Copies the snapshot and writes it in the background, unless it is there already.

        Raises:
          WriteError: this or the previous checkpoint could not be written.
        """
        progress = snapshot.progress
        step = progress.epoch * steps_per_epoch + progress.step
        if step == self._manager.latest_step():
            return
        arrays = jax.tree.map(jnp.copy, _arrays(snapshot))  # the next step is given the originals' memory
        place = {"progress": dataclasses.asdict(progress), "steps_per_epoch": steps_per_epoch}
        meta = _sealed({"format": FORMAT, **place, **facts})
        items = ocp.args.Composite(arrays=ocp.args.StandardSave(arrays), meta=ocp.args.JsonSave(meta))
        with self._failing_as_write_error():
            if not self._manager.save(step, args=items, metrics=_metrics(progress)):
                raise RuntimeError(f"Orbax declines to save step {step} after {self._manager.latest_step()}")

    def wait(self) -> None:
        """Returns when all saves are on disk.

        Raises:
          WriteError: one could not be written.
        """
        with self._failing_as_write_error():
            self._manager.wait_until_finished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *exception) -> None:
        # Where an error is on its way already, that of the last save must not hide it.
        with contextlib.suppress(WriteError) if kind else contextlib.nullcontext(), self._failing_as_write_error():
            self._manager.close()

    @contextlib.contextmanager
    def _failing_as_write_error(self):
        """A failed write, in whatever dress the libraries below report it, as a WriteError."""
        try:
            yield
        except Exception as error:
            raise WriteError(f"a checkpoint in {self._folder}", _reason(error)) from error


def steps(folder: Path) -> list[int]:
    """The steps of which there is a checkpoint, whole or not, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isascii() and path.name.isdigit())


def verified(folder: Path, like: Snapshot) -> tuple[dict[int, Checkpoint], dict[int, str]]:
    """Reads all checkpoints: the good ones by step, and for the others the reason.

    Args:
      folder: of the checkpoints.
      like: a snapshot of the shapes, dtypes and shardings to expect.

    Raises:
      InputError: a checkpoint is of a format that this version does not know.
    """
    good, bad = {}, {}
    for step in steps(folder):
        try:
            good[step] = read(folder, step, like)
        except DamagedError as error:
            bad[step] = str(error)
    return good, bad


def superfluous(good: dict[int, Checkpoint]) -> set[int]:
    """The steps among whole checkpoints that would be gone, had the run not been stopped before they were removed."""
    newest = max(good)
    return good.keys() - {*sorted(good)[-KEPT:], best_step(good[newest].facts)}


def remove(folder: Path, step: int) -> None:
    """Removes a damaged or superfluous checkpoint."""
    shutil.rmtree(folder / str(step), ignore_errors=True)
    (folder / str(step)).unlink(missing_ok=True)


def read(folder: Path, step: int, like: Snapshot) -> Checkpoint:
    """The checkpoint of `step`, verified.

    Raises:
      DamagedError: it is incomplete or was changed since it was saved.
      InputError: it is of a format that this version does not know.
    """
    path = folder.absolute() / str(step)
    meta = read_meta(folder, step)
    if not ocp.utils.is_checkpoint_finalized(path):
        raise DamagedError("its saving was cut off")
    _Summed.check(path / "arrays")
    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _arrays(like))
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
            arrays = reader.restore(path / "arrays", args=ocp.args.StandardRestore(shapes, strict=False))
        metrics = json.loads((path / "metrics" / "metrics").read_text(encoding="utf-8"))
        progress = Progress(**meta["progress"])
    except Exception as error:  # whatever a library makes of bytes that it did not write
        raise DamagedError(_reason(error)) from None
    if metrics != _metrics(progress):
        raise DamagedError("its metrics are not those that were saved")
    arrays = jax.tree.map(jnp.copy, arrays)  # memory of our own: a step is given it to write in
    params = jax.tree.map(lambda leaf: leaf, like.state.params)
    nnx.replace_by_pure_dict(params, arrays["params"])
    state = like.state._replace(params=params, optimizer=arrays["optimizer"])
    return Checkpoint(Snapshot(state, arrays["totals"], progress), meta)


def read_meta(folder: Path, step: int) -> dict[str, Any]:
    """What the checkpoint of `step` says of itself, verified; the arrays are not looked at.

    Raises:
      DamagedError, InputError: as for `read`.
    """
    path = folder / str(step) / "meta" / "metadata"
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedError(_reason(error)) from None
    if not isinstance(meta, dict):
        raise DamagedError("its meta data are no JSON object")
    if isinstance(meta.get("format"), int) and meta["format"] > FORMAT:  # which may be sealed in another way
        raise InputError(folder / str(step), f"checkpoint format {meta['format']}", f"at most format {FORMAT}")
    if meta != _sealed({key: value for key, value in meta.items() if key != "sha256"}):
        raise DamagedError("its meta data are not those that were saved")
    return meta


def restore(folder: Path, which: str, like: Snapshot) -> Checkpoint:
    """The 'best' or the 'latest' checkpoint of a run.

    Raises:
      InputError: there is none, or it is damaged; the message says which other could be asked for.
    """
    found = steps(folder)
    if not found:
        raise InputError(folder, "no checkpoint", "at least one, which train saves")
    try:
        newest = read_meta(folder, found[-1])
        return read(folder, found[-1] if which == "latest" else best_step(newest), like)
    except DamagedError as error:
        raise InputError(folder, f"a damaged {which} checkpoint ({error})", f"a whole one of {found}") from None


def best_step(meta: dict[str, Any]) -> int:
    """The step of the best checkpoint so far, as the checkpoint with this `meta` knows it; its own without one."""
    progress, steps_per_epoch = Progress(**meta["progress"]), meta["steps_per_epoch"]
    if progress.best:
        return progress.best["epoch"] * steps_per_epoch
    return progress.epoch * steps_per_epoch + progress.step


def _arrays(snapshot: Snapshot) -> dict[str, Any]:
    params = nnx.to_pure_dict(snapshot.state.params)
    return {"params": params, "optimizer": snapshot.state.optimizer, "totals": snapshot.totals}


def _metrics(progress: Progress) -> dict[str, float]:
    """What Orbax ranks by: the epoch, and the metrics where this very place was evaluated."""
    evaluated = progress.step == 0 and progress.last is not None and progress.last["epoch"] == progress.epoch
    metrics = {name: value for name, value in progress.last.items() if "@" in name} if evaluated else {}
    return {"epoch": progress.epoch, **metrics}


def _sealed(meta: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(meta, sort_keys=True)
    return meta | {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def _reason(error: Exception) -> str:
    """One line: what the operating system said, where it can be found in the error, else how the error begins."""
    if code := re.search(r"os_error_code='(\d+)'", str(error)):
        return os.strerror(int(code[1]))
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
