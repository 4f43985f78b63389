"""An evaluation of a population: member after member as of a run, and what each makes of it."""

import dataclasses
import time
from typing import Any

import jax
import numpy as np

from lgcn_jax.evaluation import ranking
from lgcn_jax.optimization import OptimizerState
from lgcn_jax.training.health import NonFiniteError, require_finite_metrics
from lgcn_jax.training.loop import observe_metric
from lgcn_jax.training.population_chunks import map_chunks
from lgcn_jax.training.population_programs import PopulationPrograms
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.population_state import FAILED, PopulationListener, PopulationSnapshot, running_chunks
from lgcn_jax.training.progress import after_evaluation, evaluation_record
from lgcn_jax.training.state import TrainState


def evaluate_members(
    population: PopulationSetup,
    programs: PopulationPrograms,
    snapshot: PopulationSnapshot,
    listener: PopulationListener,
) -> PopulationSnapshot:
    """Evaluates the members that are running, tells their schedules, and keeps the states of those with a new best."""
    setup, configs, begun = population.setup, population.members.configs, time.perf_counter()
    top_k = population.members.base.evaluation.top_k

    def evaluate(chunk: int) -> Any:
        return jax.device_get(programs.evaluate(snapshot.chunks[chunk].state.params, setup.adjacency, setup.task))

    sums = map_chunks(evaluate, running_chunks(population, snapshot))
    share, changed, rows = (time.perf_counter() - begun) / len(snapshot.running), {}, {}
    for number in snapshot.running:
        member, (chunk, place) = snapshot.members[number], population.locate(number)
        means = ranking.mean_metrics(sums[chunk][place], setup.task, top_k)
        try:
            require_finite_metrics(means, snapshot.epoch, setup.steps_per_epoch)
        except NonFiniteError as error:
            changed[number] = dataclasses.replace(member, status=FAILED, error=str(error))
            continue
        rows[number] = evaluation_record(configs[number], snapshot.epoch, means, share)
        listener.log(number, rows[number])
        progress = after_evaluation(configs[number], member.progress, rows[number], share)
        improved = progress.best is rows[number]
        changed[number] = dataclasses.replace(member, progress=progress, best=progress if improved else member.best)
    listener.all_logged()
    snapshot = snapshot.replace_members(changed)
    return (
        snapshot
        if snapshot.epoch % population.members.base.evaluation.eval_every
        else _apply_evaluation(population, programs, snapshot, rows)
    )


def _apply_evaluation(
    population: PopulationSetup,
    programs: PopulationPrograms,
    snapshot: PopulationSnapshot,
    rows: dict[int, dict[str, Any]],
) -> PopulationSnapshot:
    """After a scheduled evaluation, of which `rows` are the lines: the arrays that it changes."""
    chunks = list(snapshot.chunks)
    for chunk in {population.locate(number)[0] for number in rows}:
        here = {number: row for number, row in rows.items() if population.locate(number)[0] == chunk}
        state = _observe_plateau(population, chunks[chunk].state, here)
        improved = np.zeros(population.width, bool)
        improved[[population.locate(n)[1] for n, row in here.items() if snapshot.members[n].progress.best is row]] = (
            True
        )
        best = programs.keep(jax.device_put(improved), state, chunks[chunk].best)
        chunks[chunk] = chunks[chunk]._replace(state=state, best=best)
    return snapshot._replace(chunks=tuple(chunks))


def _observe_plateau(population: PopulationSetup, state: TrainState, rows: dict[int, dict[str, Any]]) -> TrainState:
    """The state of a chunk whose members' schedules have seen these lines."""
    if population.members.base.observed_metric is None:
        return state
    before = jax.device_get(state.optimizer.plateau)
    after = [jax.tree.map(lambda leaf, at=place: leaf[at], before) for place in range(population.width)]
    for number, row in rows.items():
        place = population.locate(number)[1]
        one = OptimizerState((), jax.device_put(after[place]))
        after[place] = jax.device_get(observe_metric(population.members.configs[number], one, row).plateau)
    plateau = jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *after))
    return state._replace(optimizer=state.optimizer._replace(plateau=plateau))
