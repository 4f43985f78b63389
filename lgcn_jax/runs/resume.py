"""Where a run goes on: its stored settings, and its newest whole checkpoint."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import READING
from lgcn_jax.devices import processes
from lgcn_jax.devices.processes import is_primary
from lgcn_jax.errors import InputError
from lgcn_jax.runs import checkpoint, integrity, workdir
from lgcn_jax.runs.integrity import DamagedError
from lgcn_jax.runs.workdir import flatten
from lgcn_jax.settings import format_value
from lgcn_jax.system import paths
from lgcn_jax.training import loop
from lgcn_jax.training.setup import Setup
from lgcn_jax.training.state import Progress, Snapshot

# What may be stated anew when a run is continued: where things lie (data are compared by content), how often they are
# saved, how long it goes on, and how the same product is computed.
CHANGEABLE = (
    *READING,
    *("epochs", "save_every", "early_stopping_patience"),
    *("propagation", "node_order", "mesh"),
)

# What decides the random numbers that a key stands for.
GENERATOR = ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_random_seed_offset", "jax_enable_x64")


class ResumePoint(NamedTuple):
    """Where a run goes on: from `start` (None: from its beginning), with the lines `rows` logged so far.

    `notes` are worth telling the user, a line each; `warm_start` is what the run's records say of the run that it
    began with, None where it began with none.
    """

    start: Snapshot | None
    rows: list[dict[str, Any]]
    notes: list[str]
    warm_start: dict[str, str] | None = None


def resolve_config(folder: Path, stored: Config, stated: dict[str, Any]) -> Config:
    """The `stored` settings of the run in `folder`, with those of the stated ones that may change.

    Raises:
      InputError: a stated setting would change the run's mathematics; all such settings are listed.
    """
    kept = stored.to_dict()
    changed = [name for name in stated if name not in CHANGEABLE and name in kept and stated[name] != kept[name]]
    if changed:
        found = ", ".join(f"--{name}={format_value(stated[name])}" for name in changed)
        expected = ", ".join(f"--{name}={format_value(kept[name])}" for name in changed)
        raise InputError(f"--workdir={folder}", f"{found} for a run with {expected}", "the same, or --overwrite")
    return stored.replace(**stated)  # which refuses settings that the parts of the run do not have


def stored_settings(folder: Path) -> Config | None:
    """The settings of the run in `folder`; None where there is no run.

    A checkpoint's are sealed, so they come before config.json's, of which only the free ones are taken then.

    Raises:
      InputError: what is there is a population, or cannot be read.
    """
    if workdir.is_population(folder):
        member = folder / workdir.MEMBERS / "000"
        raise InputError(folder, "a population", f"one of its members, such as {member} (train takes --population)")
    try:
        written = Config.from_json(folder / "config.json")
    except InputError:
        written = None
        if not integrity.checkpoint_steps(folder / "checkpoints") and (folder / "config.json").exists():
            raise
    for number in reversed(integrity.checkpoint_steps(folder / "checkpoints")):
        try:
            with_checksum = _stored_config(folder / "checkpoints", number)
        except DamagedError:
            continue
        free = {name: value for name, value in written.to_dict().items() if name in CHANGEABLE} if written else {}
        return _without_lost_tables(with_checksum.replace(**free))
    return None if written is None else _without_lost_tables(written)


def _without_lost_tables(config: Config) -> Config:
    """Without tables of titles that are gone: the run has kept the titles beside its raw ids."""
    for kind in ("user", "item"):
        table = getattr(config.data, f"{kind}_table")
        if table and not paths.exists(Path(table), f"--{kind}_table={table}"):
            config = config.replace(**{f"{kind}_table": "", f"{kind}_title_col": ""})
    return config


def _stored_config(checkpoints: Path, number: int) -> Config:
    meta = checkpoint.read_metadata(checkpoints, number)
    try:
        return Config.of_json(meta["config"])
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise InputError(checkpoints / str(number), f"settings of no run ({error})", "those that train saves") from None


class CheckpointInventory(NamedTuple):
    """What the first process finds among the checkpoints of a run, and decides for all.

    Attributes:
      newest: the step of the newest whole one; None where there is none.
      seal: the checksum of what it says of itself.
      whole: the steps of all whole ones.
      bad: [step, reason] for each damaged one.
      steps_to_prune: the steps of whole ones that are no longer needed.
    """

    newest: int | None
    seal: str
    whole: list[int]
    bad: list[list[Any]]
    steps_to_prune: list[int]


def _survey_checkpoints(checkpoints: Path, interactions: Interactions, watched: str | None) -> CheckpointInventory:
    require_same_dataset(checkpoints, interactions)
    good, bad = integrity.verify_all(checkpoints)
    if not (good or bad) and workdir.content_sha256(checkpoints.parent) not in (None, interactions.content_hash()):
        expected = "those that the run was begun on, or --overwrite"
        raise InputError(f"--workdir={checkpoints.parent}", "other data than the run's", expected)
    reasons = [[step, reason] for step, reason in bad.items()]
    if not good:
        return CheckpointInventory(None, "", [], reasons, [])
    newest = max(good)
    return CheckpointInventory(
        newest, good[newest]["sha256"], sorted(good), reasons, sorted(checkpoint.steps_to_prune(good, watched))
    )


def restore_or_init(folder: Path, setup: Setup, interactions: Interactions) -> ResumePoint:
    """Where the run in `folder` goes on: at its newest checkpoint that is whole. Damaged ones are removed.

    Raises:
      InputError: the run was made on other data or with other random numbers, has gone beyond `epochs`, has no whole
        checkpoint left, or one that cannot be read; nothing is removed then.
    """
    watched = setup.config.evaluation.watched_metric
    return restore_by(
        lambda found: _load_resume_point(folder, setup, interactions, found), folder, interactions, watched
    )


def restore_by(
    continuation: Callable[[CheckpointInventory], ResumePoint],
    folder: Path,
    interactions: Interactions,
    watched: str | None,
) -> ResumePoint:
    """As `restore_or_init`, with the `continuation` that is made of what is found where a whole checkpoint is."""
    checkpoints = folder / "checkpoints"
    found = CheckpointInventory(
        *processes.broadcast_from_first(
            "at the checkpoints", lambda: _survey_checkpoints(checkpoints, interactions, watched)
        )
    )
    point = _fresh_start(folder, found.bad) if found.newest is None else continuation(found)
    processes.all_gather("before checkpoints are removed")  # all have read what they need
    if is_primary():
        for number in [*(step for step, _ in found.bad), *found.steps_to_prune]:
            checkpoint.remove(checkpoints, number)
    processes.all_gather("after checkpoints were removed")  # nobody saves before they are gone
    return point


def _load_resume_point(
    folder: Path, setup: Setup, interactions: Interactions, found: CheckpointInventory
) -> ResumePoint:
    """The place at the newest whole checkpoint, loaded."""
    config, checkpoints = setup.config, folder / "checkpoints"
    meta, changed = require_continuable(checkpoints, config, interactions, found)
    whole = Progress(**meta["progress"])
    progress = loop.progress_for_resume(config, whole)
    warm_start = meta["environment"].get("warm_start")
    notes = removal_notes(found) + _resume_notes(progress, setup.steps_per_epoch, found.whole, changed)
    notes += [] if loop.is_finished(config, progress) else [describe_continuation(progress, setup.steps_per_epoch)]
    with processes.time_limit("at the reading of the checkpoint"):
        state, totals, _ = checkpoint.load(checkpoints, found.newest, meta, setup.abstract_state()).snapshot
        start = Snapshot(setup.to_row_order(state), totals, progress)
    rows = [row for row in meta["log"] if row != whole.final or progress.final]
    return ResumePoint(start, rows, notes, warm_start)


def require_continuable(
    checkpoints: Path, config: Config, interactions: Interactions, found: CheckpointInventory
) -> tuple[dict[str, Any], list[str]]:
    """What the newest checkpoint says of itself, and what has changed since it was saved.

    Raises:
      InputError: it lies beyond the last epoch, is of other random numbers, or not what the first process sees.
    """
    meta = _read_agreed_metadata(checkpoints, found)
    begun = meta["progress"]["epoch"] + (meta["progress"]["step"] > 0)
    if begun > config.training.epochs:
        raise InputError("--epochs", config.training.epochs, f"at least {begun}, which are begun")
    now = workdir.describe_environment(config, interactions, meta["environment"].get("warm_start"))
    require_same_prng(checkpoints / str(found.newest), meta["environment"], now)
    return meta, describe_changes(meta["environment"], now)


def _read_agreed_metadata(checkpoints: Path, found: CheckpointInventory) -> dict[str, Any]:
    """What the newest checkpoint says of itself, which has to be what the first process read there."""
    try:
        meta = checkpoint.read_metadata(checkpoints, found.newest)
    except DamagedError as error:
        raise InputError(checkpoints / str(found.newest), error, "the checkpoint that the first process sees") from None
    if meta["sha256"] != found.seal:
        expected = "the one that the first process sees"
        raise InputError(checkpoints / str(found.newest), "another checkpoint than the first process sees", expected)
    return meta


def removal_notes(found: CheckpointInventory) -> list[str]:
    """What a user should know of damaged checkpoints."""
    return [f"removed the damaged checkpoint {number} ({reason})" for number, reason in found.bad]


def _resume_notes(progress: Progress, steps_per_epoch: int, good: Collection[int], changed: list[str]) -> list[str]:
    """What a user should know of a run that goes on from `progress` with the checkpoints `good`."""
    notes, best = [], progress.chosen
    if best and best["epoch"] * steps_per_epoch not in good:
        notes.append(f"the checkpoint of the best epoch, {best['epoch']}, is gone: the best left stands for it")
    return notes + change_notes(changed)


def change_notes(changed: list[str]) -> list[str]:
    """What a user should know of what has changed since a checkpoint was saved."""
    return [f"from here on, bits may differ from those of a run on one machine: {', '.join(changed)}"][: len(changed)]


def describe_continuation(progress: Progress, steps_per_epoch: int) -> str:
    within = f", step {progress.step} of {steps_per_epoch}" if progress.step else ""
    return f"continues after epoch {progress.epoch}{within}"


def _fresh_start(folder: Path, bad: list[list[Any]]) -> ResumePoint:
    """The place of a run that has no checkpoint yet; an InputError where it had some, all of them `bad`."""
    if bad:
        reasons = "; ".join(f"{number}: {reason}" for number, reason in bad)
        raise InputError(
            folder / "checkpoints", f"no whole checkpoint ({reasons})", "one, or --overwrite to begin anew"
        )
    begun = (folder / "config.json").exists() or workdir.is_population(folder)
    return ResumePoint(None, [], ["begins again: it was stopped before its first checkpoint"] if begun else [])


def describe_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two environments, as 'name before -> now'."""
    before, now = flatten(before), flatten(now)
    unlike = {"dataset.name", "dataset.evaluation_sha256"}  # the same data may lie elsewhere now; older runs lack it
    names = sorted((before.keys() | now.keys()) - unlike)
    return [f"{name} {before.get(name)} -> {now.get(name)}" for name in names if before.get(name) != now.get(name)]


def require_same_prng(where: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises an InputError where JAX would draw other random numbers than it did before."""
    before, now = flatten(before), flatten(now)
    for name in GENERATOR:
        if before.get(name) != now.get(name):
            raise InputError(where, f"{name} {now.get(name)}", f"{before.get(name)}, as the run was begun with")


def require_same_dataset(checkpoints: Path, interactions: Interactions) -> None:
    """Raises an InputError where a checkpoint was made on other data."""
    content = interactions.content_hash()
    for number in integrity.checkpoint_steps(checkpoints):
        try:
            trained_on = checkpoint.read_metadata(checkpoints, number)["content_sha256"]
        except DamagedError:
            continue
        if trained_on != content:
            raise InputError(checkpoints, f"data of content {content}", f"{trained_on}, as trained on")
