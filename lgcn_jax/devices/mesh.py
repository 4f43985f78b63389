"""The devices of a run as a mesh of two axes: `data`, over which a batch is cut, and `nodes`, over which rows are.

The table, the optimizer's state and the rows of A_hat are cut over `nodes` and stand once for each place on `data`.
Programs are written for one device, which meets the others through collectives over the axes; `Mesh.shard_map` makes a
program of the whole mesh of them. On one device nothing is cut, and such a function is used as it is.

Several processes (`jax.distributed`) hold a mesh together, each some of its devices.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lgcn_jax.devices import processes
from lgcn_jax.devices.parameters import map_arrays
from lgcn_jax.errors import InputError
from lgcn_jax.settings import Settings, setting

DATA, NODES = "data", "nodes"
ONE_DEVICE = "data:1,nodes:1"
ROWS, PER_DEVICE, WHOLE = PartitionSpec(NODES), PartitionSpec(DATA, NODES), PartitionSpec()  # how arrays are cut


def mesh_shape(spec: str) -> tuple[int, int]:
    """The sizes (D, M) of the axes that 'data:D,nodes:M' states; an axis that is not named has size 1.

    Raises:
      ValueError: the text is of another form.
    """
    if not (match := re.fullmatch(r"(?:data:([1-9]\d{0,4}))?,?(?:nodes:([1-9]\d{0,4}))?", spec)):
        raise ValueError(f"{spec!r} is not data:D,nodes:M")
    return int(match[1] or 1), int(match[2] or 1)


def is_mesh(spec: str) -> bool:
    """Whether a text is of the form 'data:D,nodes:M'."""
    try:
        return bool(mesh_shape(spec))
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshSettings(Settings):
    """The devices of a run."""

    mesh: str = setting(
        ONE_DEVICE,
        "devices of the run, as data:D,nodes:M: batches are cut over D, table and graph over M of them",
        is_mesh,
        "data:D,nodes:M",
    )


def require_devices() -> None:
    """Raises an InputError where JAX finds no device, or where its environment forbids compiled programs."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter with no text where no backend begins
        if processes.is_peer_lost(error):
            raise
        reason = str(error).splitlines() or ["JAX finds no device for it"]
        found = f"{jax.config.jax_platforms} ({reason[0]})"
        raise InputError("JAX_PLATFORMS", found, "a platform that this machine has, or nothing") from None
    if jax.config.jax_disable_jit:
        raise InputError("JAX_DISABLE_JIT", "1", "nothing: runs are compiled programs")


@dataclasses.dataclass(frozen=True)
class Mesh:
    """`data` x `nodes` devices.

    Attributes:
      devices: the mesh as JAX knows it.
    """

    devices: jax.sharding.Mesh

    @classmethod
    def of(cls, spec: str) -> "Mesh":
        """The mesh that a setting like 'data:2,nodes:4' describes, of the first devices of all processes.

        Raises:
          InputError: there are fewer devices, or devices of a process are left over.
        """
        shape, devices = mesh_shape(spec), jax.devices()
        needed = shape[0] * shape[1]
        if needed > len(devices):
            raise InputError("--mesh", f"{spec}: {needed} devices", f"at most {len(devices)}, which JAX sees")
        if jax.process_count() > 1 and needed != len(devices):
            raise InputError("--mesh", f"{spec}: {needed} devices", f"all {len(devices)} of the processes")
        return cls(jax.make_mesh(shape, (DATA, NODES), (AxisType.Auto,) * 2, devices=devices[:needed]))

    @property
    def data(self) -> int:
        return self.devices.shape[DATA]

    @property
    def nodes(self) -> int:
        return self.devices.shape[NODES]

    def axis(self, name: str) -> str | None:
        """The name of the axis for a collective, None where it has one device and there is nothing to collect."""
        return name if self.devices.shape[name] > 1 else None

    def sharding(self, spec: PartitionSpec) -> NamedSharding | None:
        """How an array is cut over the devices; None where there is one, JAX's default device."""
        return None if self.devices.size == 1 else NamedSharding(self.devices, spec)

    def shardings(self, tree: Any) -> Any:
        """How the arrays of a state are cut, as `state_specs` says; None where there is one device."""
        return None if self.devices.size == 1 else jax.tree.map(self.sharding, state_specs(tree))

    def replicate(self, tree: Any) -> Any:
        """Host values, the same in all processes, on all devices."""
        if jax.process_count() == 1:
            return jax.device_put(tree, self.sharding(WHOLE))
        return jax.tree.map(self._replicate_to_all, tree)

    def _replicate_to_all(self, value: Any) -> jax.Array:
        if jnp.issubdtype(getattr(value, "dtype", None), jax.dtypes.prng_key):  # JAX puts keys on own devices alone
            return jax.random.wrap_key_data(self._replicate_to_all(jax.random.key_data(value)))
        value = np.asarray(value)
        return jax.make_array_from_callback(value.shape, self.sharding(WHOLE), lambda part: value[part])

    def make_sharded(self, make: Callable[[int, int], Any]) -> Any:
        """Puts on each device what `make(data, nodes)` makes for its place in the mesh: only that, and one by one.

        Args:
          make: returns a pytree of NumPy arrays, of the same shapes for every place.

        Returns:
          The pytree; where there are several devices, its arrays have two leading axes, `data` and `nodes`.
        """
        if self.devices.size == 1:
            return jax.device_put(make(0, 0))
        here = [place for place, device in np.ndenumerate(self.devices.devices) if _is_ours(device)]
        trees = [self._put_on_device(make(*place), self.devices.devices[place]) for place in here]
        return jax.tree.map(lambda *parts: self._assemble_array(parts), *trees)

    def _put_on_device(self, tree: Any, device: jax.Device) -> Any:
        return jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf)[None, None], device), tree)

    def _assemble_array(self, parts: tuple[jax.Array, ...]) -> jax.Array:
        shape = self.data, self.nodes, *parts[0].shape[2:]
        return jax.make_array_from_single_device_arrays(shape, self.sharding(PER_DEVICE), list(parts))

    def shard_map(self, function: Callable, arguments: tuple[Any, ...], results: Any) -> Callable:
        """A function of one device's arrays as one of the whole mesh.

        Args:
          function: sees the rows of its device (ROWS), what was placed on it (PER_DEVICE), or everything (WHOLE).
          arguments: one of these for each argument, or a pytree of them.
          results: likewise for what it returns; equal on all devices over which it is not cut.
        """
        if self.devices.size == 1:
            return function

        def local(*operands):
            return function(*map(_block_of_this_device, arguments, operands))

        return jax.shard_map(local, mesh=self.devices, in_specs=arguments, out_specs=results, check_vma=False)


def state_specs(tree: Any) -> Any:
    """How a state is cut: its tables over rows; its scalars and its replicated parameters not at all."""
    return map_arrays(lambda table: ROWS, lambda other: WHOLE, tree)


def _block_of_this_device(spec: Any, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0, 0], tree) if spec == PER_DEVICE else tree


def _is_ours(device: jax.Device) -> bool:
    return device.process_index == jax.process_index()


def local_slice(array: jax.Array, axis: str | None) -> jax.Array:
    """On a device: its part of an array that all devices of the axis have, cut along the first dimension."""
    if axis is None:
        return array
    size = array.shape[0] // jax.lax.axis_size(axis)
    return jax.lax.dynamic_slice_in_dim(array, jax.lax.axis_index(axis) * size, size)


def psum(value: jax.Array, axis: str | None) -> jax.Array:
    """On a device: the sum over the axis."""
    return value if axis is None else jax.lax.psum(value, axis)


def ring_gather(x: jax.Array, rows: jax.Array, axis: str | None) -> jax.Array:
    """On a device: its part of x[rows], where x and rows are cut over the axis; 0 where a row is none of x.

    Parts of x pass by in a ring, so that no device ever holds more than two.

    Args:
      x: [size, ...], this device's rows.
      rows: int32[m], the rows wanted here, numbered over all devices.
    """
    count, me = (1, 0) if axis is None else (jax.lax.axis_size(axis), jax.lax.axis_index(axis))
    found = jnp.zeros((rows.shape[0], *x.shape[1:]), x.dtype)
    for turn in range(count):
        local = rows - (me + turn) % count * x.shape[0]
        inside = ((local >= 0) & (local < x.shape[0])).reshape(-1, *[1] * (x.ndim - 1))
        found = jnp.where(inside, x[jnp.clip(local, 0, x.shape[0] - 1)], found)
        if turn + 1 < count:
            x = ring_shift(x, axis)
    return found


def ring_shift(x: Any, axis: str) -> Any:
    """On a device: what the next device of the axis has; that of the first goes to the last."""
    count = jax.lax.axis_size(axis)
    pairs = [(place, (place - 1) % count) for place in range(count)]
    return jax.tree.map(lambda leaf: jax.lax.ppermute(leaf, axis, pairs), x)
