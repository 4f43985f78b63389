"""A run in its folder: what it tells is recorded, its end is written down."""

import time
from pathlib import Path
from typing import Any

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices import processes
from lgcn_jax.devices.processes import is_primary
from lgcn_jax.devices.profile import Profile
from lgcn_jax.errors import InputError
from lgcn_jax.runs import inference, integrity, raw_ids, selection, usage, workdir
from lgcn_jax.runs.checkpoint import Checkpoints
from lgcn_jax.runs.display import Display
from lgcn_jax.runs.reporter import Reporter
from lgcn_jax.runs.scoring import score_checkpoint
from lgcn_jax.system.signals import StopRequest
from lgcn_jax.training import loop
from lgcn_jax.training.health import failed_result
from lgcn_jax.training.inference import with_inference_settings
from lgcn_jax.training.loop import Callback, NonFiniteError
from lgcn_jax.training.setup import Setup
from lgcn_jax.training.state import Snapshot


class Recorder(Reporter):
    """Writes what a run tells into its folder, too; in several processes, what ends one ends all."""

    def __init__(
        self,
        folder: workdir.RunFolder,
        checkpoints: Checkpoints,
        shown: Display,
        profile: Profile,
        request: StopRequest,
        setup: Setup,
        callbacks: tuple[Callback, ...] = (),
    ):
        super().__init__(shown, request, callbacks)
        self._folder, self._checkpoints, self._profile, self._setup = folder, checkpoints, profile, setup

    def log(self, row: dict[str, Any]) -> None:
        self._checkpoints.check()  # a save that failed in the background is told now, not at the next one
        self._folder.log(row)
        super().log(row)

    def limit_block(self, planned: int) -> int:
        return super().limit_block(self._profile.begin_block(planned))

    def progress(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self._profile.end_block()
        super().progress(epoch, step, steps, loss)

    def save(self, snapshot: Snapshot, is_scheduled: bool) -> None:
        facts = {
            "config": self._folder.config.to_json(),
            "content_sha256": self._folder.environment["dataset"]["content_sha256"],
            "environment": self._folder.environment,
            "log": list(self._folder.rows),
        }
        # Copies, since the next step is given the memory of the originals.
        with processes.time_limit("at the copy of a checkpoint"):
            copies = Snapshot(*self._setup.to_node_order((snapshot.state, snapshot.totals)), snapshot.progress)
        self._checkpoints.save(copies, self._setup.steps_per_epoch, facts, is_scheduled)

    def should_stop(self) -> bool:
        told = processes.max_over_processes("at a signal", self._request.signal)  # one process's signal ends all
        self._request.signal = self._request.signal or told  # which may have come while we waited
        return told != 0 or processes.max_over_processes("at the callbacks", int(self._ended)) != 0


def run_training(
    folder: Path,
    setup: Setup,
    interactions: Interactions,
    ready: loop.CompiledRun,
    rows: list[dict[str, Any]],
    shown: Display,
    profile: Profile,
    request: StopRequest,
    callbacks: tuple[Callback, ...] = (),
    warm_start: dict[str, str] | None = None,
    score_test: bool = True,
) -> dict[str, Any]:
    """Trains from where the run stands to the end, an interruption or a failure, and writes the run folder.

    Args:
      rows: the lines logged so far.
      callbacks: called with each line that is logged.
      warm_start: what the run began with, for its records.
      score_test: whether a run whose best epoch is chosen on the validation part scores it on the test part.

    Returns:
      What result.json holds; its 'status' is 'completed', 'interrupted' or 'failed'.

    Raises:
      WriteError: a file could not be written; the last checkpoint is untouched.
    """
    config, started, begun = setup.config, time.perf_counter(), ready.snapshot.progress
    whole = begun.epoch == begun.step == 0
    width = setup.vector_width(ready.snapshot.state.params)
    environment = workdir.describe_environment(config, interactions, warm_start)
    kind = workdir.RunFolder if is_primary() else workdir.NullRunFolder
    with kind(folder, config, environment, rows, raw_ids.collect_raw_ids(interactions)) as run_folder:
        try:
            with Checkpoints(folder / "checkpoints", config.evaluation.watched_metric) as checkpoints:
                recorder = Recorder(run_folder, checkpoints, shown, profile, request, setup, callbacks)
                result = loop.train(setup, ready, recorder).to_json()
        except NonFiniteError as error:
            result = failed_result(run_folder.rows, config.evaluation.watched_metric, str(error))
        if result["status"] == "completed" and config.inference.chosen_on_validation:
            config, chosen = _choose_inference(config, interactions, folder)
            result |= chosen
        chosen_on_valid = config.evaluation.eval_split == "valid" and interactions.test.nnz > 0
        if result["status"] == "completed" and chosen_on_valid and score_test:
            result |= _score_test_part(config, interactions, folder)
        elif result["status"] == "completed" and is_primary():
            best = result["best"] or {"epoch": result["epochs"]}  # without evaluations, the last
            result |= _lost_best_facts(folder / "checkpoints", best["epoch"] * setup.steps_per_epoch, config)
        result |= {"vector_width": width, "usage": usage.measure_usage(request.begun, started, whole)}
        run_folder.finish(result)
    return result


def _lost_best_facts(checkpoints: Path, best: int, config: Config) -> dict[str, Any]:
    """What result.json says where the best checkpoint, of step `best`, is gone."""
    if best in integrity.checkpoint_steps(checkpoints):
        return {}
    return {"missing": selection.select_checkpoint(checkpoints, "best", config.evaluation.watched_metric).missing}


def _choose_inference(config: Config, interactions: Interactions, folder: Path) -> tuple[Config, dict[str, Any]]:
    """The settings with what is chosen on the validation part, and what result.json says of it.

    Where no checkpoint can be read the choice is left for another time, and the next step says what is missing.
    """
    try:
        found = inference.choose_inference_settings(config, interactions, folder)
    except InputError:
        return config.replace(
            **{name: inference.AS_TRAINED[name] for name in config.inference.chosen_on_validation}
        ), {}
    return with_inference_settings(config, found), {inference.KEY: found}


def _score_test_part(config: Config, interactions: Interactions, folder: Path) -> dict[str, Any]:
    """What result.json says of the test part, scored from the best checkpoint; or from the best that is left, and then
    `missing` says so."""
    try:
        scores, choice = score_checkpoint(config, interactions, folder, "best", "test")
    except InputError as error:
        return {"missing": f"the test part was not scored: {error}"}
    return {"test": scores} | ({"missing": choice.missing} if choice.missing else {})
