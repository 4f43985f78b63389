"""The steps of a population: the compiled programs, called for each chunk that has a member that is running."""

import time

import jax
import numpy as np

from lgcn_jax.training.population_chunks import map_chunks
from lgcn_jax.training.population_programs import PopulationPrograms
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.population_state import MemberChunk, PopulationSnapshot, running_chunks


def begin_epoch(
    population: PopulationSetup, programs: PopulationPrograms, snapshot: PopulationSnapshot
) -> PopulationSnapshot:
    """The place from which the steps of the epoch in hand are taken, wherever in the epoch it is asked for."""
    config, epoch, begun = population.members.base, snapshot.epoch + 1, time.perf_counter()
    scale = config.schedule.scale_in(epoch)
    if scale is not None:
        snapshot = _set_learning_rate_scale(population, snapshot, scale)
    if programs.renew is None or snapshot.step or not config.loss.renewal_due(epoch):
        return snapshot
    snapshot = _renew_statistics(population, programs, snapshot, epoch)
    share = (time.perf_counter() - begun) / len(snapshot.running)
    return snapshot.replace_members({n: snapshot.members[n].after_work(share, step=0) for n in snapshot.running})


def _set_learning_rate_scale(
    population: PopulationSetup, snapshot: PopulationSnapshot, scale: float
) -> PopulationSnapshot:
    """With the scale of the learning rate that the schedule has in this epoch."""

    def scaled(chunk: MemberChunk) -> MemberChunk:
        optimizer = chunk.state.optimizer
        scales = jax.device_put(np.full(population.width, scale, optimizer.plateau.scale.dtype))
        optimizer = optimizer._replace(plateau=optimizer.plateau._replace(scale=scales))
        return chunk._replace(state=chunk.state._replace(optimizer=optimizer))

    return snapshot.replace_chunks({n: scaled(snapshot.chunks[n]) for n in running_chunks(population, snapshot)})


def _renew_statistics(
    population: PopulationSetup, programs: PopulationPrograms, snapshot: PopulationSnapshot, epoch: int
) -> PopulationSnapshot:
    """With the statistics of the loss at the beginning of the epoch."""
    shared, place = (population.setup.adjacency, population.setup.counts), jax.device_put(np.int32(epoch))

    def renew(number: int) -> MemberChunk:
        chunk = snapshot.chunks[number]
        state, settings = chunk.state, population.traced_settings(number)
        statistics = programs.renew(state.params, state.statistics, *shared, settings, place)
        return chunk._replace(state=state._replace(statistics=jax.block_until_ready(statistics)))

    return snapshot.replace_chunks(map_chunks(renew, running_chunks(population, snapshot)))


def epoch_keys(population: PopulationSetup, programs: PopulationPrograms, epoch: int) -> list[jax.Array]:
    """The keys of an epoch of each chunk's members."""
    place = jax.device_put(np.uint32(epoch))
    return [programs.keys(population.traced_settings(chunk)["seed"], place) for chunk in range(population.num_chunks)]


def train_block(
    population: PopulationSetup,
    programs: PopulationPrograms,
    snapshot: PopulationSnapshot,
    keys: list[jax.Array],
    place: tuple[jax.Array, jax.Array],
) -> PopulationSnapshot:
    """After the steps from place[0] to place[1] - 1 of the chunks that have a member that is running."""
    shared = population.setup.adjacency, population.setup.sampler

    def train(number: int) -> MemberChunk:
        chunk = snapshot.chunks[number]
        how = *shared, population.traced_settings(number), keys[number], *place
        state, totals = jax.block_until_ready(programs.block(chunk.state, chunk.totals, *how))
        return chunk._replace(state=state, totals=totals)

    return snapshot.replace_chunks(map_chunks(train, running_chunks(population, snapshot)))
