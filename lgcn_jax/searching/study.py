"""The trials of a search, which several processes may share: who asks for which, and what became of them.

What a trial draws depends on the seed, on the place of its draw among those of the study, and on the trials before it.
A trial that was lost (its worker was killed, or a signal came) is marked as failed, and its draw is done again.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lgcn_jax.errors import InputError
from lgcn_jax.searching import storages
from lgcn_jax.searching.space import Space
from lgcn_jax.searching.workers import Workers

if TYPE_CHECKING:
    import optuna

NAME = "lgcn_jax"  # of the study in its storage
FORMAT = 1  # of what a study remembers
STARTUP_TRIALS = 10  # drawn at random, before the sampler looks at what others found
PRUNING_STARTUP_TRIALS = 5  # trials that are completed before any is pruned
WARMUP_SHARE = 0.25  # of the epochs, in which no trial is pruned
FACTS, WORKER, DRAW, SETTINGS = "lgcn_jax", "worker", "draw", "settings"  # names of attributes


class ClaimedTrial(NamedTuple):
    """A trial that this process is to train: Optuna's, and the settings for `Config.of`."""

    trial: "optuna.Trial"
    settings: dict[str, Any]


def objective_value(trial: "optuna.trial.FrozenTrial") -> float:
    """The result of a completed trial."""
    assert trial.value is not None
    return trial.value


class Study:
    """A study, with this process as one of its workers; see `open_study`."""

    def __init__(self, optuna: Any, found: "optuna.Study", workers: Workers, space: Space, seed: int):
        self._optuna, self._study, self._workers, self._space, self._seed = optuna, found, workers, space, seed
        self._states = optuna.trial.TrialState

    def claim(self, wanted: int, trials: int) -> list[ClaimedTrial]:
        """At most `wanted` trials for this worker; fewer where fewer are left of the `trials` in all, none at the end.

        Those of workers that have died are marked as failed before, and so are left to do.
        """
        with self._workers.exclusive(), storages.quiet_optuna():
            self._fail_lost()
            left = trials - sum(trial.state != self._states.FAIL for trial in self.all_trials())
            return [self._ask_trial() for _ in range(min(wanted, left))]

    def _fail_lost(self) -> None:
        for trial in self.all_trials():
            if trial.state == self._states.RUNNING and not self._workers.is_alive(trial.user_attrs.get(WORKER)):
                self._study.tell(trial.number, state=self._states.FAIL)

    def _ask_trial(self) -> ClaimedTrial:
        """A new trial: the first draw that no trial has that has not failed."""
        drawn = {trial.user_attrs.get(DRAW) for trial in self.all_trials() if trial.state != self._states.FAIL}
        draw = next(number for number in range(len(drawn) + 1) if number not in drawn)
        seed = int(np.random.SeedSequence([self._seed, draw]).generate_state(1)[0])
        self._study.sampler = self._optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed)
        trial = self._study.ask()
        trial.set_user_attr(WORKER, self._workers.name)
        trial.set_user_attr(DRAW, draw)
        return ClaimedTrial(trial, self._space.settings(lambda name, dimension: dimension.suggest(trial, name)))

    def report(self, trial: "optuna.Trial", value: float, epoch: int) -> bool:
        """Notes the metric of an evaluation; whether the trial is to be pruned."""
        with storages.quiet_optuna():
            trial.report(value, epoch)
            return bool(trial.should_prune())  # of a number of NumPy, which is not True itself

    def complete(self, trial: "optuna.Trial", value: float, facts: dict[str, Any]) -> None:
        """The trial is over, and `value` is its result."""
        self._tell_trial(trial, facts, value)

    def prune(self, trial: "optuna.Trial", facts: dict[str, Any]) -> None:
        """The trial was ended early, or has no result: it counts, and is no candidate for the best."""
        self._tell_trial(trial, facts, state=self._states.PRUNED)

    def fail(self, trial: "optuna.Trial") -> None:
        """The trial was interrupted, and is left to do."""
        self._tell_trial(trial, {}, state=self._states.FAIL)

    def _tell_trial(
        self, trial: "optuna.Trial", facts: dict[str, Any], value: float | None = None, state: Any = None
    ) -> None:
        with storages.quiet_optuna():
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)
            self._study.tell(trial, value, state)

    def all_trials(self) -> "list[optuna.trial.FrozenTrial]":
        """All trials so far, by number."""
        return self._study.get_trials(deepcopy=False)

    def finished_trials(self) -> "list[optuna.trial.FrozenTrial]":
        """Those that count: completed, or ended early for a reason of their own."""
        return [trial for trial in self.all_trials() if trial.state in (self._states.COMPLETE, self._states.PRUNED)]

    def completed_trials(self) -> "list[optuna.trial.FrozenTrial]":
        """Those that came to their end, the best first, of equals the earliest."""
        whole = [trial for trial in self.all_trials() if trial.state == self._states.COMPLETE]
        return sorted(whole, key=lambda trial: (-objective_value(trial), trial.number))

    def num_running(self) -> int:
        """How many trials other workers have in hand."""
        with self._workers.exclusive():
            self._fail_lost()
            return sum(trial.state == self._states.RUNNING for trial in self.all_trials())

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """While entered, no other worker is."""
        return self._workers.exclusive()

    def get_note(self, name: str, default: Any) -> Any:
        """What the study has under a name of ours."""
        return self._study.user_attrs.get(name, default)

    def set_note(self, name: str, value: Any) -> None:
        """Keeps JSON values under a name of ours."""
        self._study.set_user_attr(name, value)

    def importance(self) -> dict[str, float]:
        """The importance of each setting, largest first; see `importance.setting_importance`."""
        from lgcn_jax.searching import importance

        return importance.setting_importance(self._optuna, self._study)


@contextlib.contextmanager
def open_study(
    path: Path | None, space: Space, facts: dict[str, Any], seed: int, epochs: int, prunes: bool
) -> Iterator[Study]:
    """The study in a file, made where there is none, or one in memory.

    Args:
      path: as `storages.check_study_path` gives it, or None.
      space: what trials are drawn from.
      facts: JSON values that a search with the same study has to have, too.
      seed: of the draws.
      epochs: the most that a trial may have.
      prunes: whether trials below the median are ended early.

    Raises:
      InputError: the file holds something else, another search, or cannot be written.
    """
    optuna = storages.import_optuna()
    with Workers(path) as workers, storages.quiet_optuna():
        pruner = optuna.pruners.NopPruner()
        if prunes:
            warmup = int(WARMUP_SHARE * epochs)
            pruner = optuna.pruners.MedianPruner(PRUNING_STARTUP_TRIALS, n_warmup_steps=warmup)
        with workers.exclusive():
            found = _open_study(optuna, path, pruner)
            _require_same(path, found, {"format": FORMAT} | facts)
        yield Study(optuna, found, workers, space, seed)


def _open_study(optuna: Any, path: Path | None, pruner: Any) -> "optuna.Study":
    """The search's study in its storage."""
    if path is None:
        return optuna.create_study(direction="maximize", pruner=pruner)
    storage = storages.open_storage(optuna, path)
    try:
        names = optuna.get_all_study_names(storage)
        if names and NAME not in names:
            raise InputError(f"--study={path}", f"the study {names[0]!r} of another program", "that of a search")
        made = {"study_name": NAME, "direction": "maximize", "pruner": pruner}
        return optuna.create_study(storage=storage, load_if_exists=True, **made)
    except InputError:
        raise
    except Exception as error:
        raise storages.unusable_study_error(path, error) from None


def _require_same(path: Path | None, kept: "optuna.Study", facts: dict[str, Any]) -> None:
    """Raises an InputError where the study was begun with other facts; notes them where it is new."""
    known = kept.user_attrs.get(FACTS)
    if known is None and not kept.get_trials(deepcopy=False):
        kept.set_user_attr(FACTS, facts)
        return
    if not isinstance(known, dict) or known.get("format") != FORMAT:
        raise InputError(f"--study={path}", "a study that is none of this version", "that of a search, or a new file")
    for name, called in (("content_sha256", "other data"), ("space", "another space"), ("settings", "other settings")):
        if known.get(name) != facts[name]:
            found = f"a study of {_describe_difference(called, known[name], facts[name])}"
            raise InputError(f"--study={path}", found, "one of this search, or a new file")


def _describe_difference(called: str, known: Any, stated: Any) -> str:
    """In what a study differs, for a message."""
    if not isinstance(known, dict):
        return called
    names = [name for name in sorted({*known, *stated}) if known.get(name) != stated.get(name)]
    return f"{called} ({', '.join(f'{name}: there {known.get(name)}, here {stated.get(name)}' for name in names)})"
