"""What `train` and `evaluate` do of a baseline: its settings by flags, and its solution in a folder."""

import contextlib
import sys
import time
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from lgcn_jax.baselines import BASELINES
from lgcn_jax.cli.command import DATA, config_from_flags, named_as_flags, say
from lgcn_jax.cli.flags import stated_settings
from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.settings import fields

if TYPE_CHECKING:
    from lgcn_jax.serving.recommender import Recommender
    from lgcn_jax.serving.solved import SolvedModel

EVALUATED = ("top_k", "eval_split")
HOW = ("workdir", "overwrite", "quiet", "plugin", "compilation_cache")  # flags of `train` that a baseline knows


def baseline_setting_names() -> tuple[str, ...]:
    """The names of all settings of baselines."""
    return tuple(dict.fromkeys(name for model in BASELINES for name in fields(BASELINES[model])))


def own_settings(values: flags.FlagValues, model: str) -> dict[str, Any]:
    """The settings of a baseline that are stated.

    Raises:
      InputError: one is stated that it does not have.
    """
    own = stated_settings(values, baseline_setting_names())
    for name in own.keys() - fields(BASELINES[model]).keys():
        expected = f"nothing with --model={model}, which has none ({_models_with_flag(name)})"
        raise InputError(f"--{name}", values[name].value, expected)
    return own


def require_no_baseline_flags(values: flags.FlagValues, of_runs: Container[str], model: str) -> None:
    """Raises an InputError where a setting is stated that baselines have, and no run."""
    for name in baseline_setting_names():
        if name not in of_runs and values[name].present:
            expected = f"nothing with --model={model}, which has none ({_models_with_flag(name)})"
            raise InputError(f"--{name}", values[name].value, expected)


def _models_with_flag(name: str) -> str:
    """Which baselines have a setting."""
    return f"--model={' or '.join(each for each in BASELINES if name in fields(BASELINES[each]))} has"


def _errors_name_flags(model: str) -> contextlib.AbstractContextManager:
    """While entered, an InputError names settings by their flags."""
    named = (*fields(BASELINES[model]), f"model={model}")
    return named_as_flags(**{name: f"--{name}" for name in named})


def load_for_evaluation(values: flags.FlagValues, quiet: bool = False) -> tuple[Interactions, tuple[int, ...], str]:
    """The data set that flags name, the list lengths, and the part that is evaluated."""
    interactions, config = load_data_and_config(values, quiet)
    return interactions, config.evaluation.top_k, config.evaluation.eval_split


def load_data_and_config(values: flags.FlagValues, quiet: bool) -> tuple[Interactions, Config]:
    """The data set that flags name, and settings of which those of the data and of the evaluation count."""
    from lgcn_jax.training.setup import check_config

    config = config_from_flags(stated_settings(values, (*DATA, *EVALUATED)))
    interactions = datasets.load(config.data, progress=not quiet and sys.stderr.isatty())
    check_config(config, interactions)
    return interactions, config


def load_and_describe_data(values: flags.FlagValues) -> tuple[Interactions, Config]:
    """As `load_data_and_config`, and what was read is told, but for --quiet."""
    quiet = values["quiet"].value
    interactions, config = load_data_and_config(values, quiet)
    if not quiet:
        noticed = interactions.noticed(config.evaluation.eval_split)
        say("\n".join([interactions.headline(), *interactions.remarks, noticed]))
    return interactions, config


class Times(NamedTuple):
    """When the command and when the solving began, of `time.perf_counter`, and how long that took."""

    begun: float
    started: float
    fit_seconds: float


def solve(values: flags.FlagValues, folder: Path, begun: float) -> int:
    """Solves the baseline --model, prints its metrics beside popularity's, and saves it in the folder with a record.

    `begun` is when the command began, of `time.perf_counter`.
    """
    from lgcn_jax.serving import solved, storage

    model = values["model"].value
    known = {*DATA, *EVALUATED, *HOW, "model"}
    own = own_settings(values, model)
    for name in values:
        if values[name].present and name not in known | own.keys():
            raise InputError(f"--{name}", values[name].value, f"nothing with --model={model}, which is not trained")
    storage.require_free(folder, values["overwrite"].value)
    with _errors_name_flags(model):
        fitted = solved.make_solved_model(model, **own)
    interactions, config = load_and_describe_data(values)
    started = time.perf_counter()
    with _errors_name_flags(model):
        fitted.fit(interactions)
    fit_seconds = time.perf_counter() - started
    scores = {
        split: _mean_scores(fitted, interactions, split, config) for split in evaluated_parts(interactions, config)
    }
    for split, means in scores.items():
        _print_beside_popularity(model, means, interactions, split, config)
    times = Times(begun, started, fit_seconds)
    save(fitted, folder, {"model": model} | fitted.get_params(), interactions, config, scores, times)
    return 0


def save(
    model: "Recommender",
    folder: Path,
    settings: dict[str, Any],
    interactions: Interactions,
    config: Config,
    scores: dict[str, dict[str, float]],
    times: Times,
) -> None:
    """Saves a fitted model in the folder with a record of its settings, its metrics and what it took."""
    from lgcn_jax.runs import usage
    from lgcn_jax.serving import record

    whole = {name: value for name, value in config.to_json().items() if name in (*DATA, *EVALUATED)} | settings
    used = usage.measure_usage(times.begun, times.started)
    record.save_with_record(
        model, folder, record.solved_run_record(model, interactions, whole, scores, times.fit_seconds, used)
    )
    say(f"wrote {folder}")


def evaluated_parts(interactions: Interactions, config: Config) -> list[str]:
    """The parts that are evaluated: the one asked for, and beside the validation part the test part, as in a run."""
    split = config.evaluation.eval_split
    beside = ["test"] if split == "valid" and interactions.test.nnz else []
    return [] if split == "none" else [split, *beside]


def _mean_scores(fitted: "SolvedModel", interactions: Interactions, split: str, config: Config) -> dict[str, float]:
    """The metrics of a part, and the seconds that they took."""
    started = time.perf_counter()
    means = fitted.evaluate(interactions, split, config.evaluation.top_k)
    return means | {"seconds": round(time.perf_counter() - started, 3)}


def _print_beside_popularity(
    model: str, means: dict[str, float], interactions: Interactions, split: str, config: Config
) -> None:
    from lgcn_jax.baselines.popularity import popularity_metrics
    from lgcn_jax.runs import display

    rows: dict[str, dict[str, float]] = {f"{interactions.name}, {split} part": {}}
    if model != "popularity":
        rows["popularity"] = popularity_metrics(interactions, split, config.evaluation.top_k)
    say(display.format_table(rows | {model: means}))
