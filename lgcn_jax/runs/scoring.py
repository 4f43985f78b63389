"""The metrics of a run's checkpoint on a part of its data set."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices import processes
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import details, metrics, ranking, results
from lgcn_jax.evaluation.results import EvaluationResult
from lgcn_jax.runs import checkpoint, integrity, selection
from lgcn_jax.runs.integrity import DamagedError
from lgcn_jax.runs.resume import require_same_dataset, stored_settings
from lgcn_jax.training.placement import Placement
from lgcn_jax.training.programs import make_evaluate
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.state import HostParameters


def score_checkpoint(
    config: Config, interactions: Interactions, folder: Path, which: str, split: str
) -> tuple[dict[str, Any], selection.CheckpointSelection]:
    """The metrics of a run's 'best' or 'latest' checkpoint on a part of its data set, with epoch and split; and which
    checkpoint that is, with what was lost where it is not the very one that was asked for."""
    setup = build_setup(config.replace(eval_split=split), interactions, trains=False)
    sums, epoch, choice = _measure_checkpoint(setup, interactions, folder, which, ranking.chunk_sums)
    scores = ranking.mean_metrics(sums, setup.task, config.evaluation.top_k)
    return {"epoch": epoch, "split": split} | scores, choice


def score_in_detail(
    config: Config,
    interactions: Interactions,
    folder: Path,
    which: str,
    split: str,
    users: np.ndarray | None = None,
    wanted: Sequence[str] = metrics.NAMES,
) -> tuple[EvaluationResult, int, selection.CheckpointSelection]:
    """As `score_checkpoint`, with all that `results.evaluate` finds, which explains its arguments; and the epoch."""
    results.require_metrics(wanted, "metrics")
    results.require_evaluated_users(interactions, split, users, "users")
    setup = build_setup(config.replace(eval_split=split), interactions, trains=False, users=users)
    found, epoch, choice = _measure_checkpoint(setup, interactions, folder, which, details.chunk_details)
    ks = config.evaluation.top_k
    return results.result_from_details(found, interactions, split, ks, users, wanted), epoch, choice


def _measure_checkpoint(
    setup: Setup, interactions: Interactions, folder: Path, which: str, measure: Callable
) -> tuple[Any, int, selection.CheckpointSelection]:
    """On the host, what `measure` finds of a run's 'best' or 'latest' checkpoint; its epoch, and which that is."""
    choice, found = load_selected_checkpoint(folder, which, setup, interactions)
    epoch = found.snapshot.progress.epoch
    with processes.time_limit("at the scoring of a checkpoint"):
        params = setup.to_row_order(found.snapshot.state.params)
        del found  # the optimizer's state
        measured = jax.jit(make_evaluate(setup, setup.graphdef(), measure))(params, setup.adjacency, setup.task)
        return jax.device_get(measured), epoch, choice


def load_final_embeddings(
    setup: Setup, interactions: Interactions, folder: Path, which: str = "best"
) -> tuple[HostParameters, np.ndarray, selection.CheckpointSelection]:
    """Host: the parameters and the final embeddings [num_nodes, d] of a run's checkpoint, and which that is."""
    choice, found = load_selected_checkpoint(folder, which, setup, interactions)
    params = setup.to_row_order(found.snapshot.state.params)
    return setup.parameters(params), setup.final_embeddings(params), choice


def load_selected_checkpoint(
    folder: Path, which: str, setup: Placement, interactions: Interactions | None
) -> tuple[selection.CheckpointSelection, checkpoint.Checkpoint]:
    """The checkpoint that the first process chooses, loaded; chosen anew where a run beside us has removed it since.

    One of other data than `interactions` is refused; None: of whatever data.
    """
    checkpoints, watched = folder / "checkpoints", stored_settings(folder).evaluation.watched_metric

    def choose() -> selection.CheckpointSelection:
        if interactions is not None:
            require_same_dataset(checkpoints, interactions)
        return selection.select_checkpoint(checkpoints, which, watched)

    while True:
        choice = selection.CheckpointSelection(*processes.broadcast_from_first("at the choice of a checkpoint", choose))
        meta, trouble = _read_on_all(
            "after a checkpoint's meta data", checkpoint.read_metadata, checkpoints, choice.step
        )
        if not trouble:
            load = checkpoint.load, checkpoints, choice.step, meta, setup.abstract_state()
            loaded, trouble = _read_on_all("after a checkpoint's arrays", *load)
        if not trouble:
            return choice, loaded
        there = processes.broadcast_from_first(
            "after what cannot be loaded", lambda: integrity.checkpoint_steps(checkpoints)
        )
        if choice.step in there:
            raise InputError(checkpoints, f"what cannot be loaded ({trouble})", "a whole checkpoint")


def _read_on_all(barrier: str, read: Callable, *arguments) -> tuple[Any, str]:
    """What this process reads; and '', or why one of the processes could not read it."""
    try:
        with processes.time_limit(barrier):
            found, trouble = read(*arguments), ""
    except (DamagedError, InputError) as error:
        found, trouble = None, str(error)
    return found, next(filter(None, processes.all_gather(barrier, trouble)), "")
