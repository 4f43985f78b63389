"""The trials of a search are trained: each one is watched, pruned where the study says so, and told to the study."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError
from lgcn_jax.searching.study import ClaimedTrial, Study
from lgcn_jax.serving.models import Model
from lgcn_jax.serving.population import fit_population
from lgcn_jax.settings import fields
from lgcn_jax.system import paths
from lgcn_jax.training.members import settings_that_may_differ
from lgcn_jax.training.population_state import FAILED

if TYPE_CHECKING:
    import optuna

# How a trial ended, in the words that the user is shown.
COMPLETED, PRUNED, DIVERGED, REFUSED, INTERRUPTED = "completed", "pruned", "diverged", "refused", "interrupted"


@dataclasses.dataclass
class Outcome:
    """What became of a trial.

    Attributes:
      claimed: the trial.
      ended: one of the words above.
      best: the evaluation with the highest watched metric, None where there was none.
      seconds: of the whole trial, compilation included.
      reason: why it diverged or was refused, in a sentence.
      folder: of its run, where it has one.
      model: fitted, where the trial is completed.
    """

    claimed: ClaimedTrial
    ended: str
    best: dict[str, Any] | None
    seconds: float
    reason: str = ""
    folder: Path | None = None
    model: Model | None = None

    def facts(self) -> dict[str, Any]:
        """What the study keeps of the trial, as JSON values."""
        kept = {"ended": self.ended, "best": self.best, "seconds": round(self.seconds, 3), "reason": self.reason}
        return {name: value for name, value in kept.items() if value not in (None, "")}


class TrialCallback:
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


class TrialTrainer:
    """Trains the trials of a search.

    Args:
      interactions: all trials' data.
      study: to which evaluations are told.
      metric: the watched one.
      workdir: the folder of the trials' run folders; None: they are kept in memory, where trials that differ in
        nothing but what members of a population may differ in are trained as one.
    """

    def __init__(self, interactions: Interactions, study: Study, metric: str, workdir: Path | None):
        self._study, self._metric, self._workdir = study, metric, workdir
        nothing = csr.empty(interactions.num_users)  # in memory, a trial does not even have the test part
        self._interactions = interactions if workdir else dataclasses.replace(interactions, test=nothing)

    def train(self, asked: Sequence[ClaimedTrial]) -> Iterator[Outcome]:
        """What becomes of the trials, one after the other; those that a signal ended are the last of them.

        Raises:
          InputError: the run folder of a trial is there already.
        """
        for group in self._groups_to_train_together(asked):
            outcomes = self._train_together(group)
            yield from outcomes
            for each in () if outcomes else group:
                outcomes.append(self._train_alone(each))
                yield outcomes[-1]
                if outcomes[-1].ended == INTERRUPTED:
                    return
            if any(outcome.ended == INTERRUPTED for outcome in outcomes):
                return

    def _groups_to_train_together(self, asked: Sequence[ClaimedTrial]) -> list[list[ClaimedTrial]]:
        """The trials that may be trained as one population, in the order of their first ones."""
        found: dict[str, list[ClaimedTrial]] = {}
        for each in asked:
            shared = {name: value for name, value in each.settings.items() if name not in settings_that_may_differ()}
            alike = str(each.trial.number if self._workdir else sorted(shared.items()))
            found.setdefault(alike, []).append(each)
        return list(found.values())

    def _trial_folder(self, number: int) -> Path | None:
        """The run folder of a trial, which must not be there; None where runs are kept in memory."""
        if self._workdir is None:
            return None
        folder = self._workdir / f"trial-{number:04d}"
        if paths.exists(folder, f"--workdir={self._workdir}"):
            raise InputError(f"--workdir={self._workdir}", f"{folder.name} of another search", "another folder")
        return folder

    def _train_alone(self, asked: ClaimedTrial) -> Outcome:
        folder, watch = self._trial_folder(asked.trial.number), TrialCallback(self._study, asked.trial, self._metric)
        begun, model, reason = time.perf_counter(), None, ""
        try:
            model = Model(**model_settings(asked.settings))
            model.fit(self._interactions, folder, callbacks=[watch], quiet=True, score_test=False)
            ended = _outcome_kind(model.status, watch)
        except KeyboardInterrupt:  # before the first step
            ended = INTERRUPTED
        except FloatingPointError as error:
            ended, reason = DIVERGED, str(error)
        except InputError as error:
            ended, reason = REFUSED, str(error)
        seconds = time.perf_counter() - begun
        return Outcome(asked, ended, watch.best, seconds, reason, folder, model if ended == COMPLETED else None)

    def _train_together(self, group: Sequence[ClaimedTrial]) -> list[Outcome]:
        """The outcomes of trials that were trained as one population; [] where they cannot be, and nothing was done.

        Populations don't have all that runs have, and may need more memory than there is; then trials are trained
        alone, of which each is told what it lacks itself.
        """
        if len(group) == 1:
            return []
        watches, begun = [TrialCallback(self._study, each.trial, self._metric) for each in group], time.perf_counter()
        own = [
            {name: value for name, value in each.settings.items() if name in settings_that_may_differ()}
            for each in group
        ]
        shared = {name: value for name, value in group[0].settings.items() if name not in own[0]}

        def watch(row: dict[str, Any]) -> bool:
            return watches[row["member"]]({name: value for name, value in row.items() if name != "member"})

        models: Sequence[Model | None] = [None] * len(group)
        try:
            found = fit_population(self._interactions, own, callbacks=[watch], quiet=True, **model_settings(shared))
            models, results = found, found.results
        except KeyboardInterrupt:  # before the first step
            results = [{"status": INTERRUPTED}] * len(group)
        except FloatingPointError as error:  # of all of them
            results = [{"status": FAILED, "error": str(error)}] * len(group)
        except InputError:
            return []
        seconds = (time.perf_counter() - begun) / len(group)
        outcomes = []
        for each, seen, result, model in zip(group, watches, results, models, strict=True):
            ended, reason = _outcome_kind(result["status"], seen), result.get("error", "")
            kept = model if ended == COMPLETED else None
            outcomes.append(Outcome(each, ended, seen.best, seconds, reason, model=kept))
        return outcomes


def _outcome_kind(status: str, watch: TrialCallback) -> str:
    """How a trial ended whose training came back with this status."""
    if status == FAILED:
        return DIVERGED
    if status == "completed":  # a trial that is to be pruned after its last epoch is over anyway
        return COMPLETED
    return PRUNED if watch.pruned else INTERRUPTED


def model_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of a trial's settings that are not of its data, as `Model` takes them."""
    return {name: value for name, value in settings.items() if name not in fields(DataSettings)}
