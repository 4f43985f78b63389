"""Which runs can be compared: finished ones, on the same data, whose epochs were chosen in the same way."""

import json
import os
from pathlib import Path
from typing import Any

from lgcn_jax.config import RELOCATABLE, Config
from lgcn_jax.errors import InputError
from lgcn_jax.runs import workdir
from lgcn_jax.runs.inference import AS_TRAINED
from lgcn_jax.runs.resume import stored_settings
from lgcn_jax.serving import storage
from lgcn_jax.settings import format_value

PROTOCOL = ("eval_split", "eval_every", "top_k", "early_stopping_patience", "epochs")  # how the epoch is chosen


def folder_of(run: str | Path) -> Path:
    """The folder, whichever way it is named."""
    if not isinstance(run, str | os.PathLike):
        raise InputError("runs", f"a {type(run).__name__}", "folders of runs")
    return Path(run).expanduser().resolve()


def finished_run_config(folder: Path) -> Config:
    """The settings of a run that has come to its end."""
    if storage.is_model(folder):
        raise InputError(folder, "a saved model, which has no epochs", "a run that was trained")
    config = stored_settings(folder)
    if config is None:
        raise InputError(folder, "no run", "a folder that train has filled")
    try:
        status = json.loads((folder / "result.json").read_text(encoding="utf-8"))["status"]
    except (OSError, ValueError, KeyError, TypeError):
        status = "unfinished"
    if status != "completed":
        raise InputError(folder, f"a run that is {status}", "one that is completed: train goes on with it")
    return config


def require_comparable(configs: dict[Path, Config]) -> None:
    """Raises an InputError where runs have other data, or chose their epochs in another way, than the first."""
    (first, config), *others = configs.items()
    content, protocol = workdir.content_sha256(first), config.to_dict()
    for folder, other in others:
        if workdir.content_sha256(folder) != content:
            raise InputError(folder, "a run on other data", f"those of {first}")
        for name in PROTOCOL:
            if (found := other.to_dict().get(name)) != protocol[name]:
                raise InputError(
                    folder, f"--{name}={format_value(found)}", f"{format_value(protocol[name])}, as {first} has"
                )


def group_runs(configs: dict[Path, Config], by: str | None) -> dict[str, dict[int, Path]]:
    """Label -> seed -> folder, in the order of the runs."""
    if by is None:
        names = [folder.name for folder in configs]
        labels = names if len(set(names)) == len(names) else [str(folder) for folder in configs]
        return {label: {0: folder} for label, folder in zip(labels, configs, strict=True)}
    kept = [_without_seed(config) for config in configs.values()]
    differing = sorted({name for each in kept for name in each if any(other.get(name) != each[name] for other in kept)})
    found: dict[str, dict[int, Path]] = {}
    for (folder, config), settings in zip(configs.items(), kept, strict=True):
        shown = [f"{name}={format_value(settings[name])}" for name in differing if name in settings]
        group = found.setdefault(" ".join(shown) or "all", {})
        if (seed := config.training.seed) in group:
            raise InputError(folder, f"seed {seed} as {group[seed]}", "runs that differ in a setting or in the seed")
        group[seed] = folder
    _require_same_seeds(found)
    return found


def _without_seed(config: Config) -> dict[str, Any]:
    """The settings that change a run's numbers, but for its seed; what its table is ranked by is one of them."""
    ignored = {*RELOCATABLE, "seed", "save_every"} - AS_TRAINED.keys()
    return {name: value for name, value in config.to_dict().items() if name not in ignored}


def _require_same_seeds(groups: dict[str, dict[int, Path]]) -> None:
    (first, seeds), *others = groups.items()
    if not others:
        raise InputError("by", f"runs of one group ({first})", "at least two that differ in more than the seed")
    for label, found in others:
        if found.keys() != seeds.keys():
            listed = ", ".join(map(str, sorted(found)))
            raise InputError(label, f"seeds {listed}", f"{', '.join(map(str, sorted(seeds)))}, as {first} has")
