"""LightGCN (He et al. 2020): a table of node embeddings, propagated K times, and the layers' weighted sum."""

import dataclasses
import functools

import jax

from lgcn_jax.errors import InputError
from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.propagation import combine_layers_at, propagate
from lgcn_jax.models.encoder import Encoder, EncoderSettings, FoldIn, Nodes
from lgcn_jax.settings import integer, representable, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class LightGCNSettings(EncoderSettings):
    """Depth and layer weights of LightGCN."""

    num_layers: int = integer(3, "number of propagation layers K", least=0, most=64)
    layer_weights: tuple[float, ...] = setting(
        (),
        "weights alpha_0,...,alpha_K of the layers (default: each 1/(K+1))",
        lambda v: all(map(representable, v)),
        "finite numbers (in float32)",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.layer_weights and len(self.layer_weights) != self.num_layers + 1:
            expected = f"{self.num_layers + 1} (num_layers + 1)"
            raise InputError("--layer_weights", f"{len(self.layer_weights)} numbers", expected)

    @property
    def weights(self) -> tuple[float, ...]:
        """The layer weights alpha_0..alpha_K, uniform unless given."""
        return self.layer_weights or (1 / (self.num_layers + 1),) * (self.num_layers + 1)

    def create(self, key: jax.Array, nodes: Nodes) -> "LightGCN":
        return LightGCN(self.initial_table(key, nodes), self.weights)

    @property
    def weighed_layers(self) -> int:
        return self.num_layers + 1 if self.num_layers else 0

    def fold_in(self, weights: tuple[float, ...] | None = None) -> FoldIn | None:
        """Layers 1..K without layer 0, their weights scaled so that they add up to what all weights add up to.

        None where that cannot be: there is no layer but 0, or the weights cancel out.
        """
        weights = weights or self.weights
        whole, rest = sum(weights), sum(weights[1:])
        if rest == 0 or whole / rest <= 0:
            return None
        return FoldIn(weights[0], whole / rest, functools.partial(messages, weights=weights))


def messages(layout: Layout, table: jax.Array, weights: tuple[float, ...]) -> jax.Array:
    """sum_{k=1..K} alpha_k E^(k-1), [num_rows, d]: A_hat times it is the final embedding without layer 0. K >= 1."""
    total = weights[-1] * table
    for weight in weights[-2:0:-1]:
        total = weight * table + propagate(layout, total)
    return total


class LightGCN(Encoder):
    """The trainable table and what is computed from it.

    Attributes:
      weights: alpha_0..alpha_K, one for each layer; static.
    """

    def __init__(self, table: jax.Array, weights: tuple[float, ...]):
        super().__init__(table)
        self.weights = weights

    def layers(self, layout: Layout) -> list[jax.Array]:
        """E^(0), ..., E^(K) with E^(k+1) = A_hat E^(k) (eq. 7), each [num_rows, d]."""
        layers = [self.table[...]]
        for _ in self.weights[1:]:
            layers.append(propagate(layout, layers[-1]))
        return layers

    def __call__(self, layout: Layout) -> jax.Array:
        """The final embeddings sum_k alpha_k E^(k) (eq. 4), [num_rows, d].

        By Horner's rule, alpha_0 E + A_hat (alpha_1 E + A_hat (...)): no layer is kept for a sum at the end.
        """
        return self.combine(layout, self.weights)

    def combine(self, layout: Layout, weights: tuple[float, ...] | jax.Array) -> jax.Array:
        table = self.table[...]
        final = weights[-1] * table
        for k in range(len(weights) - 2, -1, -1):
            final = weights[k] * table + propagate(layout, final)
        return final

    def embeddings_at(
        self, layout: Layout, nodes: jax.Array, shared: jax.Array | None = None, axis: str | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """As for `Encoder`, but cheaper: the first and the last product are made for these rows alone."""
        return combine_layers_at(layout, self.weights, self.table[...], nodes, shared, axis)
