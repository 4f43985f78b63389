"""What a search has found: its trials, the best of them, and how much each setting matters."""

import dataclasses
import io
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lgcn_jax.config import Config
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.searching import figure
from lgcn_jax.settings import format_value
from lgcn_jax.system import files, paths

if TYPE_CHECKING:
    from lgcn_jax.serving.recommender import Recommender

PICTURES = (".svg", ".png", ".pdf")
SHOWN = 5  # trials of the table


@dataclasses.dataclass(frozen=True)
class SearchTrial:
    """A trial that is over.

    >>> import lgcn_jax as lg
    >>> lg.SearchTrial(0, "pruned", 0.1, 2, {"num_layers": 1}, {"recall@5": 0.1}, 1.5, "", None).ended
    'pruned'

    Attributes:
      number: in the study, from 0; numbers of trials that were lost are missing.
      ended: 'completed', 'pruned', 'diverged' or 'refused'.
      value: the highest watched metric on the validation part; None where no evaluation came.
      epoch: of that evaluation.
      settings: those of the space that the trial has.
      metrics: all of that evaluation, by name.
      seconds: of the whole trial, compilation included.
      reason: why it diverged or was refused; empty otherwise.
      folder: of its run, or where its model was kept; None: nowhere.
    """

    number: int
    ended: str
    value: float | None
    epoch: int | None
    settings: dict[str, Any]
    metrics: dict[str, float]
    seconds: float
    reason: str
    folder: str | None


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What `search` returns.

    >>> import lgcn_jax as lg
    >>> trials = tuple(
    ...     lg.SearchTrial(number, "completed", value, 2, {"num_layers": number}, {"recall@5": value}, 1.0, "", None)
    ...     for number, value in enumerate((0.1, 0.3, 0.2))
    ... )
    >>> found = lg.SearchResult("shop", "recall@5", "completed", 3, trials, {"num_layers": 1.0}, None, {}, {})
    >>> found.best.number, found.best.settings
    (1, {'num_layers': 1})
    >>> found.columns()["recall@5"]
    [0.3, 0.2, 0.1]

    Attributes:
      dataset: the name of the data set.
      metric: what is watched, on the validation part.
      status: 'completed' where all trials are over; 'out of time'; 'interrupted' by a signal; or 'shared' where other
        workers still have trials in hand.
      wanted: how many trials the search is to have.
      trials: those that are over, by number, of all workers.
      importance: of each setting for being among the best, largest first, in sum 1; {} where there are too few trials.
      test: the best trial's metrics on the test part, with its `trial`; None where they were not scored.
      settings: what all trials have in common, those of the data included, as far as stated.
      environment: versions, device and data.
      model: of the best trial, fitted; None where it was not kept.
    """

    dataset: str
    metric: str
    status: str
    wanted: int
    trials: tuple[SearchTrial, ...]
    importance: dict[str, float]
    test: dict[str, Any] | None
    settings: dict[str, Any]
    environment: dict[str, Any]
    model: "Recommender | None" = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def ranking(self) -> list[SearchTrial]:
        """The completed trials, the best first, of equals the earliest."""
        whole = [trial for trial in self.trials if trial.ended == "completed" and trial.value is not None]
        return sorted(whole, key=lambda trial: (-(trial.value or 0.0), trial.number))

    @property
    def best(self) -> SearchTrial | None:
        """The best trial; None where none was completed."""
        return next(iter(self.ranking), None)

    def count(self, ended: str) -> int:
        """How many trials ended so."""
        return sum(trial.ended == ended for trial in self.trials)

    def columns(self, count: int = SHOWN) -> dict[str, list[Any]]:
        """The best trials, by column; - where a trial lacks a setting."""
        rows = self.ranking[:count]
        names = dict.fromkeys(name for row in self.trials for name in row.settings)
        found: dict[str, list[Any]] = {"trial": [row.number for row in rows], self.metric: [row.value for row in rows]}
        found["epoch"] = [row.epoch for row in rows]
        return found | {name: [format_table_value(row.settings.get(name)) for row in rows] for name in names}

    def flags(self) -> list[str]:
        """The flags of `train` that train the best trial anew, but for --workdir; [] where there is none."""
        if self.best is None:
            return []
        stated = self.settings | self.best.settings
        whole = Config.of(**stated).to_dict()
        return [f"--{name}={_format_flag(value)}" for name, value in whole.items() if name in stated]

    def command(self, workdir: str = "runs/best") -> str:
        """The command line that trains the best trial anew; '' where there is none."""
        flags = self.flags()
        return shlex.join(["python", "-m", "lgcn_jax", "train", *flags, f"--workdir={workdir}"]) if flags else ""

    def to_json(self) -> dict[str, Any]:
        """All that was found as JSON values, but for where models lie."""
        flat = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "model"}
        trials = [dataclasses.asdict(trial) for trial in self.trials]
        flat |= {"trials": [{name: each[name] for name in each if name != "folder"} for each in trials]}
        flat |= {"best": None if self.best is None else self.best.number, "flags": self.flags()}
        return json.loads(json.dumps(flat))

    def save(self, path: str | Path) -> None:
        """Writes a .json file of all that was found, a .flags file that trains the best trial anew with
        `train --flagfile`, or a picture of importance and trials: .svg, .png or .pdf.

        Raises:
          InputError: the name ends in something else, or there is no best trial for a .flags file.
          WriteError: the file could not be written.
        """
        path = require_kind(path, "path")
        try:
            files.write(path, self._file_content(path))
        except OSError as error:
            raise WriteError(path, error.strerror or error) from None

    def _file_content(self, path: Path) -> bytes:
        if path.suffix == ".json":
            return (json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n").encode()
        if path.suffix == ".flags":
            return self._flagfile_text().encode()
        content = io.BytesIO()
        values = {trial.number: trial.value for trial in self.trials if trial.value is not None}
        completed = {trial.number for trial in self.ranking}
        figure.draw_search(
            content, path.suffix[1:], self.importance, values, completed, f"{self.metric}, validation part"
        )
        return content.getvalue()

    def _flagfile_text(self) -> str:
        if self.best is None:
            raise InputError("path", "a search without a completed trial", "one with a best trial")
        told = f"# Trial {self.best.number}, the best of {len(self.trials)} on {self.dataset}"
        return "\n".join([f"{told}: {self.metric} {self.best.value:.4f} on the validation part.", *self.flags(), ""])


def _format_flag(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value == "" else format_value(value)


def format_table_value(value: Any) -> str:
    """A setting in a table: numbers to four digits."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float | np.floating) else format_value(value)


def require_kind(path: str | Path, where: str, kinds: tuple[str, ...] = (".json", ".flags", *PICTURES)) -> Path:
    """The path of a file that is written, if its name says what it is to be, and there is a folder for it.

    Raises:
      InputError: its name does not, or there is none.
    """
    found = paths.as_path(path, where)
    if found.suffix not in kinds:
        raise InputError(where, repr(found.name), f"a file name that ends in {', '.join(kinds)}")
    if (paths.exists(found, where) and found.is_dir()) or not found.absolute().parent.is_dir():
        raise InputError(where, repr(str(path)), "a file in a folder that exists")
    return found
