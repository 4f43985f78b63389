"""The trials of a search are trained: each one is watched, pruned where the study says so, and told to the study."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError
from lgcn_jax.searching.study import Asked, Study
from lgcn_jax.serving.models import Model
from lgcn_jax.settings import fields
from lgcn_jax.system import paths

if TYPE_CHECKING:
    import optuna

# How a trial ended, in the words that the user is shown.
COMPLETED, PRUNED, DIVERGED, REFUSED, INTERRUPTED = "completed", "pruned", "diverged", "refused", "interrupted"


@dataclasses.dataclass
class Outcome:
    """What became of a trial.

    Attributes:
      asked: the trial.
      ended: one of the words above.
      best: the evaluation with the highest watched metric, None where there was none.
      seconds: of the whole trial, compilation included.
      reason: why it diverged or was refused, in a sentence.
      folder: of its run, where it has one.
      model: fitted, where the trial is completed.
    """

    asked: Asked
    ended: str
    best: dict[str, Any] | None
    seconds: float
    reason: str = ""
    folder: Path | None = None
    model: Model | None = None

    def facts(self) -> dict[str, Any]:
        """What the study keeps of the trial, as JSON values."""
        kept = {"ended": self.ended, "best": self.best, "seconds": self.seconds, "reason": self.reason}
        return {name: value for name, value in kept.items() if value not in (None, "")}


class Watch:
    """A callback of `fit` that tells the study each evaluation, and ends the run where the study says so.

    Attributes:
      best: the evaluation with the highest watched metric so far.
      pruned: whether the run was ended.
    """

    def __init__(self, study: Study, trial: "optuna.Trial", metric: str):
        self._study, self._trial, self._metric = study, trial, metric
        self.best: dict[str, Any] | None = None
        self.pruned = False

    def __call__(self, row: dict[str, Any]) -> bool:
        if row["split"] == "train":
            return False
        if self.best is None or row[self._metric] > self.best[self._metric]:
            self.best = row
        self.pruned = self._study.report(self._trial, row[self._metric], row["epoch"]) or self.pruned
        return self.pruned


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains the trials of a search.

    Attributes:
      interactions: all trials' data.
      study: to which evaluations are told.
      metric: the watched one.
      workdir: the folder of the trials' run folders; None: they are kept in memory.
    """

    interactions: Interactions
    study: Study
    metric: str
    workdir: Path | None

    def train(self, asked: Sequence[Asked]) -> Iterator[Outcome]:
        """What becomes of the trials, one after the other; one that a signal ended is the last of them.

        Raises:
          InputError: the run folder of a trial is there already.
        """
        for each in asked:
            outcome = self._alone(each)
            yield outcome
            if outcome.ended == INTERRUPTED:
                return

    def _folder(self, number: int) -> Path | None:
        """The run folder of a trial, which must not be there; None where runs are kept in memory."""
        if self.workdir is None:
            return None
        folder = self.workdir / f"trial-{number:04d}"
        if paths.exists(folder, f"--workdir={self.workdir}"):
            raise InputError(f"--workdir={self.workdir}", f"{folder.name} of another search", "another folder")
        return folder

    def _alone(self, asked: Asked) -> Outcome:
        folder, watch = self._folder(asked.trial.number), Watch(self.study, asked.trial, self.metric)
        begun, model, reason = time.perf_counter(), None, ""
        try:
            model = Model(**model_settings(asked.settings))
            model.fit(self.interactions, folder, callbacks=[watch], quiet=True, score_test=False)
            ended = _ended(model.status, watch)
        except KeyboardInterrupt:  # before the first step
            ended = INTERRUPTED
        except FloatingPointError as error:
            ended, reason = DIVERGED, str(error)
        except InputError as error:
            ended, reason = REFUSED, str(error)
        seconds = round(time.perf_counter() - begun, 3)
        return Outcome(asked, ended, watch.best, seconds, reason, folder, model if ended == COMPLETED else None)


def _ended(status: str, watch: Watch) -> str:
    """How a trial ended whose training came back with this status."""
    if status == "completed":  # a trial that is to be pruned after its last epoch is over anyway
        return COMPLETED
    return PRUNED if watch.pruned else INTERRUPTED


def model_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of a trial's settings that are not of its data, as `Model` takes them."""
    return {name: value for name, value in settings.items() if name not in fields(DataSettings)}
