"""What a trained model is: settings that make an encoder, and an encoder that makes embeddings of its parameters."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.perturbation import MessageDropout, Noise
from lgcn_jax.graph.propagation import gather_rows
from lgcn_jax.settings import Settings, choice, integer, real


class Nodes(NamedTuple):
    """The nodes that the rows of a table are for.

    Attributes:
      node: int32[num_rows], the node of each row, users before items, -1 where there is none.
      num_users, num_items: of the data set.
    """

    node: jax.Array
    num_users: int
    num_items: int


class Encoder(nnx.Module):
    """Base of all encoders: a trained table, and the final embeddings that are computed from it.

    Every parameter with an axis has one row for each node, in the order of the layout's rows, or is `Replicated`.

    Where rows are cut over devices, `__call__` is that of one device's rows, and the gradient of a replicated parameter
    is added up over the devices. One that is used on the rows of a batch instead goes through `propagation.at_rows`.

    Attributes:
      table: float[num_rows, d], layer 0 of all nodes, in the order of the layout's rows.
    """

    def __init__(self, table: jax.Array):
        self.table = nnx.Param(table)

    def __call__(self, layout: Layout) -> jax.Array:
        """The final embeddings of all nodes, [num_rows, d]; their dot products are the scores."""
        raise NotImplementedError

    def combine(self, layout: Layout, weights: tuple[float, ...] | jax.Array) -> jax.Array:
        """The final embeddings with other weights of the layers, [num_rows, d]; of encoders with `weighed_layers`."""
        raise NotImplementedError

    def embeddings_at(
        self, layout: Layout, nodes: jax.Array, shared: jax.Array | None = None, axis: str | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The final and the layer-0 embeddings of some rows, `self(layout)[rows]` and `table[rows]`, each [m, d].

        Args:
          layout: of the adjacency matrix.
          nodes: int32[..., b], rows of nodes; they come first, flattened.
          shared: int32[s], rows that all devices of the axis ask for; they come last.
          axis: the mesh axis over which the last dimension of `nodes` is cut, None where it is not; the gradient is
            then that of the losses of all its devices, added up.
        """
        return self._gather_final_and_table(self(layout), layout, nodes, shared, axis)

    def perturbed_at(
        self,
        layout: Layout,
        noise: Noise,
        layer: int,
        nodes: jax.Array,
        shared: jax.Array | None = None,
        axis: str | None = None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Rows of the final embeddings, of one layer, and of layer 0, with noise in each propagation, each [m, d].

        Only encoders with `EncoderSettings.perturbed_layers` have it. They are linear in the table, so that noise,
        which is a constant to the gradient, leaves it what it is without noise.

        Args:
          noise: of this propagation.
          layer: from 0 to `perturbed_layers`.
          layout, nodes, shared, axis: as for `embeddings_at`.
        """
        raise NotImplementedError

    def dropped(self, layout: Layout, dropout: MessageDropout) -> jax.Array:
        """The final embeddings as a train step has them, with dropout; of encoders with a `dropout_rate`."""
        raise NotImplementedError

    def dropped_at(
        self,
        dropout: MessageDropout,
        layout: Layout,
        nodes: jax.Array,
        shared: jax.Array | None = None,
        axis: str | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """As `embeddings_at`, the final embeddings with dropout."""
        return self._gather_final_and_table(self.dropped(layout, dropout), layout, nodes, shared, axis)

    def _gather_final_and_table(self, final: jax.Array, layout: Layout, *where) -> tuple[jax.Array, jax.Array]:
        """Rows of all final embeddings, and of the table."""
        return gather_rows(layout, final, *where), gather_rows(layout, self.table[...], *where)


def matmul_at_full_precision(x: jax.Array, weights: jax.Array) -> jax.Array:
    """x [.., a] @ weights [a, b], also where a device would round to TF32 or bfloat16 before it multiplies."""
    return jnp.matmul(x, weights, precision="highest")


def unit_rows(x: jax.Array) -> jax.Array:
    """The rows of x [n, d] divided by their lengths; rows of zeros stay, and have no gradient."""
    square = (x * x).sum(1, keepdims=True)
    there = square > 0
    return x * jnp.where(there, jax.lax.rsqrt(jnp.where(there, square, 1)), 0)


class Head(Protocol):
    """A pytree that makes scores of final embeddings where they are no dot products.

    What a node brings along is computed once, by `project_users` and `project_items`, whatever it is paired with.
    """

    def project_users(self, embeddings: jax.Array) -> jax.Array:
        """[..., a]: what the other functions take of users, of their final embeddings [..., w]."""

    def project_items(self, embeddings: jax.Array) -> jax.Array:
        """[..., b]: likewise of items."""

    def pair_scores(self, user_vectors: jax.Array, item_vectors: jax.Array) -> jax.Array:
        """float[...]: the score of each pair of users [..., a] and items [..., b]."""

    def score_matrix(self, user_vectors: jax.Array, item_vectors: jax.Array) -> jax.Array:
        """float[n, m]: the scores of all pairs of users [n, a] and items [m, b], in memory that is bounded."""


class FoldIn(NamedTuple):
    """How a node that has no row in the table gets its embedding from its neighbors: see `graph.fold_in`.

    Attributes:
      own: what a node's own row counts in its final embedding.
      scale: what the rest of the final embedding is multiplied by where there is no such row.
      messages: (layout, table) -> float[num_rows, d], what each node passes on to a neighbor; D^-a A D^-b times it is
        the final embedding without what the node's own row counts.
      exponents: a and b; by default those of A_hat.
      finish: what makes the embeddings [n, d] of that product where it is not one yet, as where layers are not linear;
        messages may then be of any width. None: nothing.
      begins: whether, in a warm start, the rows of new nodes begin with such embeddings.
    """

    own: float
    scale: float
    messages: Callable[[Layout, jax.Array], jax.Array]
    exponents: tuple[float, float] = (0.5, 0.5)
    finish: Callable[[jax.Array], jax.Array] | None = None
    begins: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderSettings(Settings):
    """Base of the settings of all encoders."""

    NEEDS_DEGREES: ClassVar[bool] = False  # whether the layout is a `DegreeLayout`
    HAS_VECTORS: ClassVar[bool] = True  # whether scores are dot products of final embeddings; else there is a `head`

    embedding_dim: int = integer(64, "width d of the tables", most=65536)
    init: str = choice("normal", ("normal", "xavier"), "how the initial tables are drawn")
    init_std: float = real(
        0.1, "standard deviation of the initial tables of --init=normal", lambda v: v > 0, "a number above 0"
    )

    def create(self, key: jax.Array, nodes: Nodes) -> Encoder:
        """An encoder before its first step.

        Args:
          key: of all that is drawn.
          nodes: those of the table's rows.
        """
        raise NotImplementedError

    def ignored_settings(self) -> dict[str, str]:
        """The settings that have no effect beside this encoder, each with what would give it one."""
        return {} if self.init == "normal" else {"init_std": "--init=normal"}

    def head(self, parameters: Mapping[str, jax.Array]) -> Head | None:
        """What makes the scores where they are no dot products.

        Args:
          parameters: those that belong to no node, by name.
        """
        del parameters
        return None

    @property
    def table_width(self) -> int:
        """Numbers of a node's row of the table."""
        return self.embedding_dim

    @property
    def final_width(self) -> int:
        """Numbers of a node's final embedding."""
        return self.table_width

    @property
    def activations_per_node(self) -> int:
        """Numbers that a train step keeps for each node at a time, beside the table and the optimizer's state."""
        return self.table_width

    @property
    def weighed_layers(self) -> int:
        """How many layers have weights that may be others when items are ranked; 0: none."""
        return 0

    def fold_in(
        self, weights: tuple[float, ...] | None = None, trained: Mapping[str, np.ndarray] | None = None
    ) -> FoldIn | None:
        """How new nodes are folded in; None where this encoder cannot embed a node without a row of its own.

        Args:
          weights: of the layers, in place of training's; None: those of training.
          trained: the parameters that belong to no node, by name; None: those that a run begins with.
        """
        del weights, trained
        return None

    @property
    def perturbed_layers(self) -> int:
        """The number of layers to which `Encoder.perturbed_at` adds noise; 0: it does not exist."""
        return 0

    @property
    def dropout_rate(self) -> float:
        """How probable it is that a train step drops an element, by `Encoder.dropped`; 0: steps drop nothing."""
        return 0.0

    def initial_table(self, key: jax.Array, nodes: Nodes) -> jax.Array:
        """float32[num_rows, table_width]: random numbers for the node of each row, and zeros where there is none.

        "normal" is N(0, init_std^2). "xavier" is uniform in [-b, b] with b = sqrt(6 / (n + d)), n the number of users
        for users, of items for items: Glorot and Bengio 2010, `torch.nn.init.xavier_uniform_` on each of the tables,
        two of which may stand side by side in a row.
        A node's numbers depend on the key and on the node alone, not on the order of the rows or their number.
        """
        node, shape = nodes.node, (self.table_width,)
        if self.init == "normal":
            drawn = jax.vmap(lambda node: jax.random.normal(jax.random.fold_in(key, node), shape, jnp.float32))(node)
            return jnp.where(node[:, None] >= 0, self.init_std * drawn, 0)
        drawn = jax.vmap(
            lambda node: jax.random.uniform(jax.random.fold_in(key, node), shape, jnp.float32, minval=-1, maxval=1)
        )(node)
        of_users, of_items = (math.sqrt(6 / (size + self.embedding_dim)) for size in nodes[1:])
        bound = jnp.where(node < nodes.num_users, of_users, of_items)
        return jnp.where(node[:, None] >= 0, bound[:, None] * drawn, 0)
