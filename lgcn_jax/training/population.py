"""The story of a population: as that of a run, for many members at once that are always at the same step.

Members go in chunks of one width through the same compiled programs, a block of steps at a time. A member that has
ended, by early stopping, by a callback or since its numbers went bad, keeps its state while the others go on; so what
it leaves, and what it tells, is that of its run alone.
"""

import dataclasses
import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.optimization import OptimizerState
from lgcn_jax.training.estimate import TIMED_STEPS
from lgcn_jax.training.health import NonFiniteError, require_finite
from lgcn_jax.training.loop import BlockTimer
from lgcn_jax.training.members import Members
from lgcn_jax.training.population_chunks import best_width
from lgcn_jax.training.population_evaluation import evaluate_members
from lgcn_jax.training.population_programs import PopulationPrograms, make_initial, require_traceable
from lgcn_jax.training.population_setup import PopulationSetup, require_suitable, require_supported
from lgcn_jax.training.population_state import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    RUNNING,
    MemberChunk,
    MemberProgress,
    PopulationListener,
    PopulationSnapshot,
    member_snapshot,
    split_by_member,
)
from lgcn_jax.training.population_steps import begin_epoch, epoch_keys, train_block
from lgcn_jax.training.progress import epoch_record, evaluation_due, is_finished
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.state import Totals


class ReadyPopulation(NamedTuple):
    """A population that can begin at once: where it stands, its programs, and the seconds that compilation took."""

    snapshot: PopulationSnapshot
    programs: PopulationPrograms
    compile_seconds: float


class PopulationResult(NamedTuple):
    """How a population ended: 'completed', 'interrupted' or 'failed', and where."""

    status: str
    snapshot: PopulationSnapshot
    compile_seconds: float


def build_population(members: Members, interactions: Interactions, width: int | None = None) -> PopulationSetup:
    """Puts the data of a population on the device; members go in chunks of the best width unless one is stated.

    Raises:
      InputError: as `build_setup`; the settings ask for what populations do not have; or members differ in a setting
        that decides the compiled program.
    """
    require_supported(members)
    require_suitable(members, interactions)
    population = PopulationSetup(build_setup(members.base, interactions), members, width or best_width(len(members)))
    require_traceable(population)
    return population


def compile_population(population: PopulationSetup, start: PopulationSnapshot | None = None) -> ReadyPopulation:
    """Compiles the programs of a population from `start`, or from its beginning."""
    begun = time.perf_counter()
    snapshot = start or initial_snapshot(population)
    programs = PopulationPrograms.compile(population, snapshot.chunks[0])
    return ReadyPopulation(snapshot, programs, time.perf_counter() - begun)


def initial_snapshot(population: PopulationSetup) -> PopulationSnapshot:
    """The place before the first step."""
    node, initial = (
        population.setup.put_row_values(population.setup.order.node_of_row),
        jax.jit(make_initial(population)),
    )
    states = [initial(population.traced_settings(number), node) for number in range(population.num_chunks)]
    evaluates = population.setup.task is not None
    chunks = [
        MemberChunk(s, zero_totals(population), jax.tree.map(jnp.zeros_like, s) if evaluates else ()) for s in states
    ]
    return PopulationSnapshot(tuple(chunks), (MemberProgress(),) * len(population.members))


def zero_totals(population: PopulationSetup) -> Totals:
    """The totals of a chunk's members before the first step of an epoch."""
    totals = jax.device_get(population.setup.zero_totals())
    return jax.device_put(jax.tree.map(lambda leaf: np.full(population.width, leaf), totals))


def train_population(
    population: PopulationSetup, ready: ReadyPopulation, listener: PopulationListener | None = None
) -> PopulationResult:
    """Trains from where the population stands until every member has ended, or the listener wishes to stop.

    Args:
      population: made by `build_population`.
      ready: of `compile_population`; its arrays are donated.
      listener: told of every line, block and place worth keeping; saves are due after every `save_every` epochs, where
        the population is stopped, and at the end.
    """
    (snapshot, programs, compile_seconds), pace = ready, BlockTimer()
    listener, save_every = listener or PopulationListener(), population.members.base.training.save_every
    snapshot = _keep_ended(population, snapshot)
    if snapshot.step == 0 and snapshot.epoch and snapshot.running:
        snapshot = end_population_epoch(population, programs, snapshot, listener)
        if not snapshot.running:  # settings were changed so that it ends where it stands
            snapshot = _restore_ended(population, programs, snapshot)
            listener.save(snapshot, snapshot.epoch % save_every == 0)
    while snapshot.running:
        snapshot = train_population_epoch(population, programs, snapshot, listener, pace)
        if snapshot.step == 0:
            snapshot = end_population_epoch(population, programs, snapshot, listener)
        stopped, is_scheduled = listener.should_stop(), snapshot.step == 0 and snapshot.epoch % save_every == 0
        if stopped or is_scheduled or not snapshot.running:
            snapshot = _fail_non_finite(population, programs, _restore_ended(population, programs, snapshot))
            listener.save(snapshot, is_scheduled)
        if stopped:
            break
    return PopulationResult(_population_status(snapshot), snapshot, compile_seconds)


def _population_status(snapshot: PopulationSnapshot) -> str:
    """How a population ended: 'completed' where a member did and none is left, 'failed' where all have."""
    found = [member.status for member in snapshot.members]
    if RUNNING in found or set(found) <= {INTERRUPTED, FAILED}:
        return FAILED if set(found) == {FAILED} else INTERRUPTED
    return COMPLETED


def train_population_epoch(
    population: PopulationSetup,
    programs: PopulationPrograms,
    snapshot: PopulationSnapshot,
    listener: PopulationListener,
    pace: BlockTimer,
) -> PopulationSnapshot:
    """The rest of the epoch in hand, or the part of it until the listener stops the population. Donates `snapshot`."""
    epoch, steps = snapshot.epoch + 1, population.setup.steps_per_epoch
    snapshot = begin_epoch(population, programs, snapshot)
    keys = epoch_keys(population, programs, epoch)
    while snapshot.step < steps and snapshot.running:
        first, begun = snapshot.step, time.perf_counter()
        last = first + listener.limit_block(min(pace.steps, steps - first))
        snapshot = train_block(population, programs, snapshot, keys, jax.device_put((np.int32(first), np.int32(last))))
        told = split_by_member(population, [jax.device_get(chunk.totals) for chunk in snapshot.chunks])
        seconds = time.perf_counter() - begun
        snapshot = _record_steps(population, snapshot._replace(step=last), told, epoch, seconds)
        pace.record_block(last - first, seconds)
        if running := snapshot.running:
            mean = sum(float(told[number].sums["loss"]) for number in running) / len(running)
            listener.progress(epoch, last, steps, mean / last)
        if last < steps and listener.should_stop():
            return snapshot
    return _finish_epoch(population, snapshot, listener) if snapshot.running else snapshot


def _record_steps(
    population: PopulationSetup, snapshot: PopulationSnapshot, told: list[Totals], epoch: int, seconds: float
) -> PopulationSnapshot:
    """After a block of steps: those of the members whose numbers went bad have failed."""
    share, changed = seconds / len(snapshot.running), {}
    for number in snapshot.running:
        member = snapshot.members[number].after_work(share, step=snapshot.step)
        try:
            require_finite(told[number], population.members.base.loss, epoch, snapshot.step)
        except NonFiniteError as error:
            member = dataclasses.replace(member, status=FAILED, error=str(error))
        changed[number] = member
    return snapshot.replace_members(changed)


def _finish_epoch(
    population: PopulationSetup, snapshot: PopulationSnapshot, listener: PopulationListener
) -> PopulationSnapshot:
    """After the last step of an epoch: the members' lines are told, and their totals are zero again."""
    steps, changed = population.setup.steps_per_epoch, {}
    totals = split_by_member(population, [jax.device_get(chunk.totals) for chunk in snapshot.chunks])
    scales = split_by_member(population, [jax.device_get(chunk.state.optimizer.plateau) for chunk in snapshot.chunks])
    for number in snapshot.running:
        member, config = snapshot.members[number], population.members.configs[number]
        rate = config.build_optimizer().current_learning_rate(OptimizerState((), scales[number]))
        listener.log(number, epoch_record(config, member.progress, steps, totals[number].sums, rate))
        progress = dataclasses.replace(member.progress, epoch=snapshot.epoch + 1, step=0, epoch_seconds=0.0)
        changed[number] = dataclasses.replace(member, progress=progress)
    listener.all_logged()
    chunks = tuple(chunk._replace(totals=zero_totals(population)) for chunk in snapshot.chunks)
    return snapshot.replace_members(changed)._replace(chunks=chunks, epoch=snapshot.epoch + 1, step=0)


def end_population_epoch(
    population: PopulationSetup,
    programs: PopulationPrograms,
    snapshot: PopulationSnapshot,
    listener: PopulationListener,
) -> PopulationSnapshot:
    """The place after what is due at the end of an epoch: an evaluation, and the end of some members."""
    running, configs = snapshot.running, population.members.configs
    if any(evaluation_due(configs[number], snapshot.members[number].progress) for number in running):
        snapshot = evaluate_members(population, programs, snapshot, listener)
    changed = {}
    for number in snapshot.running:
        member = snapshot.members[number]
        if is_finished(configs[number], member.progress):
            changed[number] = dataclasses.replace(member, status=COMPLETED)
        elif listener.should_end_member(number):
            changed[number] = dataclasses.replace(member, status=INTERRUPTED)
    return _keep_ended(population, snapshot.replace_members(changed))


def _keep_ended(population: PopulationSetup, snapshot: PopulationSnapshot) -> PopulationSnapshot:
    """With the states of those who have ended, where others go on; the steps of these take theirs along."""
    ended = [n for n, member in enumerate(snapshot.members) if member.status in (COMPLETED, INTERRUPTED)]
    if not snapshot.running:
        return snapshot
    kept = {n: member_snapshot(population, snapshot, n).state for n in ended if n not in snapshot.ended_states}
    return snapshot._replace(ended_states={**snapshot.ended_states, **kept})


def _restore_ended(
    population: PopulationSetup, programs: PopulationPrograms, snapshot: PopulationSnapshot
) -> PopulationSnapshot:
    """With those who have ended in their places again."""
    chunks = list(snapshot.chunks)
    for number, state in snapshot.ended_states.items():
        chunk, place = population.locate(number)
        put = programs.put(chunks[chunk].state, state, jax.device_put(np.int32(place)))
        chunks[chunk] = chunks[chunk]._replace(state=put)
    return snapshot._replace(chunks=tuple(chunks))


def _fail_non_finite(
    population: PopulationSetup, programs: PopulationPrograms, snapshot: PopulationSnapshot
) -> PopulationSnapshot:
    """Before a save: members with a parameter that is no finite number have failed."""
    finite = split_by_member(
        population, [jax.device_get(programs.finite(chunk.state.params)) for chunk in snapshot.chunks]
    )
    error = str(NonFiniteError("a parameter", math.nan, snapshot.epoch, snapshot.step))
    failed = [n for n, member in enumerate(snapshot.members) if member.status != FAILED and not finite[n]]
    return snapshot.replace_members(
        {n: dataclasses.replace(snapshot.members[n], status=FAILED, error=error) for n in failed}
    )


def measure_epoch_seconds(population: PopulationSetup) -> float:
    """Seconds of an epoch of all members, from some steps that are thrown away; compilation is left out."""
    snapshot, programs, _ = compile_population(population)
    keys, times = epoch_keys(population, programs, 1), []
    for first, last in ((0, 1), (1, 1 + TIMED_STEPS)):
        place, begun = jax.device_put((np.int32(first), np.int32(last))), time.perf_counter()
        snapshot = train_block(population, programs, snapshot, keys, place)
        times.append((time.perf_counter() - begun) / (last - first))
    return times[-1] * population.setup.steps_per_epoch
