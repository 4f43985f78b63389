"""LightGCN++ (Lee, Kim and Shin, RecSys 2024): another normalization of the graph, unit rows, and layer 0 apart."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import ClassVar

import jax
import numpy as np

from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.propagation import gather_rows, propagate, propagate_at
from lgcn_jax.models.encoder import Encoder, EncoderSettings, FoldIn, Nodes, unit_rows
from lgcn_jax.settings import integer, real


def is_exponent_in_range(value: float) -> bool:
    """Whether degrees to this power are numbers in float32."""
    return -2 <= value <= 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class LightGCNPlusPlusSettings(EncoderSettings):
    """Depth, normalization and weights of LightGCN++; the defaults are what its authors recommend.

    Their best (left_exponent, right_exponent, layer0_weight) for Gowalla is (.6, -.1, .2), for Yelp (.6, -.1, 0).

    >>> from lgcn_jax.config import Config
    >>> settings = Config.of(model="lightgcn++", layer0_weight=0.1).model
    >>> settings.num_layers, settings.left_exponent, settings.right_exponent
    (2, 0.6, -0.1)
    """

    NEEDS_DEGREES: ClassVar[bool] = True

    num_layers: int = integer(2, "number of propagation layers K", least=1, most=64)
    left_exponent: float = real(
        0.6,
        "a of D^-a A D^-b, which divides what a node gets by its degree",
        is_exponent_in_range,
        "a number from -2 to 2",
    )
    right_exponent: float = real(
        -0.1,
        "b of D^-a A D^-b, which divides what a node gives by its degree",
        is_exponent_in_range,
        "a number from -2 to 2",
    )
    layer0_weight: float = real(
        0.2, "gamma: weight of layer 0 beside the mean of the others", lambda v: 0 <= v <= 1, "a number from 0 to 1"
    )

    @property
    def propagated_layer_weight(self) -> float:
        """(1 - gamma) / K, the weight of each layer but 0."""
        return (1 - self.layer0_weight) / self.num_layers

    @property
    def activations_per_node(self) -> int:
        """Each layer is kept, and its rows at length 1."""
        return 2 * self.num_layers * self.embedding_dim

    def create(self, key: jax.Array, nodes: Nodes) -> "LightGCNPlusPlus":
        return LightGCNPlusPlus(self.initial_table(key, nodes), self)

    def fold_in(
        self, weights: tuple[float, ...] | None = None, trained: Mapping[str, np.ndarray] | None = None
    ) -> FoldIn | None:
        """Layers 1..K without layer 0, with weights that add up to 1; None where layer 0 is all that counts."""
        del weights, trained
        if self.layer0_weight == 1:
            return None
        exponents, passed = (self.left_exponent, self.right_exponent), functools.partial(messages, settings=self)
        return FoldIn(self.layer0_weight, 1 / (1 - self.layer0_weight), passed, exponents)


def messages(layout: Layout, table: jax.Array, settings: LightGCNPlusPlusSettings) -> jax.Array:
    """(1-g)/K sum_{k=1..K} n(E^(k-1)), [num_rows, d]: D^-a A D^-b times it is the final embedding without layer 0."""
    layers = LightGCNPlusPlus(table, settings).layers(layout, settings.num_layers - 1)
    first, *others = map(unit_rows, layers)
    return settings.propagated_layer_weight * sum(others, start=first)


class LightGCNPlusPlus(Encoder):
    """LightGCN++: with n(.) dividing each row by its length,

        E^(k+1) = D^-a A D^-b n(E^(k)),    final = (1 - g) / K * sum_{k=1..K} E^(k) + g E^(0).

    Lee, Kim and Shin: Revisiting LightGCN: Unexpected Inflexibility, Inconsistency, and a Remedy Towards Improved
    Recommendation (RecSys 2024), and their code. Each product is A_hat between two scalings of rows,
    D^(1/2-a) A_hat D^(1/2-b). Their loss is BPR with the L2 penalty of the batch's layer-0 rows, as here.

    Attributes:
      settings: depth, exponents and the weight of layer 0; static.
    """

    def __init__(self, table: jax.Array, settings: LightGCNPlusPlusSettings):
        super().__init__(table)
        self.settings = settings

    def outgoing(self, layout: Layout, x: jax.Array) -> jax.Array:
        """D^(1/2-b) n(x), of which A_hat makes what the nodes get."""
        return layout.degree_power(0.5 - self.settings.right_exponent).astype(x.dtype) * unit_rows(x)

    def left_scale(self, layout: Layout) -> jax.Array:
        """D^(1/2-a), [num_rows, 1]."""
        return layout.degree_power(0.5 - self.settings.left_exponent).astype(self.table[...].dtype)

    def layers(self, layout: Layout, count: int | None = None) -> list[jax.Array]:
        """E^(0), ..., E^(count), or all of them, each [num_rows, d]."""
        layers, left = [self.table[...]], self.left_scale(layout)
        for _ in range(self.settings.num_layers if count is None else count):
            layers.append(left * propagate(layout, self.outgoing(layout, layers[-1])))
        return layers

    def combine_layers(self, layers: list[jax.Array]) -> jax.Array:
        """What layer 0 and those after it add to the final embeddings."""
        final = self.settings.layer0_weight * layers[0]
        for layer in layers[1:]:
            final = final + self.settings.propagated_layer_weight * layer
        return final

    def __call__(self, layout: Layout) -> jax.Array:
        """The final embeddings, [num_rows, d]."""
        return self.combine_layers(self.layers(layout))

    def embeddings_at(
        self, layout: Layout, nodes: jax.Array, shared: jax.Array | None = None, axis: str | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """As for `Encoder`, but cheaper: the last product forward, and the first one back, are of these rows alone."""
        where, settings = (nodes, shared, axis), self.settings
        before = self.layers(layout, settings.num_layers - 1)
        last = propagate_at(layout, self.outgoing(layout, before[-1]), *where)
        last = gather_rows(layout, self.left_scale(layout), *where) * last
        final = gather_rows(layout, self.combine_layers(before), *where)
        return final + settings.propagated_layer_weight * last, gather_rows(layout, self.table[...], *where)
