"""The rows of the table of all models: what run folders and committed facts say, all seeds of one configuration in one.

A fact is a small JSON file with all that the table and its figure show of a row, so that both can be made without the
run folders.
"""

import dataclasses
import json
import re
import statistics
from pathlib import Path
from typing import Any

from recorded_data import data_of

from lgcn_jax.data.settings import READING
from lgcn_jax.errors import InputError
from lgcn_jax.runs import workdir

RECALL, NDCG = "recall@20", "ndcg@20"
GROUPS = ".cold_start.json"  # after the name of a folder
GOALS = {"gowalla": 0.1830, "yelp2018": 0.0649}  # recall@20 of the LightGCN paper

# What tells two configurations apart is every setting but these: what is of the data is in their hashes.
NO_SETTING = (*READING, "config_format", "model", "loss", "seed", "save_every", "propagation", "node_order", "mesh")


@dataclasses.dataclass(frozen=True)
class Measured:
    """What one run found, and what it took; None where its record does not say.

    Attributes:
      seed: None for a model without one.
      chosen: the part that chose the epoch, 'test' or 'valid'; 'none' where the last one alone was evaluated; '' where
        there are no epochs to choose from.
      epoch: that epoch.
      recall, ndcg: of the test part.
      seconds: of all steps and evaluations, or of solving and evaluating.
      compile_seconds, wall_seconds, startup_seconds, peak_bytes, device_peak_bytes: see `lgcn_jax.runs.usage`.
      commit: of the code.
      epochs, at, recalls: the evaluations of the test part: the epoch, the seconds of all steps and evaluations up to
        its end, and the recall. Of a run whose epoch was chosen on the validation part there is the end alone.
    """

    seed: int | None
    chosen: str
    epoch: int
    recall: float
    ndcg: float
    seconds: float
    compile_seconds: float | None
    wall_seconds: float | None
    startup_seconds: float | None
    peak_bytes: int | None
    device_peak_bytes: int | None
    commit: str | None
    epochs: list[int]
    at: list[float]
    recalls: list[float]

    @property
    def before(self) -> float:
        """Seconds before the first step: those of the command, or of compilation alone where more is not known."""
        return self.compile_seconds or 0.0 if self.startup_seconds is None else self.startup_seconds

    def reached(self, goal: float) -> float | None:
        """Seconds from the start of the command to the first evaluation with such a recall; None: there is none."""
        found = (self.before + at for at, recall in zip(self.at, self.recalls, strict=True) if recall >= goal)
        return next(found, None)


@dataclasses.dataclass
class Row:
    """A configuration on a data set and a device, and its runs.

    Attributes:
      name: of its file, and of the first folder.
      label: what the table calls it, '' for the name of its model.
      model, loss: as the command line calls them; loss None for a solved model.
      dataset, content_sha256, evaluation_sha256: the data set; all that is in it; what an evaluation depends on.
      device: what it ran on.
      vector_width: numbers of a user's or an item's vector, None where there are none.
      settings: all others.
      note: a sentence that the table shows below.
      runs: one for each seed.
      cold_start: what `cold_start.py` found of one of them, None where it was not asked.
    """

    name: str
    label: str
    model: str
    loss: str | None
    dataset: str
    content_sha256: str
    evaluation_sha256: str
    device: str
    vector_width: int | None
    settings: dict[str, Any]
    note: str
    runs: list[Measured]
    cold_start: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """What all runs of a row have in common."""
        alike = (self.content_sha256, self.evaluation_sha256, self.device, self.vector_width, self.settings)
        return json.dumps([self.label, self.model, self.loss, self.dataset, *alike], sort_keys=True)

    def mean(self, name: str) -> float | None:
        """The mean of an attribute of its runs; None where one does not say."""
        values = [getattr(run, name) for run in self.runs]
        return None if None in values else statistics.fmean(values)

    def spread(self, name: str) -> float | None:
        """The standard deviation of an attribute over its runs; None of a single one."""
        return statistics.stdev(getattr(run, name) for run in self.runs) if len(self.runs) > 1 else None


def read(paths: list[Path]) -> tuple[list[Row], list[str]]:
    """The rows of run folders, solved models and files of facts; and a line for each that cannot be in one table."""
    rows: dict[str, Row] = {}
    problems = []
    for path in paths:
        if path.name.endswith(GROUPS):  # they are read with the folder beside them
            continue
        try:
            row = fact(path) if path.suffix == ".json" else of_folder(path)
            _add(rows, row, path)
        except InputError as error:
            problems.append(str(error))
    return list(rows.values()), problems


def add_time(row: Row, part: Row) -> None:
    """Adds the whole time of a part, which had to be there first, to the time before each run of the row.

    Raises:
      InputError: the time of one of both is not known.
    """
    before = part.mean("wall_seconds")
    if before is None or row.mean("startup_seconds") is None or row.mean("wall_seconds") is None:
        raise InputError(part.name, "no time of the whole command", "a run that one command made, and a row of one")
    row.runs = [
        dataclasses.replace(run, startup_seconds=run.startup_seconds + before, wall_seconds=run.wall_seconds + before)
        for run in row.runs
    ]


def _add(rows: dict[str, Row], row: Row, path: Path) -> None:
    """Puts a row among the others, or its runs among those of the same configuration."""
    first = next((other for other in rows.values() if other.dataset == row.dataset), row)
    if first.evaluation_sha256 != row.evaluation_sha256:
        found = f"{row.dataset} of other content ({row.evaluation_sha256[:12]})"
        raise InputError(path, found, f"that of {first.name} ({first.evaluation_sha256[:12]})")
    same = rows.setdefault(row.key, row)
    if same is row:
        return
    for run in row.runs:
        if run.seed in [other.seed for other in same.runs]:
            raise InputError(path, f"seed {run.seed} of {same.name} again", "each seed of a configuration once")
        same.runs.append(run)
    same.runs.sort(key=lambda run: run.seed)
    same.cold_start = same.cold_start or row.cold_start


def of_folder(folder: Path, groups: bool = True) -> Row:
    """The row of a run folder, or of the folder of a solved model; with the groups that lie beside it.

    Raises:
      InputError: it has not ended well, or was not evaluated on the test part by recall@20 and ndcg@20.
    """
    result = _json(folder / "result.json", "a run that has ended, or a model that train has solved")
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
    found = _json(path, "what cold_start.py writes")
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


def fact(path: Path) -> Row:
    """The row that a file of facts holds.

    Raises:
      InputError: it holds none.
    """
    values = _json(path, "facts that leaderboard.py --collect wrote")
    try:
        return Row(**values | {"name": path.stem, "runs": [Measured(**run) for run in values["runs"]]})
    except (TypeError, KeyError) as error:
        raise InputError(path, f"no facts of a row ({error})", "what leaderboard.py --collect wrote") from None


def written(row: Row) -> str:
    """The file of facts of a row: what belongs together stands on one line."""
    values = dataclasses.asdict(row)
    del values["name"]
    text = json.dumps(values, indent=1, allow_nan=False)
    for innermost in (r"\[[^\[\]{}]*\]", r"\{[^{}\[\]]*(\[[^\[\]]*\][^{}\[\]]*)*\}"):
        text = re.sub(innermost, lambda found: re.sub(r"(?<=[\[{])\n *|\n *(?=[\]}])", "", _one_line(found[0])), text)
    return text + "\n"


def _one_line(text: str) -> str:
    return re.sub(r",\n *", ", ", text)


def _json(path: Path, expected: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path.parent if path.name == "result.json" else path, _reason(path, error), expected) from None
    except ValueError as error:
        raise InputError(path, f"a file that is no JSON ({error})", expected) from None
    if not isinstance(values, dict):
        raise InputError(path, f"a {type(values).__name__}", expected)
    return values


def _reason(path: Path, error: OSError) -> str:
    return f"no {path.name}" if isinstance(error, FileNotFoundError) else f"{path.name}, {error.strerror}"
