"""Which checkpoint of a run is its best or its latest, where some are damaged or gone."""

import contextlib
import math
from pathlib import Path
from typing import Any, NamedTuple

from lgcn_jax.errors import InputError
from lgcn_jax.runs.integrity import DamagedError, checkpoint_steps, step_of, verify, verify_all
from lgcn_jax.training.state import Progress

CHOICES = ("best", "latest")


class CheckpointSelection(NamedTuple):
    """A whole checkpoint that was chosen among those of a run.

    Attributes:
      step: which one.
      missing: why it is not the one that was asked for; empty where it is.
      notes: a line for each damaged one that was passed over.
    """

    step: int
    missing: str
    notes: list[str]


def select_checkpoint(folder: Path, which: str, watched: str) -> CheckpointSelection:
    """The 'best' or the 'latest' whole checkpoint of a run, every byte of it verified.

    Where the newest one is damaged, the one before it is the latest, and says which was the best until then. Where the
    best one is lost, it is the one with the highest `watched` metric among those that are left. A run may go on beside
    us and remove checkpoints while we look; then we look again.

    Raises:
      InputError: there is none.
    """
    while True:
        found = checkpoint_steps(folder)
        choice, everything_was_there = _choose_checkpoint(folder, found, which, watched)
        if choice and everything_was_there:
            return choice
        if checkpoint_steps(folder) == found:
            break
    if choice:
        return choice
    _, bad = verify_all(folder)
    what = "; ".join(f"{step}: {reason}" for step, reason in bad.items())
    raise InputError(
        folder, f"no whole checkpoint ({what})" if bad else "no checkpoint", "at least one, which train saves"
    )


def _choose_checkpoint(
    folder: Path, found: list[int], which: str, watched: str
) -> tuple[CheckpointSelection | None, bool]:
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
        return CheckpointSelection(wanted, "", notes), not notes
    except DamagedError as error:
        missing = f"the best checkpoint, {wanted}, is lost ({error})"
    for step in (step for step in found if step < newest and step != wanted):
        with contextlib.suppress(DamagedError):
            good[step] = verify(folder, step)
    left = max(good, key=lambda step: (_metric_in_metadata(good[step], watched), -step))
    if _metric_in_metadata(good[left], watched) == -math.inf:
        left, what = newest, f"of those that are left none was evaluated, {newest} is the newest"
    else:
        what = f"{left} is the best of those that are left"
    return CheckpointSelection(left, f"{missing}; {what}", notes), False


def _metric_in_metadata(meta: dict[str, Any], watched: str) -> float:
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
    return step_of(progress, steps_per_epoch)
