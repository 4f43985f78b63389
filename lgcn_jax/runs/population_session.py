"""A population in its folder from settings and data to the result, for the command line and for Python alike."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.runs import population_checkpoint, raw_ids, resume, usage, workdir
from lgcn_jax.runs.checkpoint import Checkpoints
from lgcn_jax.runs.display import Display
from lgcn_jax.runs.population_folder import PopulationFolder, StoredPopulation, stored_population
from lgcn_jax.runs.population_reporter import PopulationReporter
from lgcn_jax.runs.resume import ResumePoint
from lgcn_jax.system import limits
from lgcn_jax.system.signals import StopRequest
from lgcn_jax.training import population_estimate
from lgcn_jax.training.loop import Callback
from lgcn_jax.training.members import FLAG, Members
from lgcn_jax.training.population import (
    PopulationResult,
    ReadyPopulation,
    build_population,
    compile_population,
    train_population,
)
from lgcn_jax.training.population_results import member_results
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.population_state import RUNNING, PopulationSnapshot

OPEN_FILES = 2  # of each member: metrics.jsonl, and TensorBoard's events

OwnSettings = list[dict[str, Any]]


class PreparedPopulation(NamedTuple):
    """A population that is ready to be compiled, and where it goes on."""

    population: PopulationSetup
    interactions: Interactions
    point: ResumePoint


class TrainedPopulation(NamedTuple):
    """A population that has ended: how, where, what each member has told, and what result.json says of each."""

    result: PopulationResult
    rows: list[list[dict[str, Any]]]
    results: list[dict[str, Any]]


class PopulationRecorder(PopulationReporter):
    """Writes what a population tells into its folder, too."""

    def __init__(
        self,
        folder: PopulationFolder,
        checkpoints: Checkpoints,
        population: PopulationSetup,
        shown: Display,
        request: StopRequest,
        callbacks: tuple[Callback, ...],
        rows: list[list[dict[str, Any]]],
    ):
        super().__init__(shown, request, callbacks, rows)
        self._folder, self._checkpoints, self._population = folder, checkpoints, population

    def log(self, member_index: int, row: dict[str, Any]) -> None:
        self._checkpoints.check()  # a save that failed in the background is told now, not at the next one
        self._folder.log(member_index, row)
        super().log(member_index, row)

    def save(self, snapshot: PopulationSnapshot, is_scheduled: bool) -> None:
        population_checkpoint.save(self._checkpoints, self._folder, self._population, snapshot, self.rows, is_scheduled)


def resolve_members(
    folder: Path,
    stored: StoredPopulation | None,
    own: OwnSettings,
    stated: dict[str, Any],
    make: Callable[[dict[str, Any]], Config],
) -> Members:
    """The members of the population in a folder, or of a new one.

    Args:
      stored: what the folder holds.
      own: the members' own settings.
      stated: settings that hold for all members, but where a member says otherwise.
      make: settings that are stated -> all settings, of a new population.

    Raises:
      InputError: the folder holds other members, or is to go on with other settings.
    """
    if stored is None:
        return Members.of(lambda each: make(stated | each), own)
    if not _are_same_members(stored.members, own, stated):
        raise InputError(f"--workdir={folder}", f"other members than those of {FLAG}", "the same, or --overwrite")
    shared = {name: value for name, value in stated.items() if name not in stored.members[0]}
    config = resume.resolve_config(folder, stored.config, shared)
    return Members.of(lambda each: config.replace(**each), stored.members)


def _are_same_members(members: OwnSettings, own: OwnSettings, stated: dict[str, Any]) -> bool:
    """Whether members that are stored are those that state settings of their own, beside those stated for all."""
    if len(members) != len(own) or set(members[0]) != {name for each in own for name in each}:
        return False
    whole = [member | stated | each for member, each in zip(members, own, strict=True)]
    return all(each[name] == member[name] for each, member in zip(whole, members, strict=True) for name in member)


def prepare(
    folder: Path,
    resolve_members: Callable[[StoredPopulation | None], Members],
    load: Callable[[Config], Interactions],
    request: StopRequest,
    overwrite: bool = False,
) -> PreparedPopulation:
    """What a population in `folder` is, and where it goes on. A signal is looked for after every stage.

    Args:
      folder: of the population, which is locked.
      resolve_members: the members, from what is stored in the folder (None: there is nothing).
      load: the data set that the settings name.
      request: the signals.
      overwrite: whether what is in the folder is cleared.

    Raises:
      InputError: the folder, settings, data or device do not go together; nothing is changed then.
    """
    workdir.check_is_run_folder(folder)
    stored = None if overwrite else stored_population(folder)
    members = resolve_members(stored)
    request.check()
    interactions = load(members.base)
    if stored is not None:
        interactions = raw_ids.with_kept_titles(interactions, folder / workdir.MEMBERS / "000")
    request.check()
    width = stored.width if stored else None
    population_estimate.require_memory(members, interactions, width)
    _require_open_files(len(members))
    population = build_population(members, interactions, width)
    request.check()
    if overwrite:
        workdir.clear_run(folder)
    point = population_checkpoint.restore(folder, population, interactions)
    request.check()
    return PreparedPopulation(population, interactions, point)


def _require_open_files(members: int) -> None:
    """Raises an InputError where the system does not let a process have as many files open as members' folders need."""
    wanted = OPEN_FILES * members + 256
    if (most := limits.allow_open_files(wanted)) < wanted:
        found = f"{members} members, whose folders keep {OPEN_FILES * members} files open"
        raise InputError(FLAG, found, f"at most {(most - 256) // OPEN_FILES} (`ulimit -n` says {most})")


def train(
    folder: Path,
    prepared: PreparedPopulation,
    request: StopRequest,
    quiet: bool = False,
    callbacks: tuple[Callback, ...] = (),
) -> TrainedPopulation:
    """Trains a prepared population to its end, and fills its folder.

    Raises:
      WriteError: a file could not be written; the last checkpoint is untouched.
    """
    population, interactions, point = prepared
    ready = compile_population(population, point.start)  # type: ignore[arg-type]
    request.begin_training()
    with Display(population.members.base, quiet) as shown:
        return _train(folder, population, interactions, ready, point, shown, request, callbacks)


def _train(
    folder: Path,
    population: PopulationSetup,
    interactions: Interactions,
    ready: ReadyPopulation,
    point: ResumePoint,
    shown: Display,
    request: StopRequest,
    callbacks: tuple[Callback, ...],
) -> TrainedPopulation:
    started, begins = time.perf_counter(), point.start is None
    with PopulationFolder(folder, population, interactions, point.rows) as written:  # type: ignore[arg-type]
        with Checkpoints(folder / "checkpoints", None) as checkpoints:
            how = shown, request, callbacks, list(map(list, point.rows))
            recorder = PopulationRecorder(written, checkpoints, population, *how)  # type: ignore[arg-type]
            result = train_population(population, ready, recorder)
        results = member_results(population, result, recorder.rows, interactions)
        used = usage.measure_usage(request.begun, started, begins)
        if all(member.status != RUNNING for member in result.snapshot.members):
            for number in range(len(results)):
                written.save_member(result.snapshot, number)
        alone = used | {"wall_seconds": None, "startup_seconds": None}  # nobody can say what a member's are
        results = [each | {"usage": alone} for each in results]
        written.finish(summarize_population(population, result, results) | {"usage": used}, results)
    return TrainedPopulation(result, recorder.rows, results)


def summarize_population(
    population: PopulationSetup, result: PopulationResult, results: list[dict[str, Any]]
) -> dict[str, Any]:
    """What result.json says of a population."""
    names = "status", "error", "epochs", "best", "last", "test", "parameters_sha256"
    members = [
        {"settings": own} | {name: each[name] for name in names if name in each}
        for own, each in zip(population.members.settings, results, strict=True)
    ]
    seconds = sum(member.progress.seconds for member in result.snapshot.members)
    return {
        "status": result.status,
        "epochs": result.snapshot.epoch,
        "step": result.snapshot.step,
        "seconds": round(seconds, 3),
        "compile_seconds": round(result.compile_seconds, 3),
        "members": members,
        "config": population.members.base.to_json(),
    }
