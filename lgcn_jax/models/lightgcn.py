"""LightGCN's encoder (He et al. 2020): a table of node embeddings, propagated K times, and the layers' weighted sum."""

import jax
import jax.numpy as jnp
from flax import nnx

from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.propagation import combined_rows, propagate


class LightGCN(nnx.Module):
    """The trainable table and what is computed from it.

    Attributes:
      table: float[num_rows, d], layer 0 of all nodes, in the order of the layout's rows.
      weights: alpha_0..alpha_K, one for each layer; static.
    """

    def __init__(self, table: jax.Array, weights: tuple[float, ...]):
        self.table = nnx.Param(table)
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
        table = self.table[...]
        final = self.weights[-1] * table
        for weight in self.weights[-2::-1]:
            final = weight * table + propagate(layout, final)
        return final

    def rows(self, layout: Layout, rows: jax.Array, axis: str | None = None) -> tuple[jax.Array, jax.Array]:
        """The final and the layer-0 embeddings in int32[..., m] `rows`, each [..., m, d].

        They are `self(layout)[rows]`, but cheaper. Where a mesh axis cuts the last dimension of `rows`, the table's
        gradient is that of the losses of all its devices, added up.
        """
        return combined_rows(layout, self.weights, self.table[...], rows, axis)


def initial_table(key: jax.Array, node: jax.Array, dim: int, std: float) -> jax.Array:
    """float32[num_rows, dim]: N(0, std^2) for the node of each row, and zeros where `node` (int32[num_rows]) is -1.

    A node's numbers depend on the key and on the node alone, and so on neither the order of the rows nor their number.
    """
    drawn = jax.vmap(lambda node: jax.random.normal(jax.random.fold_in(key, node), (dim,), jnp.float32))(node)
    return jnp.where(node[:, None] >= 0, std * drawn, 0)
