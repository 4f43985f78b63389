"""Hyper-parameters by trials: asked for, trained, pruned; the best of them is chosen on the validation part."""

import contextlib
import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.devices.mesh import require_devices
from lgcn_jax.errors import InputError, named_as_in_python
from lgcn_jax.runs import workdir as run_folders
from lgcn_jax.searching import space as spaces
from lgcn_jax.searching import storages
from lgcn_jax.searching.keeping import BEST, BestModelKeeper
from lgcn_jax.searching.results import SearchResult, SearchTrial, format_table_value
from lgcn_jax.searching.space import COMMON, Space
from lgcn_jax.searching.study import ClaimedTrial, Study, open_study
from lgcn_jax.searching.trials import COMPLETED, INTERRUPTED, Outcome, TrialTrainer
from lgcn_jax.serving.recommender import require_interactions
from lgcn_jax.settings import fields, format_value
from lgcn_jax.system import paths
from lgcn_jax.system.interruption import run_interruptibly
from lgcn_jax.system.signals import StopRequest
from lgcn_jax.training import estimate
from lgcn_jax.training.setup import check_config

if TYPE_CHECKING:
    import optuna

TRIALS = 50


@dataclasses.dataclass(frozen=True)
class SearchPlan:
    """A search before its first trial.

    Attributes:
      space: what each trial is drawn from.
      study: the file of its trials; None: in memory.
      trials: how many there are to be in all.
      timeout: seconds after which no further trial is begun; None: never.
      batch: trials that are asked for at once.
      prune: whether trials below the median are ended early.
      workdir: the folder of the trials' run folders; None: they are kept in memory.
    """

    space: Space
    study: Path | None = None
    trials: int = TRIALS
    timeout: float | None = None
    batch: int = 1
    prune: bool = True
    workdir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("trials", "batch"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InputError(f"--{name}", repr(value), "an integer of at least 1")
        if self.batch > 1 and self.workdir is not None:
            found = f"{self.batch} with --workdir, whose folders hold a run each"
            raise InputError("--batch", found, "1, or no --workdir: batches are trained as one population")
        number = isinstance(self.timeout, int | float) and not isinstance(self.timeout, bool)
        if self.timeout is not None and not (number and 0 < self.timeout < float("inf")):
            raise InputError("--timeout", repr(self.timeout), "seconds, a number above 0")


@named_as_in_python()
def search(
    interactions: Interactions,
    space: Mapping[str, Any] | str | Path,
    *,
    study: str | Path | None = None,
    trials: int = TRIALS,
    timeout: float | None = None,
    batch: int = 1,
    workdir: str | Path | None = None,
    prune: bool = True,
    quiet: bool = False,
    model: str | None = None,
    **settings: Any,
) -> SearchResult:
    """Looks for the settings that are best on the validation part; the test part is scored once, of the best trial.

    >>> import lgcn_jax as lg
    >>> world = {"num_users": 100, "num_items": 80, "num_interactions": 1500}
    >>> interactions = lg.load("synthetic", validation_fraction=0.2, **world)
    >>> space = {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}, "num_layers": [1, 2]}
    >>> fixed = {"epochs": 2, "embedding_dim": 8, "top_k": (5,)}
    >>> found = lg.search(interactions, space, trials=2, quiet=True, **fixed)
    >>> sorted(found.best.settings)
    ['learning_rate', 'num_layers']

    Trials are drawn by Optuna's TPE, seeded by `seed`: alone, the same search has the same trials, also where it was
    stopped in between. Ctrl-C ends the trial in hand, and what is done stays in `study`.

    Args:
      interactions: of `lgcn_jax.load` or `lgcn_jax.read`, with a validation part (`validation_fraction`).
      space: {setting: list of values, or {"low": .., "high": .., "log": True, "step": ..}}, or a JSON file of it.
      study: a file that keeps the trials: .log or .journal, or .db or .sqlite. A search goes on with it until `trials`
        are over, and several processes may share it. None: they are kept in memory.
      trials: how many there are to be in all, those of earlier calls on the same study included.
      timeout: seconds after which no further trial is begun; None: never.
      batch: trials that are asked for at once; those of them that differ in nothing but the seed, init_std and numbers
        of the loss and the optimizer are trained as one population (`fit_population`), the others alone.
      workdir: a folder for run folders trial-0000, trial-0001 and so on, as `fit` fills them. None: the model of the
        best trial alone is kept, beside `study`.
      prune: whether a trial is ended early that is below the median of the others at the same epoch.
      quiet: whether no line is shown for each trial.
      model: the name of the encoder; None: LightGCN, or what the space has.
      **settings: of all trials, as for `Model`.

    Raises:
      InputError: the space, settings and data do not go together, the study is that of another search, or optuna is
        not installed (`pip install 'lgcn-jax[search]'`).
      WriteError: the study, a run or a model could not be written.
    """
    require_interactions(interactions)
    require_devices()
    fixed = ({} if model is None else {"model": model}) | settings
    for name in settings.keys() & fields(DataSettings).keys():
        raise InputError(name, format_value(settings[name]), "nothing here: it is stated where data are read")
    drawn = spaces.read_space(space, fixed_settings(interactions, fixed))
    kept = None if study is None else storages.check_study_path(study)
    folder = None if workdir is None else paths.as_path(workdir, "workdir")
    plan = SearchPlan(drawn, kept, trials, timeout, batch, prune, folder)
    say = (lambda line: None) if quiet else _print_line
    return run_interruptibly(lambda request: run_search(plan, interactions, request, say))


def fixed_settings(interactions: Interactions, stated: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of all trials: those stated, those of the data, and the part on which trials are judged.

    Raises:
      InputError: that part is stated as another one, or there is none.
    """
    split = stated.get("eval_split", "valid")
    if split != "valid":
        expected = "valid: a search chooses on the validation part, and scores the test part once, of the best trial"
        raise InputError("--eval_split", split, expected)
    if not interactions.valid.nnz:
        expected = "data with one: a higher --validation_fraction holds it out where they are read"
        raise InputError("--eval_split", "valid, which is empty", expected)
    source = interactions.source or DataSettings(dataset=interactions.name)
    defaults = {name: field.default for name, field in fields(DataSettings).items()}
    data = {name: value for name, value in dataclasses.asdict(source).items() if value != defaults[name]}
    if data.get("data_dir") == str(Path(DataSettings.data_dir).absolute()):
        del data["data_dir"]
    return data | dict(stated) | {"eval_split": "valid"}


def run_search(
    plan: SearchPlan, interactions: Interactions, request: StopRequest, say: Callable[[str], None]
) -> SearchResult:
    """The search, until its trials are over, time is, or a signal comes; `say` is given a line for each trial.

    Raises:
      InputError, WriteError: as `search`.
    """
    configs = _check_space(plan.space, interactions)
    metric, seed = configs[0].evaluation.watched_metric, configs[0].training.seed
    facts = plan.space.facts() | {"metric": metric, "content_sha256": interactions.content_hash()}
    epochs = max(config.training.epochs for config in configs)
    end = None if plan.timeout is None else time.monotonic() + plan.timeout
    request.check()
    with open_study(plan.study, plan.space, facts, seed, epochs, plan.prune) as study:
        keeper = BestModelKeeper(study, plan.study, metric)
        trainer = TrialTrainer(interactions, study, metric, plan.workdir)
        request.begin_training()
        while not request.signal and (end is None or time.monotonic() < end):
            asked = study.claim(plan.batch, plan.trials)
            if not asked:
                break
            with contextlib.closing(_train_trials(trainer, study, asked)) as outcomes:
                for outcome in outcomes:
                    _tell_outcome(outcome, study, keeper, request)
                    say(_trial_line(outcome, study, metric, plan))
        status = _search_status(study, plan, request)
        if status == "completed" or (status == "out of time" and not study.num_running()):
            keeper.score_test(interactions, configs[0].evaluation.top_k)
        return _make_result(plan, interactions, study, keeper, metric, status)


def _check_space(space: Space, interactions: Interactions) -> list[Config]:
    """The settings of examples of the space, each of which can be trained on these data.

    Raises:
      InputError: one of them cannot.
    """
    configs = []
    for settings in space.examples():
        configs.append(Config.of(**settings))
        try:
            check_config(configs[-1], interactions)
            estimate.require_memory(configs[-1], interactions)
        except InputError as error:
            flag, found, expected = error.parts
            if flag.strip("-") in COMMON:
                raise
            picked = ", ".join(f"{name}={format_value(value)}" for name, value in space.pick_searched(settings).items())
            raise InputError(f"{space.where}, {picked}", f"{flag} {found}", expected) from None
    return configs


def _train_trials(trainer: TrialTrainer, study: Study, asked: list[ClaimedTrial]) -> Generator[Outcome, None, None]:
    """The outcomes of the trials; those that come to none, whyever, are left to do."""
    left = {each.trial.number: each for each in asked}
    try:
        for outcome in trainer.train(asked):
            yield outcome
            del left[outcome.claimed.trial.number]
    finally:
        for each in left.values():
            with contextlib.suppress(Exception):  # another error is on its way, or the trial was told of already
                study.fail(each.trial)


def _tell_outcome(outcome: Outcome, study: Study, keeper: BestModelKeeper, request: StopRequest) -> None:
    """Tells the study what became of a trial."""
    if outcome.ended == INTERRUPTED:
        request.signal = request.signal or signal.SIGINT  # which `fit` has answered
        study.fail(outcome.claimed.trial)
    elif outcome.ended == COMPLETED:
        keeper.complete(outcome)
    else:
        study.prune(outcome.claimed.trial, outcome.facts())


def _trial_line(outcome: Outcome, study: Study, metric: str, plan: SearchPlan) -> str:
    """What is shown of a trial."""
    head = f"trial {outcome.claimed.trial.number} {outcome.ended} ({len(study.finished_trials())} of {plan.trials})"
    reached = f"{metric} {outcome.best[metric]:.4f} at epoch {outcome.best['epoch']}, " if outcome.best else ""
    picked = plan.space.pick_searched(outcome.claimed.settings)
    drawn = " ".join(f"{name}={format_table_value(value)}" for name, value in picked.items())
    return f"{head}: {reached}{outcome.seconds:.1f} s; {drawn}" + (f"; {outcome.reason}" if outcome.reason else "")


def _search_status(study: Study, plan: SearchPlan, request: StopRequest) -> str:
    if request.signal:
        return "interrupted"
    if len(study.finished_trials()) >= plan.trials:
        return "completed"
    return "shared" if study.num_running() else "out of time"


def _make_result(
    plan: SearchPlan, interactions: Interactions, study: Study, keeper: BestModelKeeper, metric: str, status: str
) -> SearchResult:
    return SearchResult(
        dataset=interactions.name,
        metric=metric,
        status=status,
        wanted=plan.trials,
        trials=tuple(_to_search_trial(trial, plan.space, keeper, metric) for trial in study.finished_trials()),
        importance=study.importance(),
        test=keeper.test_scores(),
        settings=plan.space.fixed,
        environment=run_folders.describe_common_environment(interactions)
        | {"optuna": storages.import_optuna().__version__},
        model=keeper.best_model(interactions) if plan.study is None else None,
    )


def _to_search_trial(
    trial: "optuna.trial.FrozenTrial", space: Space, keeper: BestModelKeeper, metric: str
) -> SearchTrial:
    known = trial.user_attrs
    best = known.get(BEST, {})
    return SearchTrial(
        number=trial.number,
        ended=known["ended"],
        value=best.get(metric),
        epoch=best.get("epoch"),
        settings={name: space.dimensions[name].from_stored(value) for name, value in trial.params.items()},
        metrics={name: value for name, value in best.items() if "@" in name},
        seconds=known["seconds"],
        reason=known.get("reason", ""),
        folder=keeper.model_folder(trial),
    )


def _print_line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
