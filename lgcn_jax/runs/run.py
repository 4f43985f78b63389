"""A run in its folder: its settings and place are found, what it tells is recorded, its end is written down."""

import contextlib
import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lgcn_jax.config import Config, text
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices import processes
from lgcn_jax.devices.processes import is_first
from lgcn_jax.devices.profile import Profile
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import ranking
from lgcn_jax.runs import checkpoint, lock, workdir
from lgcn_jax.runs.checkpoint import Checkpoints, DamagedError
from lgcn_jax.runs.display import Display
from lgcn_jax.system.signals import StopRequest
from lgcn_jax.training import loop
from lgcn_jax.training.loop import NonFiniteError
from lgcn_jax.training.programs import make_evaluate
from lgcn_jax.training.setup import Problem, pose
from lgcn_jax.training.state import Progress, Snapshot

# What may be stated anew when a run is continued: where things lie (data are compared by content), how often they are
# saved, how long it goes on, and how the same product is computed.
FREE = (
    *("dataset", "format", "data_dir", "epochs", "save_every", "early_stopping_patience"),
    *("propagation", "node_order", "mesh"),
)

# What decides the random numbers that a key stands for.
GENERATOR = ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_random_seed_offset", "jax_enable_x64")

# What has to be the same in all processes of a run, beside its settings and those of JAX: see `workdir.environment`.
DECISIVE = ("device.kind", "flax", "lgcn_jax", "node_order", "numpy", "optax", "propagation", "scipy")
SEEN_SECONDS = 10.0  # after which a network's folder shows in all processes what the first one wrote


class Place(NamedTuple):
    """Where a run goes on: from `start` (None: from its beginning), with the lines `rows` logged so far.

    `notes` are worth telling the user, a line each.
    """

    start: Snapshot | None
    rows: list[dict[str, Any]]
    notes: list[str]


def continued(folder: Path, stored: Config, stated: dict[str, Any]) -> Config:
    """The `stored` settings of the run in `folder`, with those of the stated ones that may change.

    Raises:
      InputError: a stated setting would change the run's mathematics; all such settings are listed.
    """
    kept = {name: getattr(stored, name) for name in stated}
    changed = [name for name in stated if name not in FREE and stated[name] != kept[name]]
    if changed:
        found = ", ".join(f"--{name}={text(stated[name])}" for name in changed)
        expected = ", ".join(f"--{name}={text(kept[name])}" for name in changed)
        raise InputError(f"--workdir={folder}", f"{found} for a run with {expected}", "the same, or --overwrite")
    return dataclasses.replace(stored, **{name: stated[name] for name in stated if name in FREE})


def stored_settings(folder: Path) -> Config | None:
    """The settings of the run in `folder`; None where there is no run.

    A checkpoint's are sealed, so they come before config.json's, of which only the free ones are taken then.
    """
    try:
        written = Config.from_json(folder / "config.json")
    except InputError:
        written = None
        if not checkpoint.steps(folder / "checkpoints") and (folder / "config.json").exists():
            raise
    for number in reversed(checkpoint.steps(folder / "checkpoints")):
        try:
            sealed = _settings(folder / "checkpoints", number)
        except DamagedError:
            continue
        return dataclasses.replace(sealed, **{name: getattr(written, name) for name in FREE}) if written else sealed
    return written


def _settings(checkpoints: Path, number: int) -> Config:
    meta = checkpoint.read_meta(checkpoints, number)
    try:
        return Config.of_json(meta["config"])
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise InputError(checkpoints / str(number), f"settings of no run ({error})", "those that train saves") from None


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds the work folder for the processes of a run; the first one locks it, and the others must see that lock.

    Raises:
      InputError: another run holds the folder, or this process sees another folder than the first one does.
    """
    with lock.hold(folder) if is_first() else contextlib.nullcontext():
        owner = processes.from_first("at the lock of the work folder", lambda: lock.content(folder))
        end = time.monotonic() + SEEN_SECONDS
        while lock.content(folder) != owner:
            if time.monotonic() > end:
                found = "another folder than the first process of this run sees"
                raise InputError(f"--workdir={folder}", found, "a folder that all processes see")
            time.sleep(0.1)
        yield


def require_agreement(config: Config, interactions: Interactions, problem: Problem) -> None:
    """Raises an InputError where the processes of a run would compute different numbers from the same data: other
    versions, settings of JAX, layouts, or another order of rows."""
    now = _flat(workdir.environment(config, interactions))
    values = {name: now[name] for name in now if name in DECISIVE or name.startswith("jax")}
    values |= {"cpu": now["cpu"]} if now["device.platform"] == "cpu" else {}  # elsewhere it computes nothing
    rows = hashlib.sha256(problem.order.row.tobytes()).hexdigest()
    values |= {"order of rows": rows}
    values |= {name: os.environ.get(name, "") for name in ("XLA_FLAGS", "NVIDIA_TF32_OVERRIDE")}
    processes.require_same("before the first step", {_flag_of(name): value for name, value in values.items()})


def _flag_of(name: str) -> str:
    """How a user knows what is called `name` in environment.json."""
    return f"--{name}" if name in ("propagation", "node_order") else name


class Survey(NamedTuple):
    """What the first process finds among the checkpoints of a run, and decides for all.

    Attributes:
      newest: the step of the newest whole one; None where there is none.
      seal: the checksum of what it says of itself.
      whole: the steps of all whole ones.
      bad: [step, reason] for each damaged one.
      superfluous: the steps of whole ones that are no longer needed.
    """

    newest: int | None
    seal: str
    whole: list[int]
    bad: list[list[Any]]
    superfluous: list[int]


def _survey(checkpoints: Path, interactions: Interactions, watched: str) -> Survey:
    require_content(checkpoints, interactions)
    good, bad = checkpoint.verified(checkpoints)
    if not (good or bad) and workdir.content_sha256(checkpoints.parent) not in (None, interactions.content_hash()):
        expected = "those that the run was begun on, or --overwrite"
        raise InputError(f"--workdir={checkpoints.parent}", "other data than the run's", expected)
    reasons = [[step, reason] for step, reason in bad.items()]
    if not good:
        return Survey(None, "", [], reasons, [])
    newest = max(good)
    return Survey(newest, good[newest]["sha256"], sorted(good), reasons, sorted(checkpoint.superfluous(good, watched)))


def find_place(folder: Path, problem: Problem, interactions: Interactions) -> Place:
    """Where the run in `folder` goes on: at its newest checkpoint that is whole. Damaged ones are removed.

    Raises:
      InputError: the run was made on other data or with other random numbers, has gone beyond `epochs`, has no whole
        checkpoint left, or one that cannot be read; nothing is removed then.
    """
    checkpoints = folder / "checkpoints"
    watched = problem.config.watched
    found = Survey(*processes.from_first("at the checkpoints", lambda: _survey(checkpoints, interactions, watched)))
    if found.newest is None:
        place = _beginning(folder, found.bad)
    else:
        place = _continuation(folder, problem, interactions, found)
    processes.exchange("before checkpoints are removed")  # all have read what they need
    if is_first():
        for number in [*(step for step, _ in found.bad), *found.superfluous]:
            checkpoint.remove(checkpoints, number)
    processes.exchange("after checkpoints were removed")  # nobody saves before they are gone
    return place


def _continuation(folder: Path, problem: Problem, interactions: Interactions, found: Survey) -> Place:
    """The place at the newest whole checkpoint, loaded."""
    config, checkpoints = problem.config, folder / "checkpoints"
    meta = _seen_alike(checkpoints, found)
    whole = Progress(**meta["progress"])
    progress = loop.resumed(config, whole)
    begun = progress.epoch + (progress.step > 0)
    if begun > config.epochs:
        raise InputError("--epochs", config.epochs, f"at least {begun}, which are begun")
    now = workdir.environment(config, interactions)
    require_generator(checkpoints / str(found.newest), meta["environment"], now)
    notes = [f"removed the damaged checkpoint {number} ({reason})" for number, reason in found.bad]
    notes += _notes(progress, problem.steps_per_epoch, found.whole, changes(meta["environment"], now))
    notes += [] if loop.over(config, progress) else [_continues(progress, problem.steps_per_epoch)]
    with processes.waiting("at the reading of the checkpoint"):
        state, totals, _ = checkpoint.load(checkpoints, found.newest, meta, problem.like()).snapshot
        start = Snapshot(problem.by_row(state), totals, progress)
    rows = [row for row in meta["log"] if row != whole.final or progress.final]
    return Place(start, rows, notes)


def _seen_alike(checkpoints: Path, found: Survey) -> dict[str, Any]:
    """What the newest checkpoint says of itself, which has to be what the first process read there."""
    try:
        meta = checkpoint.read_meta(checkpoints, found.newest)
    except DamagedError as error:
        raise InputError(checkpoints / str(found.newest), error, "the checkpoint that the first process sees") from None
    if meta["sha256"] != found.seal:
        expected = "the one that the first process sees"
        raise InputError(checkpoints / str(found.newest), "another checkpoint than the first process sees", expected)
    return meta


def _notes(progress: Progress, steps_per_epoch: int, good: Collection[int], changed: list[str]) -> list[str]:
    """What a user should know of a run that goes on from `progress` with the checkpoints `good`."""
    notes, best = [], progress.chosen
    if best and best["epoch"] * steps_per_epoch not in good:
        notes.append(f"the checkpoint of the best epoch, {best['epoch']}, is gone: the best left stands for it")
    if changed:
        notes.append(f"from here on, bits may differ from those of a run on one machine: {', '.join(changed)}")
    return notes


def _continues(progress: Progress, steps_per_epoch: int) -> str:
    within = f", step {progress.step} of {steps_per_epoch}" if progress.step else ""
    return f"continues after epoch {progress.epoch}{within}"


def _beginning(folder: Path, bad: list[list[Any]]) -> Place:
    """The place of a run that has no checkpoint yet; an InputError where it had some, all of them `bad`."""
    if bad:
        reasons = "; ".join(f"{number}: {reason}" for number, reason in bad)
        raise InputError(
            folder / "checkpoints", f"no whole checkpoint ({reasons})", "one, or --overwrite to begin anew"
        )
    begun = (folder / "config.json").exists()
    return Place(None, [], ["begins again: it was stopped before its first checkpoint"] if begun else [])


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two environments, as 'name before -> now'."""
    before, now = _flat(before), _flat(now)
    names = sorted((before.keys() | now.keys()) - {"dataset.name"})  # the same data may lie elsewhere now
    return [f"{name} {before.get(name)} -> {now.get(name)}" for name in names if before.get(name) != now.get(name)]


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """{'a': 1, 'b': {'c': 2}} -> {'a': 1, 'b.c': 2}."""
    flat = {}
    for name, value in values.items():
        flat |= {f"{name}.{inner}": part for inner, part in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def require_generator(where: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises an InputError where JAX would draw other random numbers than it did before."""
    before, now = _flat(before), _flat(now)
    for name in GENERATOR:
        if before.get(name) != now.get(name):
            raise InputError(where, f"{name} {now.get(name)}", f"{before.get(name)}, as the run was begun with")


def require_content(checkpoints: Path, interactions: Interactions) -> None:
    """Raises an InputError where a checkpoint was made on other data."""
    content = interactions.content_hash()
    for number in checkpoint.steps(checkpoints):
        try:
            trained_on = checkpoint.read_meta(checkpoints, number)["content_sha256"]
        except DamagedError:
            continue
        if trained_on != content:
            raise InputError(checkpoints, f"data of content {content}", f"{trained_on}, as trained on")


class Recorder(loop.Listener):
    """Writes what a run tells into its folder, shows it, and ends it when a signal asks for it."""

    def __init__(
        self,
        folder: workdir.RunFolder,
        checkpoints: Checkpoints,
        shown: Display,
        profile: Profile,
        request: StopRequest,
        problem: Problem,
    ):
        self._folder, self._checkpoints, self._request = folder, checkpoints, request
        self._shown, self._profile, self._problem = shown, profile, problem

    def log(self, row: dict[str, Any]) -> None:
        self._checkpoints.check()  # a save that failed in the background is told now, not at the next one
        self._folder.log(row)
        self._shown.log(row)

    def steps(self, planned: int) -> int:
        count = self._profile.before(planned)
        self._shown.begin(count)
        return count

    def progress(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self._profile.after()
        self._shown.progress(epoch, step, steps, loss)

    def save(self, snapshot: Snapshot, scheduled: bool) -> None:
        facts = {
            "config": self._folder.config.to_json(),
            "content_sha256": self._folder.environment["dataset"]["content_sha256"],
            "environment": self._folder.environment,
            "log": list(self._folder.rows),
        }
        # Copies, since the next step is given the memory of the originals.
        with processes.waiting("at the copy of a checkpoint"):
            copies = Snapshot(*self._problem.by_node((snapshot.state, snapshot.totals)), snapshot.progress)
        self._checkpoints.save(copies, self._problem.steps_per_epoch, facts, scheduled)

    def stopped(self) -> bool:
        told = processes.largest("at a signal", self._request.signal)  # one process's signal ends all
        self._request.signal = self._request.signal or told  # which may have come while we waited
        return told != 0


def carry_out(
    folder: Path,
    problem: Problem,
    interactions: Interactions,
    ready: loop.Ready,
    rows: list[dict[str, Any]],
    shown: Display,
    profile: Profile,
    request: StopRequest,
) -> dict[str, Any]:
    """Trains from where the run stands to the end, an interruption or a failure, and writes the run folder.

    Args:
      rows: the lines logged so far.

    Returns:
      What result.json holds; its 'status' is 'completed', 'interrupted' or 'failed'.

    Raises:
      WriteError: a file could not be written; the last checkpoint is untouched.
    """
    config = problem.config
    environment = workdir.environment(config, interactions)
    kind = workdir.RunFolder if is_first() else workdir.Onlooker
    with kind(folder, config, environment, rows) as run_folder:
        try:
            with Checkpoints(folder / "checkpoints", config.watched) as checkpoints:
                recorder = Recorder(run_folder, checkpoints, shown, profile, request, problem)
                result = loop.train(problem, ready, recorder).to_json()
        except NonFiniteError as error:
            result = failure(run_folder.rows, config, error)
        if result["status"] == "completed" and config.eval_split == "valid" and interactions.test.nnz:
            result |= _test_part(config, interactions, folder)
        elif result["status"] == "completed" and is_first():
            result |= _lost_best(folder / "checkpoints", result["best"]["epoch"] * problem.steps_per_epoch, config)
        run_folder.finish(result)
    return result


def failure(rows: list[dict[str, Any]], config: Config, error: NonFiniteError) -> dict[str, Any]:
    """What result.json says of a run whose numbers went bad."""
    evaluated = [row for row in rows if row["split"] != "train"]
    return {
        "status": "failed",
        "error": str(error),
        "epochs": sum(row["split"] == "train" for row in rows),
        "best": max(evaluated, key=lambda row: row[config.watched], default=None),
        "last": evaluated[-1] if evaluated else None,
    }


def _lost_best(checkpoints: Path, best: int, config: Config) -> dict[str, Any]:
    """What result.json says where the best checkpoint, of step `best`, is gone."""
    if best in checkpoint.steps(checkpoints):
        return {}
    return {"missing": checkpoint.choose(checkpoints, "best", config.watched).missing}


def _test_part(config: Config, interactions: Interactions, folder: Path) -> dict[str, Any]:
    """What result.json says of the test part, scored from the best checkpoint; or from the best that is left, and then
    `missing` says so."""
    try:
        scores, choice = score(config, interactions, folder, "best", "test")
    except InputError as error:
        return {"missing": f"the test part was not scored: {error}"}
    return {"test": scores} | ({"missing": choice.missing} if choice.missing else {})


def score(
    config: Config, interactions: Interactions, folder: Path, which: str, split: str
) -> tuple[dict[str, Any], checkpoint.Choice]:
    """The metrics of a run's 'best' or 'latest' checkpoint on a part of its data set, with epoch and split; and which
    checkpoint that is, with what was lost where it is not the very one that was asked for."""
    checkpoints = folder / "checkpoints"
    problem = pose(dataclasses.replace(config, eval_split=split), interactions, trains=False)
    choice, found = _loaded(checkpoints, which, stored_settings(folder).watched, problem, interactions)
    epoch = found.snapshot.progress.epoch
    with processes.waiting("at the scoring of a checkpoint"):
        params = problem.by_row(found.snapshot.state.params)
        del found  # the optimizer's state
        sums = jax.jit(make_evaluate(problem, problem.graphdef()))(params, problem.adjacency, problem.task)
        scores = ranking.mean(sums, problem.task, config.top_k)
    return {"epoch": epoch, "split": split} | scores, choice


def _loaded(
    checkpoints: Path, which: str, watched: str, problem: Problem, interactions: Interactions
) -> tuple[checkpoint.Choice, checkpoint.Checkpoint]:
    """The checkpoint that the first process chooses, loaded; chosen anew where a run beside us has removed it since."""

    def choose() -> checkpoint.Choice:
        require_content(checkpoints, interactions)
        return checkpoint.choose(checkpoints, which, watched)

    while True:
        choice = checkpoint.Choice(*processes.from_first("at the choice of a checkpoint", choose))
        meta, trouble = _by_all("after a checkpoint's meta data", checkpoint.read_meta, checkpoints, choice.step)
        if not trouble:
            load = checkpoint.load, checkpoints, choice.step, meta, problem.like()
            loaded, trouble = _by_all("after a checkpoint's arrays", *load)
        if not trouble:
            return choice, loaded
        there = processes.from_first("after what cannot be loaded", lambda: checkpoint.steps(checkpoints))
        if choice.step in there:
            raise InputError(checkpoints, f"what cannot be loaded ({trouble})", "a whole checkpoint")


def _by_all(place: str, read: Callable, *arguments) -> tuple[Any, str]:
    """What this process reads; and '', or why one of the processes could not read it."""
    try:
        with processes.waiting(place):
            found, trouble = read(*arguments), ""
    except (DamagedError, InputError) as error:
        found, trouble = None, str(error)
    return found, next(filter(None, processes.exchange(place, trouble)), "")
