"""A run in its folder from settings and data to the result, for the command line and for Python alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices import processes
from lgcn_jax.devices.profile import Profile
from lgcn_jax.errors import InputError
from lgcn_jax.runs import agreement, integrity, raw_ids, resume, warm_start, workdir
from lgcn_jax.runs.display import Display
from lgcn_jax.runs.resume import ResumePoint
from lgcn_jax.runs.run import run_training
from lgcn_jax.system.signals import StopRequest
from lgcn_jax.training import estimate, loop
from lgcn_jax.training.loop import Callback
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.warm_start import WarmStart, WarmStartPoint, make_warm_start_point


class PreparedRun(NamedTuple):
    """A run that is ready to be compiled, and where it goes on."""

    config: Config
    interactions: Interactions
    setup: Setup
    point: ResumePoint


def prepare(
    folder: Path,
    resolve_config: Callable[[Config | None], Config],
    load: Callable[[Config], Interactions],
    request: StopRequest,
    overwrite: bool = False,
    steering: dict[str, Any] | None = None,
    warm: WarmStart | None = None,
) -> PreparedRun:
    """What a run in `folder` is, and where it goes on. A signal is looked for after every stage.

    Args:
      folder: of the run, which is locked.
      resolve_config: the run's settings, from those that are stored in the folder (None: there is no run).
      load: the data set that the settings name.
      request: the signals.
      overwrite: whether a run in the folder is cleared.
      steering: further flags on which the steps of a run depend, the same in all processes.
      warm: what a run begins with, where that is not the run that --warm_start names.

    Raises:
      InputError: the folder, settings, data or processes do not go together; nothing is changed then.
    """
    workdir.check_is_run_folder(folder)
    config = resolve_config(None if overwrite else resume.stored_settings(folder))
    flags_of_run = config.to_json() | {"overwrite": overwrite, **(steering or {})}
    lies = "data_dir", "dataset"  # where data lie may differ; what they hold is compared below
    alike = {f"--{name}": value for name, value in flags_of_run.items() if name not in lies}
    processes.require_same("before data are read", alike)
    request.check()
    interactions = load(config)
    if not overwrite:
        interactions = raw_ids.with_kept_titles(interactions, folder)
    request.check()
    processes.require_same("after data are read", {"--dataset": interactions.content_hash()})
    estimate.require_memory(config, interactions)
    setup = build_setup(config, interactions)
    agreement.require_agreement(config, interactions, setup)
    request.check()
    beginning = _warm_start_point(folder, setup, interactions, overwrite, warm)
    if overwrite and processes.is_primary():
        workdir.clear_run(folder)
    processes.all_gather("before checkpoints are looked at")  # nobody looks into the folder before it is cleared
    point = resume.restore_or_init(folder, setup, interactions)
    request.check()
    return PreparedRun(config, interactions, setup, _with_warm_start(point, beginning, warm))


def find_warm_start_point(
    setup: Setup, interactions: Interactions, warm: WarmStart | None = None
) -> WarmStartPoint | None:
    """Where a run begins that is to have `warm`'s table, or that of the run that --warm_start names; None: neither."""
    named = setup.config.training.warm_start
    source = warm_start.warm_start_from_run(Path(named), setup.config) if named and not warm else warm
    return make_warm_start_point(setup, interactions, source) if source else None


def _warm_start_point(
    folder: Path, setup: Setup, interactions: Interactions, overwrite: bool, warm: WarmStart | None
) -> WarmStartPoint | None:
    """As `find_warm_start_point`, where a run begins in the folder: one that goes on does not need its source."""
    if not (warm or setup.config.training.warm_start):
        return None
    begins = processes.broadcast_from_first(
        "before a warm start", lambda: overwrite or not integrity.checkpoint_steps(folder / "checkpoints")
    )
    return find_warm_start_point(setup, interactions, warm) if begins else None


def _with_warm_start(point: ResumePoint, beginning: WarmStartPoint | None, warm: WarmStart | None) -> ResumePoint:
    """The point where a run goes on, or the beginning in place of the usual one."""
    if beginning:
        notes = [*point.notes, beginning.note]
        return point._replace(start=beginning.start, notes=notes, warm_start=beginning.facts)
    if warm and (point.warm_start or {}).get("parameters_sha256") != warm.facts()["parameters_sha256"]:
        raise InputError("warm_start", f"{warm.source}, another table than the run began with", "the same, or none")
    return point


def train(
    folder: Path,
    prepared: PreparedRun,
    request: StopRequest,
    quiet: bool = False,
    profile: Path | None = None,
    callbacks: tuple[Callback, ...] = (),
    score_test: bool = True,
) -> tuple[dict[str, Any], str]:
    """Trains a prepared run to its end, and fills its folder; `score_test` as for `run_training`.

    Returns:
      What result.json holds, and what a profile tells, '' without one.
    """
    ready = loop.compile_run(prepared.setup, prepared.point.start)
    request.begin_training()
    with Display(prepared.config, quiet) as shown, Profile(profile) as trace:
        rows, data = prepared.point.rows, prepared.interactions
        more = callbacks, prepared.point.warm_start, score_test
        result = run_training(folder, prepared.setup, data, ready, rows, shown, trace, request, *more)
    return result, trace.summary() if profile else ""
