"""Where the tables of a run stand: rows in the order that suits the devices, or of node ids on the host and on disk."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import SingleDeviceSharding

from lgcn_jax.config import Config
from lgcn_jax.devices.mesh import NODES, ROWS, WHOLE, Mesh, ring_gather, state_specs
from lgcn_jax.devices.parameters import map_arrays
from lgcn_jax.graph.order import Order
from lgcn_jax.training import step
from lgcn_jax.training.state import HostParameters, Progress, Snapshot, replicated_parameters_on_host, zero_totals


@dataclasses.dataclass(frozen=True)
class Placement:
    """The rows of a run's tables on its devices.

    Attributes:
      config: the settings.
      mesh: the devices.
      order: where the nodes' rows stand.
    """

    config: Config
    mesh: Mesh
    order: Order

    def to_node_order(self, tree: Any) -> Any:
        """A state of its own memory whose tables are in the order of node ids; rows are padded to equal shares."""
        padding = self.mesh.nodes * self._rows_per_device - len(self.order.row_of_node)
        return self._move_tree(tree, np.pad(self.order.row_of_node, (0, padding), constant_values=-1))

    @property
    def _rows_per_device(self) -> int:
        """Nodes of each place on the axis `nodes`, where they are in the order of ids."""
        return -(-len(self.order.row_of_node) // self.mesh.nodes)

    def to_row_order(self, tree: Any) -> Any:
        """The inverse of `to_node_order`."""
        return self._move_tree(tree, self.order.node_of_row)

    def abstract_state(self) -> Snapshot:
        """A snapshot of the shapes, dtypes and shardings that `to_node_order` gives."""
        start = jax.eval_shape(lambda: (step.state_of_one_node(self.config)[1], zero_totals(self.config.loss)))
        rows = self.mesh.nodes * self._rows_per_device

        def described(leaf, shape, spec):
            sharding = self.mesh.sharding(spec) or SingleDeviceSharding(jax.devices()[0])  # Orbax wants to know
            return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=sharding)

        def of_table(leaf):
            return described(leaf, (rows, *leaf.shape[1:]), ROWS)

        return Snapshot(*map_arrays(of_table, lambda leaf: described(leaf, leaf.shape, WHOLE), start), Progress())

    def graphdef(self) -> nnx.GraphDef:
        """The model's definition."""
        return step.state_of_one_node(self.config)[0]

    def param_specs(self) -> nnx.State:
        """How each parameter is cut over devices: what `Mesh.shard_map` takes for the parameters."""
        return state_specs(jax.eval_shape(lambda: step.state_of_one_node(self.config)[1].params))

    def table(self, params: nnx.State) -> np.ndarray:
        """Host: float32[num_nodes, d], the trained layer-0 rows of the users, then of the items.

        Each process gets all of it, in several processes by way of its devices.
        """
        return self._gather_on_host(params["table"][...])

    def parameters(self, params: nnx.State) -> HostParameters:
        """Host: all parameters, the table as `table` gives it."""
        return HostParameters(self.table(params), replicated_parameters_on_host(params))

    def _gather_on_host(self, rows: jax.Array) -> np.ndarray:
        found = self.to_node_order(rows)
        if not found.is_fully_addressable:
            found = multihost_utils.process_allgather(found, tiled=True)
        return np.asarray(found)[: len(self.order.row_of_node)]

    def _move_tree(self, tree: Any, index: np.ndarray) -> Any:
        """A copy of the tree with each table replaced by its rows `index`; -1: zeros."""
        return self._compiled_move(tree, self.put_row_values(index))

    @functools.cached_property
    def _compiled_move(self) -> Callable:
        """(tree, index) -> what `_move_tree` says; kept, so that it is compiled once for a run's saves."""
        axis = self.mesh.axis(NODES)
        move = self.mesh.shard_map(functools.partial(ring_gather, axis=axis), (ROWS, ROWS), ROWS)

        def moved(tree, index):
            return map_arrays(lambda table: move(table, index), jnp.copy, tree)

        return jax.jit(moved)

    def put_row_values(self, values: np.ndarray) -> jax.Array:
        """The host's values of the rows, [num_rows, ...], on the devices that have the rows."""
        if (sharding := self.mesh.sharding(ROWS)) is None:
            return jax.device_put(values)
        return jax.make_array_from_callback(values.shape, sharding, lambda rows: values[rows])

    def put_node_values(self, values: np.ndarray) -> jax.Array:
        """The host's values of the nodes, [num_nodes, ...], as rows on the devices; zeros for rows without a node."""
        return self.put_row_values(self.order.to_rows(values))
