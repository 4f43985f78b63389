"""The statistics of a loss: computed of the whole model between epochs, and looked up for a batch's users."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec

from lgcn_jax.config import Config
from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import ROWS, WHOLE
from lgcn_jax.graph.normalization import weighted_degrees
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.losses import Loss, Tables, WholeModel

BLOCK = 2**22  # numbers that are computed at a time


class TrainPairCounts(NamedTuple):
    """What statistics need of the train pairs, on all devices.

    Attributes:
      pairs: float32[U], the number of each user's pairs.
      positive_probability: float32[I], how probable each item is to be the positive one of an example.
      root: float32[U + I], the square roots of the degrees that A_hat is normalized by.
    """

    pairs: jax.Array
    positive_probability: jax.Array
    root: jax.Array


def has_statistics(loss: Loss) -> bool:
    """Whether a loss has any."""
    return bool(loss.USER_STATISTICS or loss.RUN_STATISTICS)


def initial_statistics(loss: Loss, params: nnx.State) -> dict[str, jax.Array]:
    """Those before they are renewed for the first time: zeros, of the users one for each row of the table."""
    table = params["table"][...]
    of_run = {name: jnp.zeros((), table.dtype) for name in loss.RUN_STATISTICS}
    return of_run | {name: jnp.zeros(len(table), table.dtype) for name in loss.USER_STATISTICS}


def statistics_specs(loss: Loss) -> dict[str, PartitionSpec]:
    """How each of them is cut over devices."""
    return dict.fromkeys(loss.RUN_STATISTICS, WHOLE) | dict.fromkeys(loss.USER_STATISTICS, ROWS)


def count_train_pairs(config: Config, interactions: Interactions) -> TrainPairCounts:
    """Host: the counts of a data set."""
    train, items = interactions.train, interactions.num_items
    pairs = csr.degrees(train)
    drawable = (pairs > 0) & (pairs < items)
    root = np.sqrt(weighted_degrees(train, items, interactions.weights))
    probability = config.sampler.positive_probability(train, drawable, items)
    return TrainPairCounts(pairs.astype(np.float32), probability, root.astype(np.float32))


def batch_statistics(
    loss: Loss, statistics: Mapping[str, jax.Array], adjacency: Adjacency, user: jax.Array
) -> dict[str, jax.Array]:
    """The statistics as a batch has them: float[B], those of int32[B] users, and float[] of the run."""
    found = {name: adjacency.gather(statistics[name][:, None], user)[:, 0] for name in loss.USER_STATISTICS}
    return found | {name: statistics[name] for name in loss.RUN_STATISTICS}


def renew_statistics(
    loss: Loss,
    final_embeddings: jax.Array,
    statistics: Mapping[str, jax.Array],
    adjacency: Adjacency,
    counts: TrainPairCounts,
    epoch: jax.Array,
    axes: tuple[str, ...],
) -> dict[str, jax.Array]:
    """On a device: the loss' statistics of a model with these final embeddings, in the form in which they are kept.

    Args:
      final_embeddings: [num_rows, d], of this device's rows.
      statistics: as they were renewed last, in the form in which they are kept.
      epoch: int32[], the epoch that begins.
      axes: the mesh axes on which there are several devices, which share the users among them.
    """
    num_users, layout = len(counts.pairs), adjacency.layout
    every = adjacency.gather(final_embeddings, jnp.arange(len(adjacency.row_of_node), dtype=jnp.int32))

    def each_user(function: Callable, rows: jax.Array, width: int) -> jax.Array:
        return _map_in_blocks(function, rows, max(1, BLOCK // width), axes)

    users = jnp.arange(num_users, dtype=jnp.int32)
    found = loss.renewed(
        WholeModel(
            final=Tables(every[:num_users], every[num_users:]),
            epoch=epoch,
            pairs=counts.pairs,
            positive_probability=counts.positive_probability,
            mean_of_own=lambda items: _mean_of_own(adjacency, counts.root, items),
            each_user=each_user,
            previous=batch_statistics(loss, statistics, adjacency, users),
        )
    )
    of_rows = {
        name: layout.scatter(found[name][:, None], adjacency.row_of_node[:num_users]) for name in loss.USER_STATISTICS
    }
    return {name: found[name] for name in loss.RUN_STATISTICS} | {name: rows[:, 0] for name, rows in of_rows.items()}


def _mean_of_own(adjacency: Adjacency, root: jax.Array, items: jax.Array) -> jax.Array:
    """[U, d]: D_u^-1 R items, which is D_u^-1/2 A_hat (D_i^1/2 items)."""
    num_users = len(root) - len(items)
    rows = adjacency.layout.scatter(items * root[num_users:, None], adjacency.row_of_node[num_users:])
    total = adjacency.gather(adjacency.layout.product(rows), jnp.arange(num_users, dtype=jnp.int32))
    scale = jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), 0)
    return total * scale[:num_users, None]


def _map_in_blocks(function: Callable, rows: jax.Array, most: int, axes: tuple[str, ...]) -> jax.Array:
    """A function of rows [b, d] -> [b], of all rows [U, d]: each device has its part of them, `most` at a time."""
    place, devices = (jax.lax.axis_index(axes), jax.lax.axis_size(axes)) if axes else (0, 1)
    part = -(-len(rows) // devices)
    size = min(most, part)
    blocks = -(-part // size)
    padded = jnp.pad(rows, ((0, devices * blocks * size - len(rows)), (0, 0)))
    mine = jax.lax.dynamic_slice_in_dim(padded, place * blocks * size, blocks * size)
    found = jax.lax.map(function, mine.reshape(blocks, size, -1)).reshape(-1)
    return (jax.lax.all_gather(found, axes, tiled=True) if axes else found)[: len(rows)]
