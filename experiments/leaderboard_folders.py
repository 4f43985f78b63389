"""Rows of the table of all models, of run folders and of the folders of solved models."""

import re
from pathlib import Path
from typing import Any

from leaderboard_facts import Measured, Row, read_json
from recorded_data import data_of

from lgcn_jax.data.settings import READING
from lgcn_jax.errors import InputError
from lgcn_jax.runs import workdir

RECALL, NDCG = "recall@20", "ndcg@20"
GROUPS = ".cold_start.json"  # after the name of a folder

# What tells two configurations apart is every setting but these: what is of the data is in their hashes.
NO_SETTING = (*READING, "config_format", "model", "loss", "seed", "save_every", "propagation", "node_order", "mesh")


def of_folder(folder: Path, groups: bool = True) -> Row:
    """The row of a run folder, or of the folder of a solved model; with the groups that lie beside it.

    Raises:
      InputError: it has not ended well, or was not evaluated on the test part by recall@20 and ndcg@20.
    """
    result = read_json(folder / "result.json", "a run that has ended, or a model that train has solved")
    if result.get("status") != "completed":
        found = f"a run that is {result.get('status')} after epoch {result.get('epochs')}"
        raise InputError(folder, found, "one that is completed")
    if "missing" in result:
        raise InputError(folder, result["missing"], "a run with its best checkpoint")
    config, environment = result["config"], result["environment"]
    settings = {name: _placeless(value) for name, value in config.items() if name not in NO_SETTING}
    settings |= {"warm_start": True} if settings.pop("warm_start", "") else {}
    data = environment["dataset"]
    return Row(
        name=re.sub(rf"-{config.get('seed')}$", "", folder.resolve().name),
        label="",
        model=config["model"],
        loss=config.get("loss"),
        dataset=data["name"],
        content_sha256=data["content_sha256"],
        evaluation_sha256=_evaluation_sha256(data, config, folder),
        device=_device(environment),
        vector_width=result.get("vector_width"),
        settings=settings,
        note="",
        runs=[_measured(folder, result)],
        cold_start=_cold_start(folder, _tested(folder, result)) if groups else None,
    )


def _placeless(value: Any) -> Any:
    """A setting as it is, but of a folder its name alone."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def cold_start_file(folder: Path) -> Path:
    """Where `cold_start.py` puts what it finds of a folder: beside it."""
    return folder.resolve().with_name(folder.resolve().name + GROUPS)


def _cold_start(folder: Path, tested: dict[str, Any]) -> dict[str, Any] | None:
    path = cold_start_file(folder)
    if not path.exists():
        return None
    found = read_json(path, "what cold_start.py writes")
    if abs(found["metrics"][RECALL] - tested[RECALL]) > 1e-6:
        theirs = f"groups of a model with {RECALL} {found['metrics'][RECALL]:.6f}"
        raise InputError(path, theirs, f"those of {folder}, which has {tested[RECALL]:.6f}: run cold_start.py again")
    return found


def _evaluation_sha256(data: dict[str, Any], config: dict[str, Any], folder: Path) -> str:
    """The hash of what is evaluated. Of an older run without a validation part, it is that of the content; of one with
    such a part the data are read again, and have to be there."""
    if "evaluation_sha256" in data:
        return data["evaluation_sha256"]
    if not data["valid"]:
        return data["content_sha256"]
    try:
        read = data_of(config)
    except InputError as error:
        found = f"a run of an older version, whose data have to be read ({error})"
        raise InputError(folder, found, "data that are there, by LGCN_JAX_DATA") from None
    if read.content_hash() != data["content_sha256"]:
        raise InputError(folder, f"other data in {config['dataset']}", "those that the run was trained on")
    return read.evaluation_hash()


def _tested(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """The metrics of the test part."""
    tested = result.get("test") or result.get("best") or {}
    if tested.get("split") != "test" or not {RECALL, NDCG} <= tested.keys():
        raise InputError(folder, f"a run without {RECALL} and {NDCG} of the test part", "one that has them")
    return tested


def _measured(folder: Path, result: dict[str, Any]) -> Measured:
    config, used, tested = result["config"], result.get("usage", {}), _tested(folder, result)
    curve = [(tested["epoch"], result["seconds"], tested[RECALL])]
    if result["epochs"] and tested is not result.get("test"):
        curve = _curve(folder)
    epochs, at, recalls = (list(column) for column in zip(*curve, strict=True))
    return Measured(
        seed=config.get("seed"),
        chosen=_chosen(result, epochs),
        epoch=tested["epoch"],
        recall=tested[RECALL],
        ndcg=tested[NDCG],
        seconds=result["seconds"],
        compile_seconds=result.get("compile_seconds"),
        wall_seconds=used.get("wall_seconds"),
        startup_seconds=used.get("startup_seconds"),
        peak_bytes=used.get("peak_bytes"),
        device_peak_bytes=used.get("device_peak_bytes"),
        commit=result["environment"].get("commit"),
        epochs=epochs,
        at=[round(seconds, 2) for seconds in at],
        recalls=[round(recall, 6) for recall in recalls],
    )


def _chosen(result: dict[str, Any], epochs: list[int]) -> str:
    """The part that chose the epoch: none where only the last one was evaluated, on the test part."""
    if not result["epochs"]:
        return ""
    split = result["best"]["split"]
    return "none" if split == "test" and epochs == [result["epochs"]] else split


def _curve(folder: Path) -> list[tuple[int, float, float]]:
    """Epoch, seconds of all lines so far, and recall, of each evaluation."""
    passed, found = 0.0, []
    for row in workdir.logged_rows(folder):
        passed += row["seconds"]
        if row["split"] == "test":
            found.append((row["epoch"], passed, row[RECALL]))
    if not found:
        raise InputError(folder / "metrics.jsonl", "no evaluation of the test part", "those of the run")
    return found


def _device(environment: dict[str, Any]) -> str:
    """The device as the table names it: an accelerator, or the cores of a CPU."""
    device = environment["device"]
    if device["platform"] != "cpu":
        return device["kind"] if device["count"] == 1 else f"{device['count']} x {device['kind']}"
    cpu = re.sub(r"\((R|TM)\)|\bCPU\b|\d+-Core|Processor|@.*", "", environment.get("cpu", "CPU"))
    return f"{environment.get('cpu_cores', '?')} cores, {' '.join(cpu.split())}"
