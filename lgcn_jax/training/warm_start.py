"""A run that begins with the table of an earlier one, for nodes that both have, by their raw ids.

New nodes begin where the new graph puts them: with layer 0 of theirs absent (zero), layers 1..K are those of their
neighbors, and so their rows are the final embeddings without layer 0, weights renormalized, as in `graph.fold_in`;
here all of them at once, in the graph that they are in. Those that no path of up to K edges joins to a node that is
carried over are initialized as in any run. The optimizer's state is fresh.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lgcn_jax.config import Config
from lgcn_jax.data import ids
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import PER_DEVICE, ROWS
from lgcn_jax.errors import InputError
from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.propagation import Adjacency, propagate
from lgcn_jax.models import FoldIn
from lgcn_jax.training.setup import Setup
from lgcn_jax.training.state import Snapshot, replicated_parameters, table_sha256
from lgcn_jax.training.step import state_of_one_node


class WarmStart(NamedTuple):
    """Host: what an earlier run hands on.

    Attributes:
      source: where it is from, for messages and the run's records.
      config: its settings.
      users, items: raw ids, ascending.
      table: float32[num_users + num_items, d], layer 0 of the users, then of the items.
      replicated: the parameters that belong to no node, by name.
    """

    source: str
    config: Config
    users: np.ndarray
    items: np.ndarray
    table: np.ndarray
    replicated: Mapping[str, np.ndarray] = {}

    def facts(self) -> dict[str, str]:
        """What the records of a run say of its source."""
        return {"source": self.source, "parameters_sha256": table_sha256(self.table, self.replicated)}


class WarmStartPoint(NamedTuple):
    """The place before the first step of a run that begins with another's table, a line about it, and its facts."""

    start: Snapshot
    note: str
    facts: dict[str, str]


def require_compatible_source(config: Config, warm: WarmStart) -> None:
    """Raises an InputError where the tables of a source have another meaning or width than those of a run."""
    for name in ("model", "embedding_dim"):
        found, expected = warm.config.to_dict()[name], config.to_dict()[name]
        if found != expected:
            where = f"--warm_start={warm.source}"
            raise InputError(where, f"a run with --{name}={found}", f"one with --{name}={expected}, as this run has")
    theirs = _replicated_shapes(warm.config)
    for name, shape in _replicated_shapes(config).items():
        if (found := theirs.get(name, shape)) != shape:
            where = f"--warm_start={warm.source}"
            raise InputError(where, f"a run with {name} of shape {found}", f"shape {shape}, as this run has")


def make_warm_start_point(setup: Setup, interactions: Interactions, warm: WarmStart) -> WarmStartPoint:
    """Where a run begins that has the table of another.

    Raises:
      InputError: the source has another encoder or width, or no user and no item in common with the data set.
    """
    require_compatible_source(setup.config, warm)
    users, items = warm.users, warm.items
    place = np.concatenate(
        [_carried_indices(users, interactions.user_ids), _carried_indices(items, interactions.item_ids)]
    )
    place[interactions.num_users :] += np.where(place[interactions.num_users :] < 0, 0, len(users))
    known = place >= 0
    if not known.any():
        expected = "some of those of this data set"
        raise InputError(f"--warm_start={warm.source}", "a run with other users and other items", expected)
    carried = np.where(known[:, None], warm.table[place], np.float32(0))
    start, how = setup.initial_snapshot(), setup.config.model.fold_in(trained=warm.replicated)
    operands = (
        start.state.params["table"][...],
        setup.adjacency,
        setup.put_node_values(carried),
        setup.put_node_values(known),
    )
    compiled = jax.jit(
        setup.mesh.shard_map(functools.partial(_start_table, how), (ROWS, PER_DEVICE, ROWS, ROWS), ROWS),
        out_shardings=setup.mesh.sharding(ROWS),
    )
    params = _carry_replicated(setup, start.state.params, warm)
    nnx.replace_by_pure_dict(params, nnx.to_pure_dict(params) | {"table": compiled(*operands)})
    start = start._replace(state=start.state._replace(params=params))
    return WarmStartPoint(start, _describe_warm_start(warm, known, interactions.num_users), warm.facts())


def _carry_replicated(setup: Setup, params: nnx.State, warm: WarmStart) -> nnx.State:
    """A copy of a run's parameters in which those that belong to no node are the source's, as far as it has them."""
    flat = dict(nnx.to_flat_state(params))
    for path, value in flat.items():
        if (name := ".".join(map(str, path))) in warm.replicated:
            flat[path] = value.replace(setup.mesh.replicate(warm.replicated[name]))
    return nnx.from_flat_state(flat)


def _replicated_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters that belong to no node, by name."""
    params = jax.eval_shape(lambda: state_of_one_node(config)[1].params)
    return {name: value.shape for name, value in replicated_parameters(params).items()}


def _start_table(
    how: FoldIn | None, fresh: jax.Array, adjacency: Adjacency, carried: jax.Array, known: jax.Array
) -> jax.Array:
    """The rows that a run begins with."""
    if how is None or not how.begins:
        return jnp.where(known[:, None], carried, fresh)
    folded = how.scale * _product(adjacency.layout, how.messages(adjacency.layout, carried), *how.exponents)
    reached = (folded != 0).any(1, keepdims=True)
    return jnp.where(known[:, None], carried, jnp.where(reached, folded, fresh))


def _product(layout: Layout, x: jax.Array, left: float, right: float) -> jax.Array:
    """D^-left A D^-right x."""
    if (left, right) == (0.5, 0.5):
        return propagate(layout, x)
    return layout.degree_power(0.5 - left) * propagate(layout, layout.degree_power(0.5 - right) * x)


def _carried_indices(source: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int64[n]: where each of the wanted raw ids stands in the source's, -1 where it does not.

    Where ids of one of them are text, integers of the other are the text that they are written as.
    """
    if ids.is_text(source) != ids.is_text(wanted):
        source, wanted = (each.astype(str).astype(object) for each in (source, wanted))
    order = np.argsort(source, kind="stable")
    place, found = ids.locate(wanted, source[order])
    return np.where(found, order[place], -1)


def _describe_warm_start(warm: WarmStart, known: np.ndarray, num_users: int) -> str:
    parts = {"users": known[:num_users], "items": known[num_users:]}
    carried = " and ".join(f"{part.sum():,} of {len(part):,} {name}" for name, part in parts.items())
    return f"begins with the rows that {carried} have in {warm.source}"
