"""What stays the same while a population is trained: its data on the device, and its members in chunks."""

import dataclasses
import functools

import jax
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import ONE_DEVICE
from lgcn_jax.devices.parameters import map_arrays
from lgcn_jax.errors import InputError
from lgcn_jax.training import step
from lgcn_jax.training.members import FLAG, Members
from lgcn_jax.training.setup import Setup
from lgcn_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class PopulationSetup:
    """A population's data on the device, and its members in chunks of equal width.

    Attributes:
      setup: of a run with the settings that all members share.
      members: who they are.
      width: members of a chunk; the last chunk is filled up by the last member, again and again.
    """

    setup: Setup
    members: Members
    width: int

    @property
    def num_chunks(self) -> int:
        return -(-len(self.members) // self.width)

    def locate(self, member_index: int) -> tuple[int, int]:
        """The chunk in which a member stands, and its place there."""
        return divmod(member_index, self.width)

    def take_chunk(self, member_values: np.ndarray, chunk: int) -> np.ndarray:
        """The values of a chunk's members, of the last one again where it is filled up."""
        numbers = np.arange(chunk * self.width, (chunk + 1) * self.width)
        return member_values[np.minimum(numbers, len(self.members) - 1)]

    def traced_settings(self, chunk: int) -> dict[str, jax.Array]:
        """What differs among a chunk's members, on the device."""
        return self._chunk_values[chunk]

    @functools.cached_property
    def member_axes(self) -> TrainState:
        """The axis of members in each array of a chunk's state: the second one of tables, which products take so."""
        alone = jax.eval_shape(lambda: step.state_of_one_node(self.setup.config)[1])
        return map_arrays(lambda table: 1, lambda other: 0, alone)

    def member_state(self, state: TrainState, place: int | jax.Array) -> TrainState:
        """The state of the member at a place of a chunk."""
        return jax.tree.map(lambda leaf, axis: take_member(leaf, place, axis), state, self.member_axes)

    def with_member_state(self, state: TrainState, member_state: TrainState, place: jax.Array) -> TrainState:
        """The state of a chunk with that of a member at its place."""

        def put(leaf: jax.Array, of_member: jax.Array, axis: int) -> jax.Array:
            return jax.lax.dynamic_update_index_in_dim(leaf, of_member, place, axis)

        return jax.tree.map(put, state, member_state, self.member_axes)

    @functools.cached_property
    def _chunk_values(self) -> list[dict[str, jax.Array]]:
        values, chunks = self.members.traced_settings(), range(self.num_chunks)
        return jax.device_put([{name: self.take_chunk(values[name], chunk) for name in values} for chunk in chunks])


def take_member(leaf: jax.Array, place: int | jax.Array, axis: int) -> jax.Array:
    """The part of an array that is a member's."""
    return jax.lax.dynamic_index_in_dim(leaf, place, axis, keepdims=False)


def require_supported(members: Members) -> None:
    """Raises an InputError where the settings ask for what populations do not have."""
    config = members.base
    if config.devices.mesh != ONE_DEVICE:
        raise InputError("--mesh", config.devices.mesh, f"one device with {FLAG}, which has all members on it")
    if jax.process_count() > 1:
        raise InputError(FLAG, f"{jax.process_count()} processes", "one, which has all members on its device")
    if config.training.warm_start:
        raise InputError("--warm_start", config.training.warm_start, f"nothing with {FLAG}")
    if chosen := config.inference.chosen_on_validation:
        raise InputError(f"--{chosen[0]}", "auto", f"numbers with {FLAG}: evaluate chooses them for a member's folder")


def require_suitable(members: Members, interactions: Interactions) -> None:
    """Raises an InputError where a member's loss does not go with the data set."""
    pairs = csr.degrees(interactions.train)
    for number, config in enumerate(members.configs):
        try:
            config.loss.validate(pairs, interactions.num_items)
        except InputError as error:
            where, found, expected = error.parts
            raise InputError(f"{FLAG}, member {number}: {where}", found, expected) from None
