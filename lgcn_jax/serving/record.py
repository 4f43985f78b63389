"""What a solved model leaves beside itself, in the form of a run's result.json: so that one reader knows both."""

from pathlib import Path
from typing import Any

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.runs import workdir
from lgcn_jax.serving import storage
from lgcn_jax.serving.recommender import Recommender
from lgcn_jax.serving.vectors import VectorModel
from lgcn_jax.system import paths


def solved_run_record(
    model: Recommender,
    interactions: Interactions,
    settings: dict[str, Any],
    metrics_by_split: dict[str, dict[str, float]],
    fit_seconds: float,
    usage: dict[str, Any],
) -> dict[str, Any]:
    """The record of a model that was fitted on the data set.

    >>> import lgcn_jax as lg
    >>> data = lg.read(([1, 2, 3, 3], [7, 7, 7, 8]), test=([1], [8]))
    >>> model = lg.Popularity().fit(data)
    >>> metrics = {"test": {"recall@1": 1.0, "seconds": 0.1}}
    >>> made = solved_run_record(model, data, {"model": "popularity"}, metrics, 0.2, {})
    >>> made["best"], round(made["seconds"], 1), made["vector_width"]
    ({'epoch': 0, 'split': 'test', 'recall@1': 1.0, 'seconds': 0.1}, 0.3, None)

    Args:
      model: the model.
      interactions: the data set.
      settings: those of the data set, of the evaluation and of the model, by name.
      metrics_by_split: for each part that was evaluated its metrics, and the `seconds` that the evaluation took.
      fit_seconds: what the solving took.
      usage: of `lgcn_jax.runs.usage`.

    Returns:
      `best` and `last`: the metrics of the part evaluated, None where none was; `test` where that was the validation
      part, as in a run; `seconds` of solving and evaluating. Compilation is part of these, so `compile_seconds` is
      None. There are no epochs: 0 of them were made, and `best` names epoch 0.
    """
    rows = {split: {"epoch": 0, "split": split} | means for split, means in metrics_by_split.items()}
    first = next(iter(rows.values()), None)
    return {
        "status": "completed",
        "epochs": 0,
        "best": first,
        "last": first,
        **({"test": rows["test"]} if len(rows) > 1 else {}),
        "fit_seconds": round(fit_seconds, 3),
        "seconds": round(fit_seconds + sum(means["seconds"] for means in metrics_by_split.values()), 3),
        "compile_seconds": None,
        "vector_width": model.vector_width if isinstance(model, VectorModel) else None,
        "usage": usage,
        "config": settings,
        "environment": workdir.describe_common_environment(interactions),
    }


def save_with_record(model: Recommender, folder: str | Path, record: dict[str, Any]) -> None:
    """As the model's own `save`, with its record beside it.

    Raises:
      InputError: the folder holds something else, or the model was not fitted.
    """
    model._require_fitted()
    storage.save(paths.as_path(folder, "folder"), *model._state(), model._raw_ids(), record)
