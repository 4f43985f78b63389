"""Files of results: what each run of an experiment was, gave and took, kept while the rest is still being made."""

import json
import re
from pathlib import Path
from typing import Any

import filelock
from parts import REFERENCE_EPOCH, Experiment

from lgcn_jax.errors import InputError
from lgcn_jax.system import files

METRICS = ("recall@20", "ndcg@20")
FORMAT = 1


def begun(experiment: Experiment, path: Path, command: str) -> dict[str, Any]:
    """What the file holds of this experiment, or the beginning of it.

    Raises:
      InputError: the file is of another experiment of that name, or no file of results.
    """
    head = {"format": FORMAT, "name": experiment.name, "question": experiment.question, "command": command}
    head |= {"dataset": experiment.dataset, "held_out": experiment.held_out, "data": experiment.data}
    head |= {"left_out": experiment.left_out} if experiment.left_out else {}
    head |= {"conditions": {name: stated(experiment, name) for name in experiment.conditions}}
    if not path.exists():
        return head | {"environments": [], "users": {}, "runs": []}
    found = read(path)
    for key in ("dataset", "held_out", "data", "left_out"):
        if found.get(key) != head.get(key):
            raise InputError(path, f"{key} {found.get(key)!r}", f"{head.get(key)!r}: move the file away to begin anew")
    return found | head


def stated(experiment: Experiment, condition: str) -> dict[str, Any]:
    """The stated settings of a condition as JSON values."""
    settings = experiment.settings(condition)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def read(path: Path) -> dict[str, Any]:
    """A file of results.

    Raises:
      InputError: it cannot be read, or is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"no file of results ({error})", "what run.py wrote") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("runs"), list):
        raise InputError(path, "no file of results", f"what run.py wrote, in format {FORMAT}")
    return found


def missing(found: dict[str, Any], experiment: Experiment, condition: str) -> list[int]:
    """The seeds of which the condition has no run yet with these settings."""
    settings = stated(experiment, condition)
    done = {run["seed"] for run in found["runs"] if run["condition"] == condition and run["settings"] == settings}
    return [seed for seed in experiment.seeds if seed not in done]


def add(experiment: Experiment, path: Path, command: str, environment: dict[str, Any], run: dict[str, Any]) -> None:
    """Adds a run, in place of one of the same condition and seed; several processes may add to one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):
        found = begun(experiment, path, command)
        if environment not in found["environments"]:
            found["environments"].append(environment)
        described = run.get("portrait") or run.get("folded_in") or {}
        found["users"] = described.pop("users", None) or found["users"]
        same = run["condition"], run["seed"]
        kept = [each for each in found["runs"] if (each["condition"], each["seed"]) != same]
        kept.append(run | {"environment": found["environments"].index(environment)})
        order = {name: place for place, name in enumerate(found["conditions"])}
        found["runs"] = sorted(kept, key=lambda each: (order.get(each["condition"], -1), each["seed"]))
        files.write(path, written(found).encode())


def written(found: dict[str, Any]) -> str:
    """The text of a file of results: what belongs together stands on one line."""
    text = json.dumps(found, indent=1, allow_nan=False)
    for innermost in (r"\[[^\[\]{}]*\]", r"\{[^{}\[\]]*(\[[^\[\]]*\][^{}\[\]]*)*\}"):
        text = re.sub(innermost, lambda part: re.sub(r"\n *", " ", part[0]), text)
    return text + "\n"


def curve(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """{'epoch': [..], 'test': {'recall@20': [..], ..}, 'valid': ..} of the lines of a run's evaluations."""
    splits = sorted({row["split"] for row in rows})
    found: dict[str, Any] = {"epoch": [row["epoch"] for row in rows if row["split"] == splits[0]]}
    for split in splits:
        own = [row for row in rows if row["split"] == split]
        found[split] = {metric: [round(row[metric], 6) for row in own] for metric in METRICS}
    return found


def chosen(curve: dict[str, Any]) -> dict[str, Any]:
    """The test metrics of the epochs that each protocol chooses; the first of equals, as `train` does.

    'valid': best recall@20 on the validation part; 'test': best on the test part; 'epoch 480': that of the paper's
    printed results; 'last'. Those that a run does not have are left out.
    """
    places = {"test": _best(curve, "test"), "last": len(curve["epoch"]) - 1}
    if "valid" in curve:
        places["valid"] = _best(curve, "valid")
    if REFERENCE_EPOCH in curve["epoch"]:
        places[f"epoch {REFERENCE_EPOCH}"] = curve["epoch"].index(REFERENCE_EPOCH)
    return {
        name: {"epoch": curve["epoch"][place]} | {metric: curve["test"][metric][place] for metric in METRICS}
        for name, place in places.items()
    }


def _best(curve: dict[str, Any], split: str) -> int:
    values = curve[split]["recall@20"]
    return values.index(max(values))
