"""How far a run is, as pure functions of its settings and its progress: what is due, and what an evaluation changes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lgcn_jax.config import Config
from lgcn_jax.training.state import Progress, metric_names


def is_finished(config: Config, progress: Progress) -> bool:
    """Whether nothing is left to do: all epochs are done, or the watched metric has stopped rising.

    Never within an epoch: one that was begun is finished.
    """
    patience = config.training.early_stopping_patience
    return progress.step == 0 and (
        progress.epoch >= config.training.epochs or (patience > 0 and progress.stale >= patience)
    )


def progress_for_resume(config: Config, progress: Progress) -> Progress:
    """A place to go on from, without the evaluation that was due only because the run once ended there."""
    return progress if is_finished(config, progress) else dataclasses.replace(progress, final=None, final_best=False)


def evaluation_due(config: Config, progress: Progress) -> bool:
    """After every `eval_every` epochs and after the last, whatever makes it the last; once."""
    epoch, latest = progress.epoch, progress.latest
    if config.evaluation.eval_split == "none" or progress.step or not epoch or (latest and latest["epoch"] == epoch):
        return False
    return epoch % config.evaluation.eval_every == 0 or is_finished(config, progress)


def save_due(config: Config, progress: Progress) -> bool:
    """After every `save_every` epochs and at a new best of the scheduled evaluations; never within an epoch."""
    new_best = progress.best is not None and progress.best["epoch"] == progress.epoch
    return progress.step == 0 and (progress.epoch % config.training.save_every == 0 or new_best)


def after_work(progress: Progress, seconds: float, **changes) -> Progress:
    """The progress after `seconds` of work; those of an evaluation don't count into any epoch."""
    epoch_seconds = progress.epoch_seconds + (seconds if "step" in changes else 0.0)
    return dataclasses.replace(progress, seconds=progress.seconds + seconds, epoch_seconds=epoch_seconds, **changes)


def epoch_record(
    config: Config, progress: Progress, steps: int, sums: Mapping[str, Any], rate: float
) -> dict[str, Any]:
    """The line of metrics.jsonl about the epoch whose last step is done.

    Args:
      progress: before the epoch is counted.
      steps: of the epoch.
      sums: of the metrics of its steps, on the host.
      rate: the step size in force.
    """
    means = {name: float(sums[name]) / steps for name in ("loss", *metric_names(config.loss))}
    seconds = round(progress.epoch_seconds, 4)
    return {"epoch": progress.epoch + 1, "split": "train", **means, "learning_rate": rate, "seconds": seconds}


def evaluation_record(config: Config, epoch: int, means: dict[str, float], seconds: float) -> dict[str, Any]:
    """The line of metrics.jsonl about an evaluation."""
    return {"epoch": epoch, "split": config.evaluation.eval_split, **means, "seconds": round(seconds, 4)}


def after_evaluation(config: Config, progress: Progress, row: dict[str, Any], seconds: float) -> Progress:
    """The progress after an evaluation, of which `row` is the line.

    One that is due only because the run ends here counts for nothing, and is remembered apart, so that a run continued
    with more epochs is the longer run.
    """
    watched = config.evaluation.watched_metric
    improved = progress.best is None or row[watched] > progress.best[watched]
    if progress.epoch % config.evaluation.eval_every:
        return after_work(progress, seconds, final=row, final_best=improved)
    changes = {"last": row, "stale": 0 if improved else progress.stale + 1}
    return after_work(progress, seconds, **changes | ({"best": row} if improved else {}))
