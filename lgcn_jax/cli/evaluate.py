"""`evaluate`: scores a run's checkpoint, or a baseline."""

import sys
from pathlib import Path

from absl import flags

from lgcn_jax.baselines import BASELINES
from lgcn_jax.cli import solve
from lgcn_jax.cli.command import (
    COMPILATION_CACHE,
    DATA,
    PLUGIN,
    Command,
    say,
    warn,
    with_absolute_paths,
    workdir_of,
)
from lgcn_jax.cli.details import FLAGS as DETAILS
from lgcn_jax.cli.details import DetailFlags
from lgcn_jax.cli.flags import stated_settings
from lgcn_jax.config import PARTS, RELOCATABLE
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices import mesh
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.settings import Registry
from lgcn_jax.system.signals import StopRequest

ONE_DEVICE = "data:1,nodes:1"
OF_A_RUN = (*RELOCATABLE, "top_k")  # what may be stated anew of a run
HOW = ("propagation", "mesh", "inference_weights", "popularity_prior")  # what only a run has


def evaluate(values: flags.FlagValues, request: StopRequest) -> int:
    """Prints the metrics of a run's checkpoint, or of a baseline."""
    del request
    mesh.require_devices()
    model, split = values["model"].value, values["eval_split"].value or "test"
    if split == "none":
        raise InputError("--eval_split", "none", "one of valid, test")
    if bool(model) == bool(values["workdir"].value):
        raise InputError("evaluate", "both" if model else "neither", "either --workdir or --model")
    details = DetailFlags.of(values)
    return _evaluate_baseline(values, model, split, details) if model else _evaluate_run(values, split, details)


def _evaluate_baseline(values: flags.FlagValues, model: str, split: str, details: DetailFlags | None) -> int:
    chosen = BASELINES[model]
    for name in ("checkpoint", *HOW):
        if values[name].present:
            raise InputError(f"--{name}", "a flag without effect on --model", "--workdir")
    made = chosen(**solve.own_settings(values, model))
    interactions, ks, _ = solve.load_for_evaluation(values)
    return _print_scores(model, made.fit(interactions), interactions, split, ks, details)


def _evaluate_saved(values: flags.FlagValues, folder: Path, split: str, details: DetailFlags | None) -> int:
    from lgcn_jax.serving.loading import load_model

    for name in ("checkpoint", *HOW, *solve.baseline_setting_names()):
        if values[name].present:
            raise InputError(f"--{name}", values[name].value, "nothing beside a saved model, which is whole")
    if not values["dataset"].present:
        raise InputError("--dataset", "nothing", "the data set on which a saved model is evaluated")
    interactions, ks, _ = solve.load_for_evaluation(values)
    model = load_model(folder)
    model.require_same(interactions)
    return _print_scores(type(model).__name__, model.scorer, interactions, split, ks, details)


def _print_scores(
    label: str, scorer: Scorer, interactions: Interactions, split: str, ks: tuple[int, ...], details: DetailFlags | None
) -> int:
    from lgcn_jax.evaluation import ranking, results
    from lgcn_jax.evaluation.task import EvaluationTask
    from lgcn_jax.runs import display

    if details is not None:
        users = details.users(interactions, split)
        details.show(label, results.evaluate(scorer, interactions, split, ks, users, details.metrics), interactions)
        return 0
    scores = ranking.evaluate(scorer, EvaluationTask.of(interactions, split), ks)
    say(display.format_table({f"{interactions.name}, {split} part": {}, label: scores}))
    return 0


def _evaluate_run(values: flags.FlagValues, split: str, details: DetailFlags | None) -> int:
    from lgcn_jax.runs import display, inference, resume, scoring, selection
    from lgcn_jax.serving import storage
    from lgcn_jax.training.setup import check_config

    folder, which = workdir_of(values), values["checkpoint"].value
    if storage.is_model(folder):
        return _evaluate_saved(values, folder, split, details)
    if which not in selection.CHOICES:
        raise InputError("--checkpoint", repr(which), f"one of {', '.join(selection.CHOICES)}")
    for name in (*(name for name in DATA if name not in OF_A_RUN), *solve.baseline_setting_names()):
        if values[name].present:
            raise InputError(f"--{name}", values[name].value, "nothing beside --workdir, which has its own")
    config = resume.stored_settings(folder)
    if config is None:
        raise InputError(f"--workdir={folder}", "no run", "a folder that train has filled")
    stated = {"mesh": ONE_DEVICE} | with_absolute_paths(
        stated_settings(values, OF_A_RUN)
    )  # whatever the run was trained on
    unset = {"plateau_metric": ""} if "plateau_metric" in config.to_dict() else {}  # of other lists, perhaps
    ranked = {name: stated.pop(name) for name in inference.AS_TRAINED if name in stated}
    config = config.replace(**stated, **unset)
    interactions = datasets.load(config.data, progress=sys.stderr.isatty())
    config, notes = inference.resolve_inference_settings(config, ranked, interactions, folder, which)
    config = config.replace(eval_split=split)
    check_config(config, interactions)
    where = config, interactions, folder, which, split
    if details is None:
        scores, choice = scoring.score_checkpoint(*where)
        epoch = scores["epoch"]
    else:
        found, epoch, choice = scoring.score_in_detail(*where, details.users(interactions, split), details.metrics)
    warn(f"{folder}: {note}" for note in filter(None, [*notes, *choice.notes, choice.missing]))
    label = f"epoch {epoch} ({'best left' if choice.missing else which})"
    if details is None:
        say(display.format_table({f"{interactions.name}, {split} part": {}, label: scores}))
    else:
        details.show(label, found, interactions)
    return 0


COMMAND = Command(
    evaluate,
    "scores a run's checkpoint, or a baseline",
    lambda: (*DATA, "top_k", "eval_split", *HOW, *solve.baseline_setting_names()),
    {
        "workdir": ("", "the folder of the run, or of a model that was saved, which needs --dataset"),
        "checkpoint": ("best", "which checkpoint of the run: best, latest (default: best)"),
        "model": ("", f"a baseline in place of a run: {', '.join(BASELINES)}"),
        **DETAILS,
        **PLUGIN,
        **COMPILATION_CACHE,
    },
    {part: kind for part, kind in PARTS.items() if not isinstance(kind, Registry)} | {"baseline": BASELINES},
    {
        "eval_split": "the part that is scored: valid, test (default: test)",
        "top_k": "list lengths k of the metrics (default: those of the run; of a baseline 20)",
        "mesh": f"devices, as data:D,nodes:M: users are cut over D, items over M of them (default: {ONE_DEVICE})",
        "propagation": "layout of the adjacency matrix (default: that of the run)",
    },
)
