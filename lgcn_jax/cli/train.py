"""`train`: trains in a run folder, or continues what it holds."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from lgcn_jax.baselines import Popularity
from lgcn_jax.cli.command import (
    COMPILATION_CACHE,
    PLUGIN,
    Command,
    absolute,
    config_from_flags,
    say,
    settings_of_runs,
    warn,
    workdir_of,
)
from lgcn_jax.cli.flags import given
from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices import mesh, processes, profile
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.runs import agreement, integrity, resume
from lgcn_jax.system.signals import StopRequest

PROCESSES = {
    "coordinator": ("", "HOST:PORT of the first of several processes, or auto in a cluster that JAX knows"),
    "num_processes": ("", "how many processes the run has"),
    "process_id": ("", "which of them this is, from 0"),
    "process_timeout": ("", "seconds for a meeting of the processes, a block, an evaluation or a save (default: 600)"),
}
STEERING = ("overwrite", "profile")  # flags that are no settings, and on which the steps of a run depend


def train(values: flags.FlagValues, request: StopRequest) -> int:
    """Trains or continues a run, fills its folder, and prints the metrics beside the popularity baseline's."""
    request.line = "interrupted before training began"
    folder = workdir_of(values)
    _join(values, request)
    with processes.fail_together(request):
        with processes.waiting("at the look for devices"):
            mesh.require_devices()
        return _train(values, folder, request)


def _train(values: flags.FlagValues, folder: Path, request: StopRequest) -> int:
    from lgcn_jax.runs import display, run
    from lgcn_jax.training import loop

    first = processes.is_primary()
    quiet = values["quiet"].value or not first
    profiled = folder / "profile" if values["profile"].value else None
    with agreement.lock_across_processes(folder), _continuable(folder):
        config, interactions, setup, point = _prepared(values, folder, quiet, request)
        warn(f"{folder}: {note}" for note in point.notes if first)
        if not quiet:
            say(f"{_headline(interactions, config)}\n{interactions.noticed(config.evaluation.eval_split)}")
        ready = loop.compile_run(setup, point.start)
        request.begin_training()
        with display.Display(config, quiet) as shown, profile.Profile(profiled) as trace:
            result = run.run_training(folder, setup, interactions, ready, point.rows, shown, trace, request)
    if profiled and first:
        say(trace.told())
    return _report(result, folder, config, interactions, request.signal) if first else _status(result, request.signal)


def _prepared(values: flags.FlagValues, folder: Path, quiet: bool, request: StopRequest) -> tuple:
    """What a run of these flags is: its Config, Interactions, Setup, and the ResumePoint where it goes on.

    A signal is looked for after every stage.
    """
    from lgcn_jax.runs import workdir
    from lgcn_jax.training.setup import build_setup

    workdir.check_is_run_folder(folder)
    stated, anew = absolute(given(values, settings_of_runs())), values["overwrite"].value
    stored = None if anew else resume.stored_settings(folder)
    config = resume.resolve_config(folder, stored, stated) if stored else config_from_flags(stated)
    flags_of_run = config.to_json() | {name: values[name].value for name in STEERING}
    lies = "data_dir", "dataset"  # where data lie may differ; what they hold is compared below
    alike = {f"--{name}": value for name, value in flags_of_run.items() if name not in lies}
    processes.require_same("before data are read", alike)
    request.check()
    interactions = datasets.load(config.data, progress=not quiet and sys.stderr.isatty())
    request.check()
    processes.require_same("after data are read", {"--dataset": interactions.content_hash()})
    setup = build_setup(config, interactions)
    agreement.require_agreement(config, interactions, setup)
    request.check()
    if anew and processes.is_primary():
        workdir.clear(folder)
    processes.all_gather("before checkpoints are looked at")  # nobody looks into the folder before it is cleared
    point = resume.restore_or_init(folder, setup, interactions)
    request.check()
    return config, interactions, setup, point


def _status(result: dict[str, Any], signal_number: int) -> int:
    """The exit status of a run's result."""
    return {"completed": 0, "failed": 1, "interrupted": 128 + signal_number}[result["status"]]


def _report(
    result: dict[str, Any], folder: Path, config: Config, interactions: Interactions, signal_number: int
) -> int:
    """Prints a run's result, and returns its exit status."""
    if result["status"] == "failed":
        advice = "try a lower --learning_rate or --clip_norm in a new run"
        warn([f"{result['error']}; {advice}; earlier checkpoints are kept"])
    elif result["status"] == "interrupted":
        say(f"interrupted after epoch {result['epochs']}, step {result['step']}; the same command continues")
    else:
        if "missing" in result:
            warn([f"{folder}: {result['missing']}"])
        _print_scores(interactions, config, result)
        say(f"wrote {folder / 'result.json'} and {folder / 'curves.png'}")
    return _status(result, signal_number)


def _print_scores(interactions: Interactions, config: Config, result: dict[str, Any]) -> None:
    """The final table: popularity, best and last epoch on the part watched, and the test part where that was valid."""
    split, best, last = config.evaluation.eval_split, result["best"], result["last"]
    rows = {f"epoch {best['epoch']} (best)": best, f"epoch {last['epoch']} (last)": last}
    _print_table(interactions, split, config.evaluation.top_k, rows)
    if "test" in result:
        label = f"epoch {result['test']['epoch']} ({'best left' if 'missing' in result else 'best on valid'})"
        _print_table(interactions, "test", config.evaluation.top_k, {label: result["test"]})


def _print_table(interactions: Interactions, split: str, ks: tuple[int, ...], rows: dict[str, dict]) -> None:
    """A table of these rows below the popularity baseline's."""
    from lgcn_jax.evaluation import ranking
    from lgcn_jax.evaluation.task import EvaluationTask
    from lgcn_jax.runs import display

    popular = ranking.evaluate(Popularity().fit(interactions), EvaluationTask.of(interactions, split), ks)
    say(display.format_table({f"{interactions.name}, {split} part": {}, "popularity": popular} | rows))


def _headline(interactions: Interactions, config: Config) -> str:
    if config.evaluation.eval_split == "valid":
        return f"{interactions.headline()}; the best epoch is chosen on the validation part"
    chosen = "the best epoch is chosen on the test part, as in the papers (--validation_fraction, --eval_split=valid)"
    return f"{interactions.headline()}; {chosen}"


def _join(values: flags.FlagValues, request: StopRequest) -> None:
    """Makes this process one of several, where flags say so; to be called before anything looks for devices."""
    named = [name for name in PROCESSES if values[name].present]
    if values["coordinator"].value:
        processes.join(*(values[name].value for name in PROCESSES), request.check)
    elif named:
        raise InputError(f"--{named[0]}", values[named[0]].value, "nothing without --coordinator")


@contextlib.contextmanager
def _continuable(folder: Path) -> Iterator[None]:
    """Adds to a WriteError that the run can be continued, where it can."""

    try:
        yield
    except WriteError as error:
        if integrity.steps(folder / "checkpoints"):
            error.add_note("the last checkpoint can be continued from")
        raise


COMMAND = Command(
    train,
    "trains a model in a run folder, or continues the run that it holds",
    settings_of_runs,
    {
        "workdir": ("", "the folder of the run"),
        "overwrite": (False, "begin anew in a folder that holds a run"),
        "quiet": (False, "show no progress, only the final table"),
        "profile": (False, "trace a few steps into WORKDIR/profile, for XProf, TensorBoard or Perfetto"),
        **PLUGIN,
        **COMPILATION_CACHE,
        **PROCESSES,
    },
)
