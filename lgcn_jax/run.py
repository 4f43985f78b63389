"""A run in its folder: its settings and place are found, what it tells is recorded, its end is written down."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lgcn_jax import checkpoint, evaluation, training, workdir
from lgcn_jax.checkpoint import Checkpoints, DamagedError
from lgcn_jax.config import Config, text
from lgcn_jax.display import Display
from lgcn_jax.errors import InputError
from lgcn_jax.interactions import Interactions
from lgcn_jax.problem import Problem, pose
from lgcn_jax.processes import agreed, is_first
from lgcn_jax.profile import Profile
from lgcn_jax.programs import make_evaluate
from lgcn_jax.signals import StopRequest
from lgcn_jax.state import Snapshot
from lgcn_jax.training import NonFiniteError

# What may be stated anew when a run is continued: where things lie, how often they are saved, how long it goes on, and
# how the same product is computed.
FREE = ("data_dir", "epochs", "save_every", "early_stopping_patience", "propagation", "node_order", "mesh")


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
            sealed = Config.of_json(checkpoint.read_meta(folder / "checkpoints", number)["config"])
        except DamagedError:
            continue
        return dataclasses.replace(sealed, **{name: getattr(written, name) for name in FREE}) if written else sealed
    return written


def find_place(folder: Path, problem: Problem, interactions: Interactions) -> Place:
    """Where the run in `folder` goes on: at its newest checkpoint that is whole. Damaged ones are removed.

    Raises:
      InputError: the run was made on other data, has gone beyond `epochs`, or has no whole checkpoint left.
    """
    config, checkpoints = problem.config, folder / "checkpoints"
    require_content(checkpoints, interactions)
    good, bad = checkpoint.verified(checkpoints, problem.like())
    if not good:
        if bad:
            reasons = "; ".join(f"{number}: {reason}" for number, reason in bad.items())
            raise InputError(checkpoints, f"no whole checkpoint ({reasons})", "one, or --overwrite to begin anew")
        begun = (folder / "config.json").exists()
        return Place(None, [], ["begins again: it was stopped before its first checkpoint"] if begun else [])
    newest = good[max(good)]
    progress = newest.snapshot.progress
    if progress.epoch + (progress.step > 0) > config.epochs:
        raise InputError("--epochs", config.epochs, f"at least {progress.epoch + (progress.step > 0)}, which are begun")
    if is_first():
        for number in bad.keys() | checkpoint.superfluous(good):
            checkpoint.remove(checkpoints, number)
    agreed(0)  # nobody saves before they are gone
    notes = [f"removed the damaged checkpoint {number} ({reason})" for number, reason in bad.items()]
    if checkpoint.best_step(newest.facts) not in good:
        best = progress.best["epoch"]
        notes.append(f"the checkpoint of the best epoch, {best}, is gone: only a new best can be evaluated")
    changed = changes(newest.facts["environment"], workdir.environment(config, interactions))
    if changed:
        notes.append(f"from here on, bits may differ from those of a run on one machine: {', '.join(changed)}")
    within = f", step {progress.step} of {problem.steps_per_epoch}" if progress.step else ""
    notes.append(f"continues after epoch {progress.epoch}{within}")
    start = newest.snapshot._replace(state=problem.by_row(newest.snapshot.state))
    return Place(start, newest.facts["log"], notes)


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two environments, as 'name before -> now'."""
    names = sorted(before.keys() | now.keys())
    return [f"{name} {before.get(name)} -> {now.get(name)}" for name in names if before.get(name) != now.get(name)]


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


class Recorder(training.Listener):
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
        self._folder.log(row)
        self._shown.log(row)

    def steps(self, planned: int) -> int:
        return self._profile.before(planned)

    def progress(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self._profile.after()
        self._shown.progress(epoch, step, steps, loss)

    def save(self, snapshot: Snapshot) -> None:
        facts = {
            "config": self._folder.config.to_json(),
            "content_sha256": self._folder.environment["dataset"]["content_sha256"],
            "environment": self._folder.environment,
            "log": list(self._folder.rows),
        }
        by_node = snapshot._replace(state=self._problem.by_node(snapshot.state))
        self._checkpoints.save(by_node, self._problem.steps_per_epoch, facts)

    def stopped(self) -> bool:
        self._request.signal = int(agreed(self._request.signal))  # one process's signal ends all
        return self._request.signal != 0


def carry_out(
    folder: Path,
    problem: Problem,
    interactions: Interactions,
    place: Place,
    shown: Display,
    profile: Profile,
    request: StopRequest,
) -> dict[str, Any]:
    """Trains from the place to the end, an interruption or a failure, and writes the run folder.

    Returns:
      What result.json holds; its 'status' is 'completed', 'interrupted' or 'failed'.

    Raises:
      WriteError: a file could not be written; the last checkpoint is untouched.
    """
    config = problem.config
    environment = workdir.environment(config, interactions)
    kind = workdir.RunFolder if is_first() else workdir.Onlooker
    with kind(folder, config, environment, place.rows) as run_folder:
        try:
            with Checkpoints(folder / "checkpoints", config.watched) as checkpoints:
                recorder = Recorder(run_folder, checkpoints, shown, profile, request, problem)
                result = training.fit(problem, recorder, place.start).to_json()
        except NonFiniteError as error:
            result = failure(run_folder.rows, config, error)
        if result["status"] == "completed" and config.eval_split == "valid" and interactions.test.nnz:
            result["test"] = score(config, interactions, folder, "best", "test")
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


def score(config: Config, interactions: Interactions, folder: Path, which: str, split: str) -> dict[str, Any]:
    """The metrics of a run's 'best' or 'latest' checkpoint on a part of its data set, with epoch and split."""
    require_content(folder / "checkpoints", interactions)
    problem = pose(dataclasses.replace(config, eval_split=split), interactions)
    found = checkpoint.restore(folder / "checkpoints", which, problem.like()).snapshot
    params = problem.by_row(found.state.params)
    sums = jax.jit(make_evaluate(problem, problem.graphdef()))(params, problem.adjacency, problem.task)
    return {"epoch": found.progress.epoch, "split": split} | evaluation.mean(sums, problem.task, config.top_k)
