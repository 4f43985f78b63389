"""EGCF (Zhang et al. 2024): a table of items alone; users are what their items make of them."""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.propagation import gather_rows, propagate, propagate_at
from lgcn_jax.models.encoder import Encoder, EncoderSettings, FoldIn, Nodes
from lgcn_jax.settings import choice, integer


@dataclasses.dataclass(frozen=True, kw_only=True)
class EGCFSettings(EncoderSettings):
    """Depth of EGCF, which by default begins with a Xavier-uniform table.

    >>> from lgcn_jax.models import EGCFSettings
    >>> EGCFSettings().init
    'xavier'
    """

    num_layers: int = integer(3, "number of propagation layers K", least=1, most=64)
    init: str = choice("xavier", ("normal", "xavier"), "how the initial tables are drawn")

    def create(self, key: jax.Array, nodes: Nodes) -> "EGCF":
        table = self.initial_table(key, nodes)
        return EGCF(jnp.where(nodes.node[:, None] >= nodes.num_users, table, 0), self.num_layers)

    @property
    def activations_per_node(self) -> int:
        """E^(0), ..., E^(K - 1) are kept for the gradient, beside their sum and the gradient at hand."""
        return self.embedding_dim * (self.num_layers + 2)

    def fold_in(
        self, weights: tuple[float, ...] | None = None, trained: Mapping[str, np.ndarray] | None = None
    ) -> FoldIn | None:
        """By the layers of the neighbors alone, as every node is embedded: no row of its own is missing.

        A new item begins a warm start with a row that is drawn, and users have none.
        """
        messages = functools.partial(inner_layers, depth=self.num_layers)
        finish = functools.partial(final_of_products, depth=self.num_layers)
        return FoldIn(own=0.0, scale=1.0, messages=messages, finish=finish, begins=False)


def first_layer(layout: Layout, table: jax.Array) -> jax.Array:
    """E^(0), [num_rows, d]."""
    own = (table != 0).any(1, keepdims=True)
    return jnp.where(own, table, jnp.tanh(propagate(layout, table)))


def inner_layers(layout: Layout, table: jax.Array, depth: int) -> jax.Array:
    """E^(0), ..., E^(K - 1) side by side, [num_rows, K * d]."""
    layers = [first_layer(layout, table)]
    for _ in range(1, depth):
        layers.append(jnp.tanh(propagate(layout, layers[-1])))
    return jnp.concatenate(layers, axis=1)


def final_of_products(products: jax.Array, depth: int) -> jax.Array:
    """E^(1) + ... + E^(K), [n, d], of A_hat E^(0), ..., A_hat E^(K - 1) side by side."""
    return sum(map(jnp.tanh, jnp.split(products, depth, axis=1)), jnp.zeros((), products.dtype))


class EGCF(Encoder):
    """E^(0) has the items' rows of the table and, for users, tanh(A_hat table); E^(k) = tanh(A_hat E^(k-1)).

    The final embedding is E^(1) + ... + E^(K). From "Simplify to the Limit! Embedding-less Graph Collaborative
    Filtering for Recommender Systems" (ACM TOIS 2024), with the "parallel" aggregation, that of the authors' runs on
    Yelp2018 and Amazon-Book (github.com/BlueGhostYi/EGCF).

    The users' rows of the table are zero and stay so: a row of zeros is that of a node without an embedding of its own,
    and no gradient reaches it. So the table is that of every encoder, for the price of these rows in memory and in
    Adam's pass. Users and items without a train pair have the final embedding 0.

    Attributes:
      num_layers: K; static.
    """

    def __init__(self, table: jax.Array, num_layers: int):
        super().__init__(table)
        self.num_layers = num_layers

    def __call__(self, layout: Layout) -> jax.Array:
        final = layer = jnp.tanh(propagate(layout, first_layer(layout, self.table[...])))
        for _ in range(1, self.num_layers):
            layer = jnp.tanh(propagate(layout, layer))
            final = final + layer
        return final

    def embeddings_at(
        self, layout: Layout, nodes: jax.Array, shared: jax.Array | None = None, axis: str | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """As for `Encoder`, but cheaper: the last product, and the first of the gradient, are of these rows alone."""
        where = nodes, shared, axis
        layer, final = first_layer(layout, self.table[...]), None
        for _ in range(1, self.num_layers):
            layer = jnp.tanh(propagate(layout, layer))
            final = layer if final is None else final + layer
        last = jnp.tanh(propagate_at(layout, layer, *where))
        found = last if final is None else gather_rows(layout, final, *where) + last
        return found, gather_rows(layout, self.table[...], *where)
