"""LightGCN's encoder (He et al. 2020): a table of node embeddings, propagated K times, and the layers' weighted sum."""

import jax
import jax.numpy as jnp
from flax import nnx

from lgcn_jax.layout import Layout
from lgcn_jax.propagation import combined_rows, propagate


class LightGCN(nnx.Module):
    """The trainable table and what is computed from it.

    Attributes:
      table: float[num_nodes, d], layer 0 of the users, then of the items offset by num_users.
      weights: alpha_0..alpha_K, one for each layer; static.
    """

    def __init__(self, num_nodes: int, dim: int, weights: tuple[float, ...], std: float, rngs: nnx.Rngs):
        self.table = nnx.Param(std * jax.random.normal(rngs.params(), (num_nodes, dim), jnp.float32))
        self.weights = weights

    def layers(self, layout: Layout) -> list[jax.Array]:
        """E^(0), ..., E^(K) with E^(k+1) = A_hat E^(k) (eq. 7), each [num_nodes, d]."""
        layers = [self.table[...]]
        for _ in self.weights[1:]:
            layers.append(propagate(layout, layers[-1]))
        return layers

    def __call__(self, layout: Layout) -> jax.Array:
        """The final embeddings sum_k alpha_k E^(k) (eq. 4), [num_nodes, d].

        By Horner's rule, alpha_0 E + A_hat (alpha_1 E + A_hat (...)): no layer is kept for a sum at the end.
        """
        table = self.table[...]
        final = self.weights[-1] * table
        for weight in self.weights[-2::-1]:
            final = weight * table + propagate(layout, final)
        return final

    def rows(self, layout: Layout, nodes: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The final and the layer-0 embeddings of int32[m] `nodes`, each [m, d]: `self(layout)[nodes]`, but cheaper."""
        return combined_rows(layout, self.weights, self.table[...], nodes)
