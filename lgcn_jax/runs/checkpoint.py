"""Orbax checkpoints of a run, saved in the background, verified when they are read.

    checkpoints/STEP/arrays    parameters, optimizer state and totals of the epoch in hand; SHA256SUMS of these files
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
import hashlib
import json
import math
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from flax import nnx
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN, PreservationPolicy

from lgcn_jax.devices import processes
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.system import files
from lgcn_jax.training.state import Progress, Snapshot

FORMAT = 2
WHICH = ("best", "latest")
KEPT = 2  # of the scheduled ones: where the last one proves damaged, the one before it is still there
META = {
    "progress": dict,
    "steps_per_epoch": int,
    "scheduled": bool,
    "config": dict,
    "content_sha256": str,
    "environment": dict,
    "log": list,
}


class Checkpoint(NamedTuple):
    """A checkpoint as it was read: its place in the run, and what else was saved with it."""

    snapshot: Snapshot
    facts: dict[str, Any]


class DamagedError(Exception):
    """A checkpoint that is provably incomplete or not what was saved; one that cannot be read is an InputError."""


class _Summed(ocp.StandardCheckpointHandler):
    """Orbax's arrays, and beside them the sums of their files: written before the checkpoint is made final.

    Orbax itself notices damage late or never, and a failed read of its leaves coroutines behind whose complaints
    reach stderr at any later time. So the files are looked at before Orbax is.
    """

    NAME = "SHA256SUMS"  # in the format of the program sha256sum, which can check it
    LATER = (NAME, "commit_success.txt")  # what Orbax adds when it makes the folder final

    def finalize(self, directory) -> None:
        super().finalize(directory)
        sums = self._sums(Path(directory))
        lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        (Path(directory) / self.NAME).write_text(lines, encoding="utf-8")

    @classmethod
    def check(cls, directory: Path) -> None:
        """Raises a DamagedError where a file is missing, added or changed."""
        try:
            lines = _content(directory / cls.NAME).decode().split("\n")
        except UnicodeDecodeError:
            raise DamagedError(f"{cls.NAME} is not the file that was saved") from None
        written = {name: digest for digest, _, name in (line.partition("  ") for line in lines if line)}
        with _readable(directory):
            found = cls._sums(directory)
        if written != found:
            changed = min(name for name in written.keys() | found.keys() if written.get(name) != found.get(name))
            raise DamagedError(f"{changed or cls.NAME} is not the file that was saved")

    @classmethod
    def _sums(cls, directory: Path) -> dict[str, str]:
        files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name not in cls.LATER)
        return {str(path.relative_to(directory)): _digest(path) for path in files}


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

    Open it over checkpoints that `verified` has looked at. The best one is that with the highest `watched` metric,
    the earliest of equals.

    Raises:
      WriteError: the folder cannot be made or read (later: the methods say when).
    """

    def __init__(self, folder: Path, watched: str):
        rank = functools.partial(_rank, watched)
        best = BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy([LatestN(1), _Scheduled(KEPT), best]),
            best_fn=rank,
            cleanup_tmp_directories=True,
        )
        self._folder = folder
        handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
        handlers.add("arrays", ocp.args.StandardSave, _Summed())
        with self._failing_as_write_error(), processes.waiting("at the opening of the checkpoints"):
            # Orbax writes from a background thread, where a relative path would mean another place.
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options, handler_registry=handlers)

    def save(self, snapshot: Snapshot, steps_per_epoch: int, facts: dict[str, Any], scheduled: bool = True) -> None:
        """Writes the snapshot in the background; where it is there already, only what was evaluated since then.

        Args:
          snapshot: a place in a run, of arrays whose memory nobody else is given: they are not copied again.
          steps_per_epoch: of the run.
          facts: what `META` lists beside progress, steps_per_epoch and scheduled.
          scheduled: whether a run that goes on for longer, and is not stopped, saves here as well.

        Raises:
          WriteError: this or the previous checkpoint could not be written.
        """
        progress = snapshot.progress
        step = _step(progress, steps_per_epoch)
        place = {"progress": dataclasses.asdict(progress), "steps_per_epoch": steps_per_epoch}
        meta = {"format": FORMAT, **place, "scheduled": scheduled, **facts}
        with self._failing_as_write_error():
            newest = processes.from_first(f"before the save of step {step}", self._manager.latest_step)
            if step == newest:
                self._complete(step, meta)
                return
            meta = ocp.args.JsonSave(_sealed(meta))
            items = ocp.args.Composite(arrays=ocp.args.StandardSave(_arrays(snapshot)), meta=meta)
            with processes.waiting(f"at the save of step {step}"):
                if not self._manager.save(step, args=items, metrics=_metrics(progress, scheduled)):
                    raise RuntimeError(f"Orbax declines to save step {step} after {newest}")

    def _complete(self, step: int, meta: dict[str, Any]) -> None:
        """Gives the newest checkpoint the evaluation that was made due by the run's end there; its arrays stay."""
        with processes.waiting(f"at the save of step {step}"):
            self._manager.wait_until_finished()
        if processes.is_first():
            saved = read_meta(self._folder, step)
            if saved["progress"]["final"] != meta["progress"]["final"]:
                sealed = _sealed(meta | {"scheduled": saved["scheduled"]})  # by which Orbax ranks it
                files.write(self._folder / str(step) / "meta" / "metadata", json.dumps(sealed).encode())
        processes.exchange(f"at the save of step {step}")

    def check(self) -> None:
        """Raises a WriteError where a save has failed in the background; waits for none."""
        if not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Returns when all saves are on disk.

        Raises:
          WriteError: one could not be written.
        """
        with self._failing_as_write_error(), processes.waiting("for the last save"):
            self._manager.wait_until_finished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *exception) -> None:
        # Where an error is on its way already, that of the last save must not hide it.
        with contextlib.suppress(WriteError) if kind else contextlib.nullcontext(), self._closing():
            self._manager.close()

    @contextlib.contextmanager
    def _closing(self):
        with self._failing_as_write_error(), processes.waiting("for the last save"):
            yield

    @contextlib.contextmanager
    def _failing_as_write_error(self):
        """A failed write, in whatever dress the libraries below report it, as a WriteError."""
        try:
            yield
        except (processes.DivergedError, InputError):
            raise
        except Exception as error:
            raise WriteError(f"a checkpoint in {self._folder}", _reason(error)) from error


def steps(folder: Path) -> list[int]:
    """The steps of which there is a checkpoint, whole or not, ascending.

    Raises:
      InputError: the folder cannot be read.
    """
    with _readable(folder):
        if not folder.exists():
            return []
        names = [path.name for path in folder.iterdir()]
    return sorted({int(name) for name in names if name.isascii() and name.isdigit() and str(int(name)) == name})


def verified(folder: Path) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
    """Verifies all checkpoints: what the good ones say of themselves, by step, and for the others the reason.

    Raises:
      InputError: one is of a format that this version does not know, or cannot be read.
    """
    good, bad = {}, {}
    for step in steps(folder):
        try:
            good[step] = verify(folder, step)
        except DamagedError as error:
            bad[step] = str(error)
    return good, bad


def superfluous(good: dict[int, dict[str, Any]], watched: str) -> set[int]:
    """The steps among whole checkpoints that Orbax would have removed, had the run not been stopped before that."""
    scheduled = [step for step in sorted(good) if good[step]["scheduled"]]

    def rank(step: int) -> tuple:
        metrics = _metrics(Progress(**good[step]["progress"]), good[step]["scheduled"])
        return *_rank(watched, metrics), step  # of equals, Orbax keeps the newest

    return good.keys() - {max(good), *scheduled[-KEPT:], max(good, key=rank)}


def remove(folder: Path, step: int) -> None:
    """Removes a damaged or superfluous checkpoint."""
    shutil.rmtree(folder / str(step), ignore_errors=True)
    with contextlib.suppress(OSError):
        (folder / str(step)).unlink(missing_ok=True)


def verify(folder: Path, step: int) -> dict[str, Any]:
    """What the checkpoint of `step` says of itself, after a look at every byte of it.

    Raises:
      DamagedError: it is incomplete or was changed since it was saved.
      InputError: it is of a format that this version does not know, or cannot be read.
    """
    path = folder.absolute() / str(step)
    meta = read_meta(folder, step)
    with _readable(path):
        if not ocp.utils.is_checkpoint_finalized(path):
            raise DamagedError("its saving was cut off")
    _Summed.check(path / "arrays")
    try:
        metrics = json.loads(_content(path / "metrics" / "metrics"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(_reason(error)) from None
    if metrics != _metrics(Progress(**meta["progress"]), meta["scheduled"]):
        raise DamagedError("its metrics are not those that were saved")
    return meta


def load(folder: Path, step: int, meta: dict[str, Any], like: Snapshot) -> Checkpoint:
    """The checkpoint of which `verify` gave `meta`, its arrays put where those of `like` are.

    They may be views of memory that Orbax owns, never to be donated; `Problem.by_row` makes others.

    Raises:
      InputError: it could not be loaded. Its bytes are those that were saved: memory, or open files, are too few.
    """
    path = folder.absolute() / str(step) / "arrays"
    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _arrays(like))
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
            arrays = reader.restore(path, args=ocp.args.StandardRestore(shapes, strict=False))
        params = jax.tree.map(lambda leaf: leaf, like.state.params)
        nnx.replace_by_pure_dict(params, arrays["params"])
    except Exception as error:  # whatever the libraries below say
        raise InputError(
            path, f"arrays that cannot be loaded ({_reason(error)})", "memory and files for them"
        ) from None
    state = like.state._replace(params=params, optimizer=arrays["optimizer"])
    return Checkpoint(Snapshot(state, arrays["totals"], Progress(**meta["progress"])), meta)


def read_meta(folder: Path, step: int) -> dict[str, Any]:
    """What the checkpoint of `step` says of itself, verified; the arrays are not looked at.

    Raises:
      DamagedError, InputError: as for `verify`.
    """
    path = folder / str(step)
    try:
        meta = json.loads(_content(path / "meta" / "metadata"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(_reason(error)) from None
    if not isinstance(meta, dict):
        raise DamagedError("its meta data are no JSON object")
    found = meta.get("format")
    future = type(found) is int and found > FORMAT  # which may be sealed in another way
    if not future and meta != _sealed({key: value for key, value in meta.items() if key != "sha256"}):
        raise DamagedError("its meta data are not those that were saved")
    if type(found) is not int or found != FORMAT:
        raise InputError(path, f"checkpoint format {found!r}", f"format {FORMAT}, the one of this version")
    wrong = [name for name, kind in META.items() if type(meta.get(name)) is not kind]
    if wrong or not Progress.describes(meta["progress"]):
        raise InputError(path, f"meta data with an unknown {(wrong or ['progress'])[0]}", f"those of format {FORMAT}")
    return meta


class Choice(NamedTuple):
    """A whole checkpoint that was chosen among those of a run.

    Attributes:
      step: which one.
      missing: why it is not the one that was asked for; empty where it is.
      notes: a line for each damaged one that was passed over.
    """

    step: int
    missing: str
    notes: list[str]


def choose(folder: Path, which: str, watched: str) -> Choice:
    """The 'best' or the 'latest' whole checkpoint of a run, every byte of it verified.

    Where the newest one is damaged, the one before it is the latest, and says which was the best until then. Where the
    best one is lost, it is the one with the highest `watched` metric among those that are left. A run may go on beside
    us and remove checkpoints while we look; then we look again.

    Raises:
      InputError: there is none.
    """
    while True:
        found = steps(folder)
        choice, everything_was_there = _choice(folder, found, which, watched)
        if choice and everything_was_there:
            return choice
        if steps(folder) == found:
            break
    if choice:
        return choice
    _, bad = verified(folder)
    what = "; ".join(f"{step}: {reason}" for step, reason in bad.items())
    raise InputError(
        folder, f"no whole checkpoint ({what})" if bad else "no checkpoint", "at least one, which train saves"
    )


def _choice(folder: Path, found: list[int], which: str, watched: str) -> tuple[Choice | None, bool]:
    """The choice among the steps `found`, None where all are damaged; and whether none was damaged or gone."""
    notes, good = [], {}
    for step in reversed(found):
        try:
            good[step] = verify(folder, step)
            break
        except DamagedError as error:
            notes.append(f"passed over the damaged checkpoint {step} ({error})")
    if not good:
        return None, not notes
    newest = max(good)
    wanted = newest if which == "latest" else best_step(good[newest])
    try:
        if wanted != newest:
            verify(folder, wanted)
        return Choice(wanted, "", notes), not notes
    except DamagedError as error:
        missing = f"the best checkpoint, {wanted}, is lost ({error})"
    for step in (step for step in found if step < newest and step != wanted):
        with contextlib.suppress(DamagedError):
            good[step] = verify(folder, step)
    left = max(good, key=lambda step: (_evaluated(good[step], watched), -step))
    if _evaluated(good[left], watched) == -math.inf:
        left, what = newest, f"of those that are left none was evaluated, {newest} is the newest"
    else:
        what = f"{left} is the best of those that are left"
    return Choice(left, f"{missing}; {what}", notes), False


def _evaluated(meta: dict[str, Any], watched: str) -> float:
    """The watched metric of the very place of a checkpoint, -inf where it was not evaluated."""
    progress = Progress(**meta["progress"])
    latest = progress.latest
    if progress.step or not latest or latest["epoch"] != progress.epoch:
        return -math.inf
    return latest.get(watched, -math.inf)


def best_step(meta: dict[str, Any]) -> int:
    """The step of the best checkpoint so far, as the checkpoint with this `meta` knows it; its own without one."""
    progress, steps_per_epoch = Progress(**meta["progress"]), meta["steps_per_epoch"]
    if progress.chosen:
        return progress.chosen["epoch"] * steps_per_epoch
    return _step(progress, steps_per_epoch)


def _step(progress: Progress, steps_per_epoch: int) -> int:
    return progress.epoch * steps_per_epoch + progress.step


def _arrays(snapshot: Snapshot) -> dict[str, Any]:
    params = nnx.to_pure_dict(snapshot.state.params)
    return {"params": params, "optimizer": snapshot.state.optimizer, "totals": snapshot.totals}


def _rank(watched: str, metrics: dict[str, float]) -> tuple[float, float]:
    """By which the best checkpoint is kept: the highest watched metric, the earliest of equals."""
    return metrics.get(watched, -math.inf), -metrics["epoch"]


def _metrics(progress: Progress, scheduled: bool) -> dict[str, float]:
    """What Orbax ranks by: epoch, whether it was scheduled, and the metrics where this very place was evaluated.

    An evaluation that only the end made due is none of them: were the run to go on, it would never have been.
    """
    evaluated = progress.step == 0 and progress.last is not None and progress.last["epoch"] == progress.epoch
    metrics = {name: value for name, value in progress.last.items() if "@" in name} if evaluated else {}
    return {"epoch": progress.epoch, "scheduled": int(scheduled), **metrics}


@contextlib.contextmanager
def _readable(path: Path):
    """What the operating system does not let us read is the user's to mend, and no damage."""
    try:
        yield
    except OSError as error:
        raise InputError(path, f"what cannot be read ({error.strerror or error})", "readable files") from None


def _content(path: Path) -> bytes:
    """The bytes of a file of a checkpoint; a DamagedError where there is no such file."""
    with _readable(path):
        try:
            if stat.S_ISREG(path.stat().st_mode):
                return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            pass
    raise DamagedError(f"{path.name} is missing")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sealed(meta: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(meta, sort_keys=True)
    return meta | {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def _reason(error: Exception) -> str:
    """One line: what the operating system said, where it can be found in the error, else how the error begins."""
    if code := re.search(r"os_error_code='(\d+)'", str(error)):
        return os.strerror(int(code[1]))
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
