"""Orbax checkpoints of a run, saved in the background, verified when they are read.

    checkpoints/STEP/arrays    parameters, optimizer state, totals of the epoch in hand, the loss' statistics where it
                               has some; SHA256SUMS of these files
                     meta      JSON: format, progress, the run's settings, content hash of its data, its log so far

Orbax removes a checkpoint when a newer one is final. An evaluation that comes to a checkpoint later, since the run was
then said to end there, changes no array: its `meta` is exchanged for a new one by a renaming.

Kept are the newest, the newest two scheduled ones and the best. One is scheduled where a run without an end would save
as well; those made because a run was stopped, or is over, are gone once it has gone on, and so a continued run leaves
the checkpoints of the run that was left alone.

STEP counts the steps since the beginning. `meta` holds a sha256 over itself, and so every truncated, flipped or
missing byte is found before a checkpoint is used; no pickle is involved anywhere.
"""

import contextlib
import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from flax import nnx
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN, PreservationPolicy

from lgcn_jax.devices import processes
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.runs.integrity import (
    FORMAT,
    ChecksumHandler,
    checkpoint_sort_key,
    checkpoint_steps,
    describe_error,
    metrics_of,
    read_metadata,
    step_of,
    with_checksum,
)
from lgcn_jax.system import files
from lgcn_jax.training.state import Progress, Snapshot

RECORD = "_CHECKPOINT_METADATA"  # Orbax's own, in the folder of each checkpoint
KEPT = 2  # of the scheduled ones: where the last one proves damaged, the one before it is still there


class Checkpoint(NamedTuple):
    """A checkpoint as it was read: its place in the run, and what else was saved with it."""

    snapshot: Snapshot
    facts: dict[str, Any]


@dataclasses.dataclass
class _Scheduled(PreservationPolicy):
    """Preserves the newest scheduled checkpoints, `n` of them."""

    n: int

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        del context
        scheduled = [each.step for each in checkpoints if (each.metrics or {}).get("scheduled")]
        return [each.step in scheduled[-self.n :] for each in checkpoints]


class Checkpoints:
    """Saves the checkpoints of a run under `folder`; a context manager that waits for them on exit.

    Open it over checkpoints that `integrity.verify` has looked at. The best one is that with the highest `watched`
    metric, the earliest of equals; None: none is kept as the best one.

    Raises:
      WriteError: the folder cannot be made or opened (later: the methods say when).
      InputError: what is in it cannot be listed.
    """

    def __init__(self, folder: Path, watched: str | None):
        by_watched = functools.partial(checkpoint_sort_key, watched or "")
        best = [BestN(get_metric_fn=by_watched, n=1, keep_checkpoints_without_metrics=False)] if watched else []
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy([LatestN(1), _Scheduled(KEPT), *best]),
            best_fn=by_watched,
            cleanup_tmp_directories=True,
        )
        self._folder = folder
        handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
        handlers.add("arrays", ocp.args.StandardSave, ChecksumHandler())
        processes.broadcast_from_first("before the checkpoints are opened", lambda: _remove_unreadable_records(folder))
        with self._as_write_error(), processes.time_limit("at the opening of the checkpoints"):
            # Orbax writes from a background thread, where a relative path would mean another place.
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options, handler_registry=handlers)

    def save(self, snapshot: Snapshot, steps_per_epoch: int, facts: dict[str, Any], is_scheduled: bool = True) -> None:
        """Writes the snapshot in the background; where it is there already, only what was evaluated since then.

        Args:
          snapshot: a place in a run, of arrays whose memory nobody else is given: they are not copied again.
          steps_per_epoch: of the run.
          facts: what `META` lists beside progress, steps_per_epoch and scheduled.
          is_scheduled: whether a run that goes on for longer, and is not stopped, saves here as well.

        Raises:
          WriteError: this or the previous checkpoint could not be written.
        """
        self.save_arrays(_snapshot_arrays(snapshot), snapshot.progress, steps_per_epoch, facts, is_scheduled)

    def save_arrays(
        self,
        arrays: dict[str, Any],
        progress: Progress,
        steps_per_epoch: int,
        facts: dict[str, Any],
        is_scheduled: bool = True,
    ) -> None:
        """As `save`, of arrays by name."""
        step = step_of(progress, steps_per_epoch)
        place = {"progress": dataclasses.asdict(progress), "steps_per_epoch": steps_per_epoch}
        meta = {"format": FORMAT, **place, "scheduled": is_scheduled, **facts}
        with self._as_write_error():
            newest = processes.broadcast_from_first(f"before the save of step {step}", self._manager.latest_step)
            if step == newest:
                self._complete_metadata(step, meta)
                return
            meta = ocp.args.JsonSave(with_checksum(meta))
            items = ocp.args.Composite(arrays=ocp.args.StandardSave(arrays), meta=meta)
            with processes.time_limit(f"at the save of step {step}"):
                if not self._manager.save(step, args=items, metrics=metrics_of(progress, is_scheduled)):
                    raise RuntimeError(f"Orbax declines to save step {step} after {newest}")

    def _complete_metadata(self, step: int, meta: dict[str, Any]) -> None:
        """Gives the newest checkpoint the evaluation that was made due by the run's end there; its arrays stay."""
        with processes.time_limit(f"at the save of step {step}"):
            self._manager.wait_until_finished()
        if processes.is_primary():
            saved = read_metadata(self._folder, step)
            if any(told(saved) != told(meta) for told in (_final_metadata, _members_in_metadata)):
                whole = with_checksum(meta | {"scheduled": saved["scheduled"]})  # by which Orbax ranks it
                files.write(self._folder / str(step) / "meta" / "metadata", json.dumps(whole).encode())
        processes.all_gather(f"at the save of step {step}")

    def check(self) -> None:
        """Raises a WriteError where a save has failed in the background; waits for none."""
        if not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Returns when all saves are on disk.

        Raises:
          WriteError: one could not be written.
        """
        with self._as_write_error(), processes.time_limit("for the last save"):
            self._manager.wait_until_finished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *exception) -> None:
        # Where an error is on its way already, that of the last save must not hide it.
        with contextlib.suppress(WriteError) if kind else contextlib.nullcontext(), self._closing():
            self._manager.close()

    @contextlib.contextmanager
    def _closing(self):
        with self._as_write_error(), processes.time_limit("for the last save"):
            yield

    @contextlib.contextmanager
    def _as_write_error(self):
        """A failed write, in whatever dress the libraries below report it, as a WriteError."""
        try:
            yield
        except (processes.DivergedError, InputError):
            raise
        except Exception as error:
            raise WriteError(f"a checkpoint in {self._folder}", describe_error(error)) from error


def _remove_unreadable_records(folder: Path) -> None:
    """Orbax reads its record of each checkpoint's time before it saves the next one, and does without where none is."""
    for step in checkpoint_steps(folder):
        try:
            _ = ocp.path.step.standard_name_format().find_step(folder, step).commit_timestamp
        except Exception:  # whatever Orbax makes of it
            with contextlib.suppress(OSError):
                (folder / str(step) / RECORD).unlink()


def _final_metadata(meta: dict[str, Any]) -> Any:
    return meta["progress"]["final"]


def _members_in_metadata(meta: dict[str, Any]) -> Any:
    """What is said of each member of a population; None of a run."""
    return meta.get("members")


def steps_to_prune(good: dict[int, dict[str, Any]], watched: str | None) -> set[int]:
    """The steps among whole checkpoints that Orbax would have removed, had the run not been stopped before that."""
    scheduled = [step for step in sorted(good) if good[step]["scheduled"]]

    def by_watched(step: int) -> tuple:
        metrics = metrics_of(Progress(**good[step]["progress"]), good[step]["scheduled"])
        return *checkpoint_sort_key(watched or "", metrics), step  # of equals, Orbax keeps the newest

    best = {max(good, key=by_watched)} if watched else set()
    return good.keys() - {max(good), *scheduled[-KEPT:]} - best


def remove(folder: Path, step: int) -> None:
    """Removes a damaged or superfluous checkpoint."""
    shutil.rmtree(folder / str(step), ignore_errors=True)
    with contextlib.suppress(OSError):
        (folder / str(step)).unlink(missing_ok=True)


def load(folder: Path, step: int, meta: dict[str, Any], like: Snapshot) -> Checkpoint:
    """The checkpoint of which `verify` gave `meta`, its arrays put where those of `like` are.

    They may be views of memory that Orbax owns, never to be donated; `Setup.to_row_order` makes others.

    Raises:
      InputError: it could not be loaded although its bytes are intact: too little memory, too few open files, or a
        version that keeps other arrays.
    """
    arrays = load_arrays(folder, step, _snapshot_arrays(like))
    params = jax.tree.map(lambda leaf: leaf, like.state.params)
    nnx.replace_by_pure_dict(params, arrays["params"])
    statistics = arrays.get("statistics", {})
    state = like.state._replace(params=params, optimizer=arrays["optimizer"], statistics=statistics)
    return Checkpoint(Snapshot(state, arrays["totals"], Progress(**meta["progress"])), meta)


def load_arrays(folder: Path, step: int, like: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a checkpoint by name, put where those of `like` are; as `load`."""
    path = folder.absolute() / str(step) / "arrays"
    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
            return reader.restore(path, args=ocp.args.StandardRestore(shapes, strict=False))
    except Exception as error:  # whatever the libraries below say
        raise InputError(
            path,
            f"arrays that cannot be loaded ({describe_error(error)})",
            "enough memory and open files, and the version that saved them",
        ) from None


def _snapshot_arrays(snapshot: Snapshot) -> dict[str, Any]:
    """Those of a snapshot by name; losses without statistics save what they saved before there were any."""
    state = snapshot.state
    arrays = {"params": nnx.to_pure_dict(state.params), "optimizer": state.optimizer, "totals": snapshot.totals}
    return arrays | ({"statistics": state.statistics} if state.statistics else {})
