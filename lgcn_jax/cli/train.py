"""`train`: trains in a run folder, or continues what it holds."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from absl import flags

from lgcn_jax.baselines import BASELINES
from lgcn_jax.cli import mixture, population, solve
from lgcn_jax.cli.command import (
    COMPILATION_CACHE,
    PLUGIN,
    Command,
    config_from_flags,
    run_setting_names,
    say,
    warn,
    with_absolute_paths,
    workdir_of,
)
from lgcn_jax.cli.flags import stated_settings
from lgcn_jax.config import PARTS, Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices import mesh, processes
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.models import ENCODERS
from lgcn_jax.system.signals import StopRequest

PROCESSES = {
    "coordinator": ("", "HOST:PORT of the first of several processes, or auto in a cluster that JAX knows"),
    "num_processes": ("", "how many processes the run has"),
    "process_id": ("", "which of them this is, from 0"),
    "process_timeout": ("", "seconds for a meeting of the processes, a block, an evaluation or a save (default: 600)"),
}


def train(values: flags.FlagValues, request: StopRequest) -> int:
    """Trains or continues a run, fills its folder, and prints the metrics beside the popularity baseline's."""
    request.line = "interrupted before training began"
    folder = workdir_of(values)
    _require_model(values["model"].value)
    if values["model"].value in BASELINES:
        mixture.require_no_mixture_flags(values, values["model"].value)
        return solve.solve(values, folder, request.begun)
    if values["model"].value == mixture.NAME:
        return mixture.fit_mixture(values, folder, request.begun)
    mixture.require_no_mixture_flags(values, values["model"].value or PARTS["model"].default)
    solve.require_no_baseline_flags(values, run_setting_names(), values["model"].value or PARTS["model"].default)
    if values[population.NAME].present:
        population.require_no_population_flags(values)
    _join_processes(values, request)
    with processes.fail_together(request):
        with processes.time_limit("at the look for devices"):
            mesh.require_devices()
        return _select_action(values)(values, folder, request)


def _select_action(values: flags.FlagValues) -> Callable[[flags.FlagValues, Path, StopRequest], int]:
    """What is to be done of a run, or of a population."""
    if values[population.NAME].present:
        return population.dry_run if values["dry_run"].value else population.train
    return _dry_run if values["dry_run"].value else _train


def _require_model(model: str | None) -> None:
    """Raises an InputError where a model is stated that is neither trained nor solved nor mixed."""
    known = (*ENCODERS, *BASELINES, mixture.NAME)
    if model and model not in known:
        raise InputError("--model", repr(model), f"one of {', '.join(known)} (--plugin=MODULE registers more)")


def _train(values: flags.FlagValues, folder: Path, request: StopRequest) -> int:
    from lgcn_jax.runs import agreement, session

    first = processes.is_primary()
    quiet = values["quiet"].value or not first
    profiled = folder / "profile" if values["profile"].value else None
    with agreement.lock_across_processes(folder), _explain_how_to_continue(folder):
        prepared = _prepare_run(values, folder, quiet, request)
        warn(f"{folder}: {note}" for note in prepared.point.notes if first)
        config, interactions = prepared.config, prepared.interactions
        if not quiet:
            say(_opening_line(interactions, config))
        result, traced = session.train(folder, prepared, request, quiet, profiled)
    if traced and first:
        say(traced)
    return (
        _report_result(result, folder, config, interactions, request.signal)
        if first
        else _exit_status(result, request.signal)
    )


def _dry_run(values: flags.FlagValues, folder: Path, request: StopRequest) -> int:
    """Tells what a run would do, and changes nothing on disk."""
    from lgcn_jax.runs import display, resume, session, workdir
    from lgcn_jax.training import estimate
    from lgcn_jax.training.setup import build_setup

    workdir.check_is_run_folder(folder)
    stored = None if values["overwrite"].value else resume.stored_settings(folder)
    config = _resolve_config(values, folder, stored)
    interactions = datasets.load(config.data, progress=sys.stderr.isatty())
    request.check()
    say(_opening_line(interactions, config))
    terms, limit = estimate.run_memory_bytes(config, interactions), estimate.available_bytes()
    say(display.format_facts({f"memory, {name}": f"{size / 1e6:,.0f} MB" for name, size in terms.items()}))
    say(f"memory in all about {sum(terms.values()) / 1e9:.2f} GB of {limit / 1e9:.1f} GB on a device")
    estimate.require_memory(config, interactions)
    setup = build_setup(config, interactions)
    if stored is None and (begun := session.find_warm_start_point(setup, interactions)):
        say(begun.note)
    request.check()
    seconds, epochs = estimate.measure_epoch_seconds(setup), config.training.epochs
    whole = f"{epochs:,} epochs {seconds * epochs / 3600:.2f} h without evaluations"
    say(f"an epoch of {setup.steps_per_epoch:,} steps takes about {seconds:.2f} s, {whole}; nothing was begun")
    return 0


def _prepare_run(values: flags.FlagValues, folder: Path, quiet: bool, request: StopRequest):
    """The run that these flags ask for, as `session.prepare` gives it."""
    from lgcn_jax.runs import session

    def resolve_config(stored: Config | None) -> Config:
        return _resolve_config(values, folder, stored)

    def load(config: Config) -> Interactions:
        return datasets.load(config.data, progress=not quiet and sys.stderr.isatty())

    steering = {"profile": values["profile"].value}
    return session.prepare(folder, resolve_config, load, request, values["overwrite"].value, steering)


def _resolve_config(values: flags.FlagValues, folder: Path, stored: Config | None) -> Config:
    """The settings that are stored in the run's folder, with what the flags may change, or those of the flags."""
    from lgcn_jax.runs import resume

    stated = with_absolute_paths(stated_settings(values, run_setting_names()))
    return resume.resolve_config(folder, stored, stated) if stored else config_from_flags(stated)


def _exit_status(result: dict[str, Any], signal_number: int) -> int:
    """The exit status of a run's result."""
    return {"completed": 0, "failed": 1, "interrupted": 128 + signal_number}[result["status"]]


def _report_result(
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
    return _exit_status(result, signal_number)


def _print_scores(interactions: Interactions, config: Config, result: dict[str, Any]) -> None:
    """The final table: popularity, best and last epoch on the part watched, and the test part where that was valid."""
    from lgcn_jax.runs import inference

    split, best, last = config.evaluation.eval_split, result["best"], result["last"]
    if split == "none":
        return say(f"trained {result['epochs']} epochs without evaluations (--eval_split=none)")
    rows = {f"epoch {best['epoch']} (best)": best, f"epoch {last['epoch']} (last)": last}
    _print_table(interactions, split, config.evaluation.top_k, rows)
    if inference.KEY in result:
        say(inference.describe_choice(result[inference.KEY], config.evaluation.watched_metric))
    if "test" in result:
        label = f"epoch {result['test']['epoch']} ({'best left' if 'missing' in result else 'best on valid'})"
        _print_table(interactions, "test", config.evaluation.top_k, {label: result["test"]})


def _print_table(interactions: Interactions, split: str, ks: tuple[int, ...], rows: dict[str, dict]) -> None:
    """A table of these rows below the popularity baseline's."""
    from lgcn_jax.baselines.popularity import popularity_metrics
    from lgcn_jax.runs import display

    popular = popularity_metrics(interactions, split, ks)
    say(display.format_table({f"{interactions.name}, {split} part": {}, "popularity": popular} | rows))


def _opening_line(interactions: Interactions, config: Config) -> str:
    """What is trained on, and what reading it has met."""
    noticed = interactions.noticed(config.evaluation.eval_split)
    return "\n".join([_data_line(interactions, config), *interactions.remarks, noticed])


def _data_line(interactions: Interactions, config: Config) -> str:
    if config.evaluation.eval_split == "none":
        return f"{interactions.headline()}; the last epoch is the model"
    if config.evaluation.eval_split == "valid":
        return f"{interactions.headline()}; the best epoch is chosen on the validation part"
    chosen = "the best epoch is chosen on the test part, as in the papers (--validation_fraction, --eval_split=valid)"
    return f"{interactions.headline()}; {chosen}"


def _join_processes(values: flags.FlagValues, request: StopRequest) -> None:
    """Makes this process one of several, where flags say so; to be called before anything looks for devices."""
    named = [name for name in PROCESSES if values[name].present]
    if values["coordinator"].value:
        processes.join(*(values[name].value for name in PROCESSES), request.check)
    elif named:
        raise InputError(f"--{named[0]}", values[named[0]].value, "nothing without --coordinator")


@contextlib.contextmanager
def _explain_how_to_continue(folder: Path) -> Iterator[None]:
    """Adds to a WriteError that the run can be continued, where it can."""
    from lgcn_jax.runs import integrity

    try:
        yield
    except WriteError as error:
        if integrity.checkpoint_steps(folder / "checkpoints"):
            error.add_note("the last checkpoint can be continued from")
        raise


COMMAND = Command(
    train,
    "trains a model in a run folder, or continues its run; or solves a baseline or mixes two models into a folder",
    lambda: (*run_setting_names(), *(set(solve.baseline_setting_names()) - set(run_setting_names()))),
    {
        "workdir": ("", "the folder of the run"),
        "overwrite": (False, "begin anew in a folder that holds a run"),
        "quiet": (False, "show no progress, only the final table"),
        "dry_run": (False, "tell data, memory and time of the run, and begin nothing"),
        "profile": (False, "trace a few steps into WORKDIR/profile, for XProf, TensorBoard or Perfetto"),
        **population.FLAGS,
        **mixture.FLAGS,
        **PLUGIN,
        **COMPILATION_CACHE,
        **PROCESSES,
    },
    PARTS | {"baseline": BASELINES},
)
