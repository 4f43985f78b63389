"""What a population is made of at any moment, and what it tells while it goes on."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.progress import after_work
from lgcn_jax.training.state import Progress, Snapshot, Totals, TrainState

RUNNING, COMPLETED, INTERRUPTED, FAILED = "running", "completed", "interrupted", "failed"


class MemberChunk(NamedTuple):
    """Members that one call of a program trains; `PopulationSetup.member_axes` says which axis of each array is theirs.

    Attributes:
      state: where they stand.
      totals: of their epoch in hand; the first axis is theirs.
      best: their states at their best scheduled evaluations; zeros before the first one, and () without evaluations.
    """

    state: TrainState
    totals: Totals
    best: TrainState | tuple[()]


@dataclasses.dataclass(frozen=True)
class MemberProgress:
    """How far a member is.

    Attributes:
      progress: as of a run.
      best: that at its best scheduled evaluation, whose state is kept; None before the first one.
      status: 'running', or how it ended: 'completed', 'interrupted' by a callback, or 'failed'.
      error: why it failed.
    """

    progress: Progress = dataclasses.field(default_factory=Progress)
    best: Progress | None = None
    status: str = RUNNING
    error: str = ""

    def after_work(self, seconds: float, **changes) -> "MemberProgress":
        """After `seconds` of work."""
        return dataclasses.replace(self, progress=after_work(self.progress, seconds, **changes))


class PopulationSnapshot(NamedTuple):
    """A place between two steps of a population, and all that is needed to go on from there.

    Attributes:
      chunks: the arrays, which are donated to the next step.
      members: how far each is.
      epoch, step: epochs done, and steps of the one in hand; those of every member that is running.
      ended_states: the states of members that have ended while others go on, by number: what a chunk has in their
        places goes on, too, and is put back where a place is saved.
    """

    chunks: tuple[MemberChunk, ...]
    members: tuple[MemberProgress, ...]
    epoch: int = 0
    step: int = 0
    ended_states: Mapping[int, TrainState] = {}

    @property
    def running(self) -> list[int]:
        """The numbers of the members that have not ended."""
        return [number for number, member in enumerate(self.members) if member.status == RUNNING]

    def replace_members(self, changed: dict[int, MemberProgress]) -> "PopulationSnapshot":
        """With other progress of some members."""
        return self._replace(members=tuple(changed.get(n, member) for n, member in enumerate(self.members)))

    def replace_chunks(self, changed: dict[int, MemberChunk]) -> "PopulationSnapshot":
        """With other arrays of some chunks."""
        return self._replace(chunks=tuple(changed.get(n, chunk) for n, chunk in enumerate(self.chunks)))


class PopulationListener:
    """What a population tells while it goes on. This one hears nothing and never stops it."""

    def log(self, member_index: int, row: dict[str, Any]) -> None:
        """A line of a member's metrics.jsonl."""

    def all_logged(self) -> None:
        """All members have told their lines about an epoch, or about an evaluation."""

    def limit_block(self, planned: int) -> int:
        """How many steps the next block shall have: `planned`, or fewer, at least 1; asked before every block."""
        return planned

    def progress(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """A block of steps is done: `step` of `steps` of `epoch` (from 1), with the mean loss of members so far."""

    def save(self, snapshot: PopulationSnapshot, is_scheduled: bool) -> None:
        """A place worth keeping; copy its arrays before returning. One that is not `is_scheduled` is saved only because
        the population is stopped or over here."""

    def should_end_member(self, member_index: int) -> bool:
        """Whether a member shall end; asked after every epoch and its evaluation."""
        return False

    def should_stop(self) -> bool:
        """Whether the population shall stop here; asked after every block and evaluation."""
        return False


def running_chunks(population: PopulationSetup, snapshot: PopulationSnapshot) -> list[int]:
    """The numbers of the chunks that have a member that is running."""
    return sorted({population.locate(number)[0] for number in snapshot.running})


def split_by_member(population: PopulationSetup, chunks: list[Any]) -> list[Any]:
    """What belongs to each member of the host's trees of chunks."""
    places = map(population.locate, range(len(population.members)))
    return [jax.tree.map(lambda leaf, at=place: leaf[at], chunks[chunk]) for chunk, place in places]


def member_snapshot(population: PopulationSetup, snapshot: PopulationSnapshot, member_index: int) -> Snapshot:
    """Where a member stands, as a run would."""
    chunk, place = population.locate(member_index)
    (state, totals, _), progress = snapshot.chunks[chunk], snapshot.members[member_index].progress
    within = progress.step > 0  # else what stands there is of the epoch of others
    totals = jax.tree.map(lambda leaf: leaf[place], totals) if within else population.setup.zero_totals()
    return Snapshot(population.member_state(state, place), totals, progress)


def best_member_snapshot(
    population: PopulationSetup, snapshot: PopulationSnapshot, member_index: int
) -> Snapshot | None:
    """Where a member was at its best scheduled evaluation; None where it had none."""
    best, (chunk, place) = snapshot.members[member_index].best, population.locate(member_index)
    if best is None:
        return None
    return Snapshot(population.member_state(snapshot.chunks[chunk].best, place), population.setup.zero_totals(), best)


def chosen_member_snapshot(
    population: PopulationSetup, snapshot: PopulationSnapshot, member_index: int
) -> Snapshot | None:
    """The place that is a member's model: its best, or the last where it was not evaluated; None of a failed one."""
    member = snapshot.members[member_index]
    if member.best is not None and not member.progress.final_best:
        return best_member_snapshot(population, snapshot, member_index)
    return None if member.status == FAILED else member_snapshot(population, snapshot, member_index)
