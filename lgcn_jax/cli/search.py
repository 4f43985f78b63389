"""`search`: hyper-parameters by trials, chosen on the validation part."""

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

from absl import flags

from lgcn_jax.cli import tables
from lgcn_jax.cli.command import COMPILATION_CACHE, DATA, PLUGIN, Command, run_setting_names, say, with_absolute_paths
from lgcn_jax.cli.flags import stated_settings
from lgcn_jax.config import PARTS, Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.devices import mesh
from lgcn_jax.errors import InputError
from lgcn_jax.searching.results import PICTURES, SearchResult, require_kind
from lgcn_jax.system.signals import StopRequest

VALIDATION_FRACTION = 0.1  # held out where a data set has no validation part, and nothing is stated


def search(values: flags.FlagValues, request: StopRequest) -> int:
    """Searches, prints the best trials, the importance of settings and how to train the best one, and writes files."""
    request.line = "interrupted before the first trial began"
    mesh.require_devices()
    outs = _output_files(values)
    plan, interactions = _search_plan(values)
    request.check()
    say("\n".join([interactions.headline(), *interactions.remarks, interactions.noticed("valid")]))
    from lgcn_jax.searching import search as searching

    quiet = values["quiet"].value
    found = searching.run_search(plan, interactions, request, (lambda line: None) if quiet else say)
    _print_result(found)
    for out in outs if found.status != "interrupted" else ():
        if found.best is not None or out.suffix != ".flags":
            found.save(out)
            say(f"wrote {out}")
    if found.status == "interrupted":
        return request.status
    return 0 if found.best is not None else 1


def _search_plan(values: flags.FlagValues) -> tuple[Any, Interactions]:
    """The search that the flags ask for, and its data."""
    from lgcn_jax.searching import search as searching
    from lgcn_jax.searching import space, storages

    for name, expected in (("space", "a JSON file of a space"), ("study", "a file that keeps the trials")):
        if not values[name].value:
            raise InputError(f"--{name}", "nothing", expected)
    storages.import_optuna()
    study = storages.check_study_path(values["study"].value)
    stated = with_absolute_paths(stated_settings(values, run_setting_names()))
    file = values["space"].value
    space.read_space(file, {"eval_split": "valid"} | stated, file)  # a mistake is told before data are read
    interactions = _load_interactions(stated)
    drawn = space.read_space(file, searching.fixed_settings(interactions, _model_settings(stated)), file)
    _require_effect(stated, interactions, drawn)
    plan = searching.SearchPlan(
        space=drawn,
        study=study,
        trials=values["trials"].value,
        timeout=_timeout_seconds(values["timeout"].value),
        batch=values["batch"].value,
        prune=values["prune"].value,
        workdir=Path(values["workdir"].value).expanduser() if values["workdir"].value else None,
    )
    return plan, interactions


def _load_interactions(stated: dict[str, Any]) -> Interactions:
    """The data set, of which a validation part is held out where it has none and nothing is stated."""
    data = {"data_dir": DataSettings.data_dir} | {name: value for name, value in stated.items() if name in DATA}
    settings, progress = DataSettings(**data), sys.stderr.isatty()
    if not settings.dataset:
        raise InputError("--dataset", "nothing", "the data set of the search")
    found = datasets.load(settings, progress=progress)
    if found.valid.nnz or "validation_fraction" in data:
        return found
    return datasets.load(dataclasses.replace(settings, validation_fraction=VALIDATION_FRACTION), progress=progress)


def _model_settings(stated: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in stated.items() if name not in DATA}


def _require_effect(stated: dict[str, Any], interactions: Interactions, drawn: Any) -> None:
    """Raises an InputError where a flag changes no trial."""
    of_data = datasets.ignored_settings(interactions.source or DataSettings())
    ignored = [Config.of(**settings).ignored_settings() for settings in drawn.examples()]
    for name in stated:
        if name in of_data or all(name in each for each in ignored):
            raise InputError(f"--{name}", "a setting without effect here", (of_data | ignored[0])[name])


def _timeout_seconds(stated: str) -> float | None:
    if not stated:
        return None
    try:
        seconds = float(stated)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError("--timeout", repr(stated), "seconds, a number above 0")
    return seconds


def _output_files(values: flags.FlagValues) -> list[Path]:
    """What is to be written, if it can be."""
    outs = [each for each in values["out"].value.split(",") if each]
    files = [require_kind(each, f"--out={each}", (".json", ".flags")) for each in outs]
    if figure := values["figure"].value:
        files.append(require_kind(figure, f"--figure={figure}", PICTURES))
    return files


def _print_result(found: SearchResult) -> None:
    """The table of the best trials, importance, the test part, and the command that trains the best one."""
    over = f"{len(found.trials)} of {found.wanted} trials are over: {found.count('completed')} completed"
    ends = ("pruned", "diverged", "refused")
    say(", ".join([over, *(f"{found.count(end)} {end}" for end in ends if found.count(end))]))
    if found.best is None:
        say("no trial was completed, so there is no best one")
    else:
        say(f"\nthe best on {found.dataset}, validation part")
        say(tables.format_groups(found.columns()))
    if found.importance:
        columns = {"setting": list(found.importance), "importance": list(found.importance.values())}
        say(f"\n{tables.format_groups(columns)}")
    if found.test is not None:
        means = {name: value for name, value in found.test.items() if "@" in name}
        title = f"trial {found.test['trial']}, test part"
        say(f"\n{tables.format_metrics(title, means)}")
    if found.best is not None:
        say(f"\ntrain the best one anew: {found.command()}")
        if found.best.folder:
            say(f"its model: {found.best.folder}")
    goes_on = {
        "interrupted": "interrupted; the same command goes on",
        "out of time": "out of time; the same command goes on",
        "shared": "other workers have the rest in hand; the last one scores the test part",
    }
    if found.status in goes_on:
        say(goes_on[found.status])


COMMAND = Command(
    search,
    "looks for hyper-parameters, chosen on the validation part",
    run_setting_names,
    {
        "space": ("", "a JSON file: {setting: list of values, or {low, high, log, step}}"),
        "study": ("", "the file that keeps the trials, .log or .journal, .db or .sqlite; workers may share it"),
        "trials": (50, "how many trials there are to be in all (default: 50)"),
        "timeout": ("", "seconds after which no further trial is begun (default: none)"),
        "batch": (1, "trials that are asked for at once, and trained as one population where they can be (default: 1)"),
        "prune": (True, "end trials early that are below the median of the others (default: true)"),
        "workdir": ("", "a folder for the run folders of all trials (default: the best model alone is kept)"),
        "out": ("", "files to write, separated by commas: .flags to train the best trial anew, .json of all trials"),
        "figure": ("", "a picture of importance and trials: .svg, .png or .pdf"),
        "quiet": (False, "show no line for each trial, only the result"),
        **PLUGIN,
        **COMPILATION_CACHE,
    },
    PARTS,
    {
        "eval_split": "the part on which trials are judged: valid, and no other",
        "validation_fraction": "share of the train part that is held out for validation, where a data set has no such "
        f"part (default: {VALIDATION_FRACTION})",
    },
)
