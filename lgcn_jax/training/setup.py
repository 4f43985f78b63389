"""What stays the same during a run: settings, sizes, the data on the devices, and the order of the table's rows."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np
import scipy.sparse
from flax import nnx

from lgcn_jax import sampling
from lgcn_jax.config import Config
from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import DATA, NODES, PER_DEVICE, ROWS, Mesh
from lgcn_jax.devices.parameters import map_arrays
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import task
from lgcn_jax.evaluation.ranking import EvaluationTask
from lgcn_jax.graph import normalization, order, propagation, ring
from lgcn_jax.graph.delegating import DegreeLayout
from lgcn_jax.graph.normalization import weighted_degrees
from lgcn_jax.graph.order import Order
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.models import Nodes
from lgcn_jax.sampling import Sampler
from lgcn_jax.training import step
from lgcn_jax.training.placement import Placement
from lgcn_jax.training.state import Progress, Snapshot, Totals, TrainState, zero_totals
from lgcn_jax.training.statistics import TrainPairCounts, count_train_pairs, has_statistics


@dataclasses.dataclass(frozen=True)
class Setup(Placement):
    """A run's settings and data, put on the devices by `build_setup`.

    Attributes:
      num_users, num_items: of the data set.
      adjacency: A_hat, as placed on the devices.
      sampler: of the train pairs, likewise; None where it is built for evaluation alone.
      task: of the part evaluated, likewise.
      popularity: float32[num_items], log(1 + n) of items with n train pairs (the sum of their weights).
      counts: what the loss' statistics need of the train pairs; None where it has none, or nothing trains.
    """

    num_users: int
    num_items: int
    adjacency: Adjacency
    sampler: Sampler | None
    task: EvaluationTask | None
    popularity: np.ndarray
    counts: TrainPairCounts | None = None

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.sampler.num_examples // self.config.training.batch_size)

    def init_state(self) -> TrainState:
        """The state of epoch 0, each device's rows drawn on that device."""
        node = self.put_row_values(self.order.node_of_row)
        made = jax.jit(lambda node: step.init_train_state(self.config, Nodes(node, self.num_users, self.num_items))[1])
        shapes = jax.eval_shape(made, node)
        map_arrays(self._require_rows, lambda other: None, shapes.params)
        return jax.jit(made, out_shardings=self.mesh.shardings(shapes))(node)

    def _require_rows(self, table: jax.ShapeDtypeStruct) -> None:
        if table.shape[0] != self.order.num_rows:
            found, count = f"a parameter of shape {table.shape}", self.order.num_rows
            raise InputError("--model", found, f"a row for each of the {count} nodes, a scalar, or a Replicated one")

    def initial_snapshot(self) -> Snapshot:
        """The place before the first step."""
        return Snapshot(self.init_state(), self.zero_totals(), Progress())

    def zero_totals(self) -> Totals:
        """The totals before the first step of an epoch."""
        return self.mesh.replicate(zero_totals(self.config.loss))

    def final_embeddings(self, params: nnx.State) -> np.ndarray:
        """Host: float32[num_nodes, d], the final embeddings of the users, then of the items, as items are ranked."""
        found = self._gather_on_host(self._compiled_embed(params, self.adjacency))
        users, items = np.split(found, [self.num_users])
        scaled = self.config.inference.stated_inference().scale_items(items, self.popularity)
        return found if scaled is items else np.concatenate([users, scaled])

    def vector_width(self, params: nnx.State) -> int | None:
        """The width d of the final embeddings, None where scores are no dot products of them; nothing is computed."""
        if not self.config.model.HAS_VECTORS:
            return None
        return jax.eval_shape(self._embed(), params, self.adjacency).shape[1]

    @functools.cached_property
    def _compiled_embed(self) -> Callable:
        return jax.jit(self._embed())  # kept, so that it is compiled once for the members of a population

    def _embed(self) -> Callable[[nnx.State, Adjacency], jax.Array]:
        graphdef, inference = self.graphdef(), self.config.inference.stated_inference()
        return self.mesh.shard_map(
            lambda params, adjacency: inference.final_embeddings(nnx.merge(graphdef, params), adjacency.layout),
            (self.param_specs(), PER_DEVICE),
            ROWS,
        )


def check_config(config: Config, interactions: Interactions) -> None:
    """Raises an InputError where the platform or the data set lacks what the settings ask for."""
    if propagation.resolve_layout_name(config.graph.propagation) not in propagation.available_layouts():
        layouts = ", ".join(propagation.available_layouts())
        raise InputError("--propagation", config.graph.propagation, f"one of {layouts} on this platform")
    if max(config.evaluation.top_k) > interactions.num_items:
        raise InputError(
            "--top_k", max(config.evaluation.top_k), f"at most {interactions.num_items}, the number of items"
        )
    config.loss.validate(csr.degrees(interactions.train), interactions.num_items)
    split = config.evaluation.eval_split
    if split != "none" and not interactions.part(split).nnz:
        flag = {"valid": "--validation_fraction", "test": "--test_fraction"}[split]
        hint = (
            f" (a higher {flag} makes one, of a data set that has none of its own), or none: train without evaluations"
        )
        raise InputError("--eval_split", f"{split}, which is empty", f"a part with a pair{hint}")


def require_divisible_batch(config: Config, mesh: Mesh) -> None:
    """Raises an InputError where a batch cannot be cut into equal parts for the axis `data`."""
    if config.training.batch_size % mesh.data:
        expected = f"a multiple of {mesh.data}, the size of the axis data of --mesh"
        raise InputError("--batch_size", config.training.batch_size, expected)


def build_setup(
    config: Config, interactions: Interactions, *, trains: bool = True, users: np.ndarray | None = None
) -> Setup:
    """Puts graph, sampler and evaluation task on the devices; no sampler where nothing `trains`.

    `users` are the numbers of the only users that are evaluated; None: all.

    Raises:
      InputError: the platform or the data set lacks what the settings ask for, there are too few devices, or a batch
        to train on cannot be cut over them.
    """
    check_config(config, interactions)
    mesh = Mesh.of(config.devices.mesh)
    if trains:
        require_divisible_batch(config, mesh)
    placed, adjacency = _build_graph(config, mesh, interactions)
    owners = None if mesh.nodes == 1 else placed.row_of_node // (placed.num_rows // mesh.nodes)
    pairs = normalization.weighted_degrees(interactions.train, interactions.num_items, interactions.weights)
    popularity = np.log1p(pairs[interactions.num_users :]).astype(np.float32)
    return Setup(
        config=config,
        num_users=interactions.num_users,
        num_items=interactions.num_items,
        mesh=mesh,
        order=placed,
        adjacency=adjacency,
        sampler=_build_sampler(config, mesh, interactions, owners) if trains else None,
        task=_build_task(config, mesh, interactions, owners, users, popularity),
        popularity=popularity,
        counts=mesh.replicate(count_train_pairs(config, interactions))
        if trains and has_statistics(config.loss)
        else None,
    )


def with_eval_split(setup: Setup, interactions: Interactions, split: str) -> Setup:
    """The same data on the devices, with another part to evaluate; of one device."""
    config = setup.config.replace(eval_split=split)
    return dataclasses.replace(
        setup, config=config, task=_build_task(config, setup.mesh, interactions, None, None, setup.popularity)
    )


def _build_graph(config: Config, mesh: Mesh, interactions: Interactions) -> tuple[Order, Adjacency]:
    """The order of rows and A_hat in it, on the devices; the host's matrices are gone when it returns."""
    matrix = normalization.normalized_adjacency(interactions.train, interactions.num_items, interactions.weights)
    placed, degree = build_order(config, mesh, matrix, interactions.num_users), None
    if config.model.NEEDS_DEGREES:
        degree = placed.to_rows(weighted_degrees(interactions.train, interactions.num_items, interactions.weights))
    return placed, _build_adjacency(config, mesh, order.permute(matrix, placed), placed, degree)


def build_order(config: Config, mesh: Mesh, matrix: scipy.sparse.csr_matrix, num_users: int) -> Order:
    """The order of rows that suits the devices: dealt over several, or what `config.graph.node_order` says."""
    if mesh.nodes > 1:
        return order.balanced_order(np.diff(matrix.indptr), num_users, mesh.nodes)
    if order.resolve_order_name(config.graph.node_order) == "local":
        return order.locality_order(matrix, num_users)
    return order.identity_order(matrix.shape[0])


def _build_adjacency(
    config: Config, mesh: Mesh, matrix: scipy.sparse.csr_matrix, placed: Order, degree: np.ndarray | None
) -> Adjacency:
    kind = propagation.LAYOUTS[propagation.resolve_layout_name(config.graph.propagation)]
    finish = functools.partial(propagation.with_dtype, dtype=config.graph.propagation_dtype)
    cut = ring.partition(matrix, kind, mesh.nodes, NODES, finish) if mesh.nodes > 1 else None

    def make(data: int, nodes: int) -> Adjacency:
        layout = cut(nodes) if cut else finish(kind.prepare(matrix))
        if degree is not None:
            layout = DegreeLayout(layout, np.split(degree, mesh.nodes)[nodes].astype(np.float32))
        return Adjacency(layout, placed.row_of_node)

    return mesh.make_sharded(make)


def _build_sampler(config: Config, mesh: Mesh, interactions: Interactions, owners: np.ndarray | None) -> Sampler:
    if owners is not None:
        owners = owners[: interactions.num_users]
    data_set, axis = (interactions.train, interactions.num_items), mesh.axis(NODES)
    negative = config.negatives, interactions.disliked
    try:
        return mesh.make_sharded(
            lambda data, nodes: sampling.build_shard(config.sampler, *data_set, owners, nodes, axis, *negative)
        )
    except InputError:  # which is a ValueError, and says it all
        raise
    except ValueError as error:
        raise InputError("--dataset", str(error), "a user with both") from None


def _build_task(
    config: Config,
    mesh: Mesh,
    interactions: Interactions,
    owners: np.ndarray | None,
    users: np.ndarray | None,
    popularity: np.ndarray,
) -> EvaluationTask | None:
    if config.evaluation.eval_split == "none":
        return None
    if owners is not None:
        owners = owners[interactions.num_users :]
    axes = mesh.axis(DATA), mesh.axis(NODES)
    cut = {"data_shards": mesh.data, "owners": owners, "node_shards": mesh.nodes, "axes": axes, "users": users}
    parts = task.shard_evaluation_tasks(interactions, config.evaluation.eval_split, **cut)
    return mesh.make_sharded(lambda data, nodes: dataclasses.replace(parts[data][nodes], popularity=popularity))
