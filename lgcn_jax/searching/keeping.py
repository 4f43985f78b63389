"""The model of the best trial is kept, whichever worker trained it, and is scored on the test part at the end."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.runs import workdir as run_folders
from lgcn_jax.searching.study import Study, objective_value
from lgcn_jax.searching.trials import Outcome
from lgcn_jax.serving import loading, storage

if TYPE_CHECKING:
    import optuna

    from lgcn_jax.serving.recommender import Recommender

BEST, FOLDER, TEST = "best", "folder", "test"  # names of attributes


class BestModelKeeper:
    """Where models of trials are: run folders, or that of the best trial beside the study's file, or in memory.

    Args:
      study: the trials.
      path: of the study's file, None for one in memory.
      metric: the watched one.
    """

    def __init__(self, study: Study, path: Path | None, metric: str):
        self._study, self._path, self._metric = study, path, metric
        self._in_memory: dict[int, Recommender] = {}

    def complete(self, outcome: Outcome) -> None:
        """Tells the study that a trial is completed; before that, the model is kept, if it is the best so far.

        Raises:
          WriteError: the model could not be written; the study does not know of the trial's end then.
        """
        assert outcome.best is not None
        assert outcome.model is not None
        number, value = outcome.claimed.trial.number, outcome.best[self._metric]
        with self._study.exclusive():
            before = self._study.completed_trials()[:1]
            folder, is_best = (
                outcome.folder,
                not before or (-value, number) < (-objective_value(before[0]), before[0].number),
            )
            if folder is None and is_best and self._path is not None:
                folder = self._folder_of_trial(number)
                outcome.model.save(folder)
            elif folder is None and is_best:
                self._in_memory = {number: outcome.model}
            kept = {} if folder is None else {FOLDER: str(folder.absolute())}
            self._study.complete(outcome.claimed.trial, value, outcome.facts() | kept)
            if is_best:
                self._remove_models(before)

    def _folder_of_trial(self, number: int) -> Path:
        """The folder of a trial's model beside the study's file."""
        assert self._path is not None
        return self._path.with_name(f"{self._path.stem}-trial-{number:04d}")

    def _remove_models(self, trials: "list[optuna.trial.FrozenTrial]") -> None:
        """Removes models beside the study that were kept of these trials."""
        for trial in trials:
            if self._path is not None and storage.is_model(folder := self._folder_of_trial(trial.number)):
                shutil.rmtree(folder, ignore_errors=True)

    def model_folder(self, trial: "optuna.trial.FrozenTrial") -> str | None:
        """Where the model of a trial is, if it is in a folder."""
        folder = trial.user_attrs.get(FOLDER)
        return folder if folder and Path(folder).is_dir() else None

    def best_model(self, interactions: Interactions) -> "Recommender | None":
        """That of the best trial; None where there is none.

        Raises:
          InputError: it cannot be loaded.
        """
        for trial in self._study.completed_trials()[:1]:
            if trial.number in self._in_memory:
                return self._in_memory[trial.number]
            if folder := self.model_folder(trial):
                saved = storage.is_model(Path(folder))
                return loading.load_model(folder) if saved else loading.load_model(folder, interactions)
        return None

    def score_test(self, interactions: Interactions, ks: tuple[int, ...]) -> dict[str, Any] | None:
        """The best trial's metrics on the test part, scored once for each trial that was the best at an end.

        Returns:
          Its number as 'trial', and its metrics; None where there is no best trial, no test part or no model of it.
        """
        with self._study.exclusive():
            found = self.test_scores()
            best = next(iter(self._study.completed_trials()), None)
            if found is not None or best is None or not interactions.test.nnz:
                return found
            model = self.best_model(interactions)
            if model is None:
                return None
            scores = model.evaluate(interactions, "test", ks)
            found = {"trial": best.number} | scores
            self._study.set_note(TEST, [*self._study.get_note(TEST, []), found])
        if (folder := self.model_folder(best)) and not storage.is_model(Path(folder)):
            _add_test_scores(Path(folder), {"epoch": best.user_attrs[BEST]["epoch"], "split": "test"} | scores)
        return found

    def test_scores(self) -> dict[str, Any] | None:
        """What `score_test` found of the trial that is the best now; None where it has not been scored."""
        best = next(iter(self._study.completed_trials()), None)
        return next((each for each in self._study.get_note(TEST, []) if best and each["trial"] == best.number), None)


def _add_test_scores(folder: Path, scores: dict[str, Any]) -> None:
    """Adds the metrics on the test part to a run's result.json, as a run of its own has them."""
    with contextlib.suppress(OSError, ValueError):
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        run_folders.write_json(folder / "result.json", result | {"test": scores})
