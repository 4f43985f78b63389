"""A row of the table of all models, and the file of facts that it is kept in.

A fact is a small JSON file with all that the table and its figure show of a row, so that both can be made without the
run folders.
"""

import dataclasses
import json
import re
import statistics
from pathlib import Path
from typing import Any

from lgcn_jax.errors import InputError


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


def fact(path: Path) -> Row:
    """The row that a file of facts holds.

    Raises:
      InputError: it holds none.
    """
    values = read_json(path, "facts that leaderboard.py --collect wrote")
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


def read_json(path: Path, expected: str) -> dict[str, Any]:
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
