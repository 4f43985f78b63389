"""The checkpoints from which a population goes on: its chunks in the order of node ids, and how far each member is."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.runs import checkpoint, integrity, resume
from lgcn_jax.runs.checkpoint import Checkpoints
from lgcn_jax.runs.population_folder import KEY, PopulationFolder, member_folder
from lgcn_jax.runs.resume import CheckpointInventory, ResumePoint
from lgcn_jax.training import progress
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.population_state import (
    COMPLETED,
    RUNNING,
    MemberChunk,
    MemberProgress,
    PopulationSnapshot,
)
from lgcn_jax.training.state import Progress, TrainState


def save(
    checkpoints: Checkpoints,
    folder: PopulationFolder,
    population: PopulationSetup,
    snapshot: PopulationSnapshot,
    rows: list[list[dict[str, Any]]],
    is_scheduled: bool,
) -> None:
    """Saves a place in the background; its arrays are copied before this returns."""
    members = [
        dataclasses.asdict(member) | {"log": list(told)} for member, told in zip(snapshot.members, rows, strict=True)
    ]
    facts = {
        "config": population.members.base.to_json(),
        "content_sha256": folder.environment["dataset"]["content_sha256"],
        "environment": folder.environment,
        "log": [],
        "members": members,
        KEY: folder.stored.to_json(),
    }
    seconds = sum(member.progress.seconds for member in snapshot.members)
    place = Progress(epoch=snapshot.epoch, step=snapshot.step, seconds=seconds)
    arrays = {f"chunk_{number}": _chunk_arrays(population, chunk) for number, chunk in enumerate(snapshot.chunks)}
    checkpoints.save_arrays(arrays, place, population.setup.steps_per_epoch, facts, is_scheduled)


def _chunk_arrays(population: PopulationSetup, chunk: MemberChunk) -> dict[str, Any]:
    """Copies of a chunk's arrays by name, in the order of node ids."""
    moved = jax.vmap(population.setup.to_node_order, (population.member_axes,), population.member_axes)
    best = {"best": _state_arrays(moved(chunk.best))} if chunk.best else {}
    return {"state": _state_arrays(moved(chunk.state)), "totals": jax.tree.map(jnp.copy, chunk.totals)} | best


def _state_arrays(state: TrainState) -> dict[str, Any]:
    statistics = {"statistics": dict(state.statistics)} if state.statistics else {}
    return {"params": nnx.to_pure_dict(state.params), "optimizer": state.optimizer} | statistics


def restore(folder: Path, population: PopulationSetup, interactions: Interactions) -> ResumePoint:
    """Where the population in `folder` goes on; `rows` of what is returned are those of each member.

    Raises:
      InputError: as `resume.restore_or_init`, or members have ended and would go on by settings that are stated anew.
    """
    point = resume.restore_by(
        lambda found: _load_resume_point(folder, population, interactions, found), folder, interactions, None
    )
    return point if point.start else point._replace(rows=[[] for _ in population.members.configs])


def _load_resume_point(
    folder: Path, population: PopulationSetup, interactions: Interactions, found: CheckpointInventory
) -> ResumePoint:
    """The place at the newest whole checkpoint, loaded."""
    checkpoints, config, steps = folder / "checkpoints", population.members.base, population.setup.steps_per_epoch
    meta, changed = resume.require_continuable(checkpoints, config, interactions, found)
    place = Progress(**meta["progress"])
    saved = [_member_from_json(values) for values in meta["members"]]
    configs = population.members.configs
    members = [_member_to_continue(own, member) for own, member in zip(configs, saved, strict=True)]
    _require_same_epoch(members, place)
    if not found.bad:  # after a damaged one, members that had ended may be ahead of the one before it
        _require_not_continued_alone(folder, saved, steps)
    notes = resume.removal_notes(found) + resume.change_notes(changed)
    running = sum(member.status == RUNNING for member in members)
    notes += [resume.describe_continuation(place, steps)] if running else []
    arrays = checkpoint.load_arrays(checkpoints, found.newest, _abstract_arrays(population))
    chunks = tuple(_chunk_from_arrays(population, arrays[f"chunk_{number}"]) for number in range(population.num_chunks))
    rows = [
        [row for row in values["log"] if row != before.progress.final or member.progress.final]
        for values, before, member in zip(meta["members"], saved, members, strict=True)
    ]
    start = PopulationSnapshot(chunks, tuple(members), place.epoch, place.step)
    return ResumePoint(start, rows, notes)  # type: ignore[arg-type]


def _member_from_json(values: dict[str, Any]) -> MemberProgress:
    best = values["best"]
    return MemberProgress(
        Progress(**values["progress"]), None if best is None else Progress(**best), values["status"], values["error"]
    )


def _member_to_continue(config: Config, member: MemberProgress) -> MemberProgress:
    """How far a member is: one that was complete may go on by settings that were stated anew."""
    if member.status not in (RUNNING, COMPLETED):
        return member
    here = progress.progress_for_resume(config, member.progress)
    status = member.status if progress.is_finished(config, here) else RUNNING
    return dataclasses.replace(member, progress=here, status=status)


def _require_same_epoch(members: list[MemberProgress], place: Progress) -> None:
    """Raises an InputError where members that go on are not at the same step."""
    for number, member in enumerate(members):
        here = member.progress
        if member.status == RUNNING and (here.epoch, here.step) != (place.epoch, place.step):
            found = f"a patience by which member {number} goes on, which has ended after epoch {here.epoch}"
            raise InputError("--early_stopping_patience", found, "that of before; the member's folder goes on alone")


def _require_not_continued_alone(folder: Path, members: list[MemberProgress], steps_per_epoch: int) -> None:
    """Raises an InputError where a member's run has gone on alone: what it did since would be lost."""
    for number, member in enumerate(members):
        alone = member_folder(folder, number)
        if max(integrity.checkpoint_steps(alone / "checkpoints"), default=0) > integrity.step_of(
            member.progress, steps_per_epoch
        ):
            expected = "members as the population has left them; copy that one elsewhere"
            raise InputError(alone, "a run that has gone on without its population", expected)


def _abstract_arrays(population: PopulationSetup) -> dict[str, Any]:
    """The shapes and dtypes of what `_chunk_arrays` gives of each chunk."""
    alone = population.setup.abstract_state()

    def widened(leaf: jax.ShapeDtypeStruct, axis: int = 0) -> jax.ShapeDtypeStruct:
        shape = (*leaf.shape[:axis], population.width, *leaf.shape[axis:])
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=leaf.sharding)

    state = _state_arrays(jax.tree.map(widened, alone.state, population.member_axes))
    best = {} if population.setup.task is None else {"best": state}
    chunk = {"state": state, "totals": jax.tree.map(widened, alone.totals)} | best
    return {f"chunk_{number}": chunk for number in range(population.num_chunks)}


def _chunk_from_arrays(population: PopulationSetup, arrays: dict[str, Any]) -> MemberChunk:
    """A chunk of these arrays, in the order of the rows and in memory of its own."""
    moved = jax.vmap(population.setup.to_row_order, (population.member_axes,), population.member_axes)
    best = moved(_state_from_arrays(population, arrays["best"])) if "best" in arrays else ()
    totals = jax.device_put(jax.tree.map(np.array, arrays["totals"]))
    return MemberChunk(moved(_state_from_arrays(population, arrays["state"])), totals, best)


def _state_from_arrays(population: PopulationSetup, arrays: dict[str, Any]) -> TrainState:
    params = jax.tree.map(lambda leaf: leaf, population.setup.abstract_state().state.params)
    nnx.replace_by_pure_dict(params, arrays["params"])
    return TrainState(params, arrays["optimizer"], arrays.get("statistics", {}))
