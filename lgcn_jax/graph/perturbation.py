"""Randomness of a train step within the encoder: noise that moves embeddings, and dropout of their elements.

With noise, after each product every embedding is moved a little, in directions of its own signs: E^(0) is the table and
E^(k) = noisy(A_hat E^(k-1)), with noisy(e) = e + magnitude * sign(e) * u, u a random vector of length 1 and of positive
elements (Yu et al. 2022, arXiv:2112.08679). Since sign has no slope, noise is a constant to the gradient: that of a
weighted sum of noisy layers is the polynomial of A_hat that it is without noise.
"""

import functools
from typing import Self

import jax
import jax.numpy as jnp

from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.propagation import Adjacency, flat_rows, rows_of_all_devices, sum_of_powers

ODD = 0x9E3779B9  # 2^32 over the golden ratio: its multiples lie far apart


@pytree
class NodeRandomBits:
    """Random bits that are never written down: a function of a key, a layer, a node and a place in the vector.

    So they are the same in every order of the rows and on any number of devices. They are the finalizer of MurmurHash3
    twice; `jax.random.uniform` takes ten times as long on a CPU, which is longer than the products take.

    Attributes:
      seed: uint32[2], of a propagation.
      node: int32[num_rows], the node of each row of the layout, -1 where there is none.
    """

    seed: jax.Array
    node: jax.Array

    @classmethod
    def of(cls, key: jax.Array, adjacency: Adjacency, *more: float) -> Self:
        """Those of a key, for the table's rows that are on this device; `more` are the fields of a subclass."""
        node = jnp.arange(1, len(adjacency.row_of_node) + 1, dtype=jnp.int32)
        placed = adjacency.layout.scatter(node[:, None], adjacency.row_of_node)[:, 0] - 1
        return cls(jax.random.bits(key, (2,), jnp.uint32), placed, *more)

    def bits(self, node: jax.Array, layer: int, width: int) -> jax.Array:
        """uint32[m, width]: those of a layer, by its number, for int32[m] nodes."""
        start = _mix_bits(node.astype(jnp.uint32) * jnp.uint32(ODD) + self.seed[0] + jnp.uint32(layer))
        place = jnp.arange(width, dtype=jnp.uint32) * jnp.uint32(ODD) + self.seed[1]
        return _mix_bits(start[:, None] + place[None, :])


@pytree
class Noise(NodeRandomBits):
    """Noise whose elements are uniform before it is brought to its length.

    Attributes:
      magnitude: length of the vector that is added; static.
    """

    magnitude: float = static()

    def add_to_layer(self, x: jax.Array, layer: int) -> jax.Array:
        """x [num_rows, d], that layer before its noise, with it."""
        return self._add_noise(x, self.node, layer)

    def add_to_rows(self, layout: Layout, rows: jax.Array, nodes: jax.Array, layer: int) -> jax.Array:
        """The same of some rows [m, d] of x, those at int32[m] `nodes`."""
        return self._add_noise(rows, layout.gather(self.node[:, None], nodes)[:, 0], layer)

    def _add_noise(self, x: jax.Array, node: jax.Array, layer: int) -> jax.Array:
        bits = self.bits(node, layer, x.shape[1])
        uniform = ((bits >> 8).astype(jnp.float32) * jnp.float32(2**-24)).astype(x.dtype)
        length = jnp.sqrt(jnp.maximum(jnp.square(uniform).sum(-1, keepdims=True), 1e-24))
        return x + jnp.asarray(self.magnitude, x.dtype) * jnp.sign(x) * (uniform / length)


@pytree
class MessageDropout(NodeRandomBits):
    """Dropout (Srivastava et al. 2014) of the elements of embeddings.

    Attributes:
      rate: how probable each element is to be dropped; static.
    """

    rate: float = static()

    def applied(self, x: jax.Array, layer: int) -> jax.Array:
        """x [num_rows, d], that layer: 0 for what is dropped, and 1 / (1 - rate) times what is kept."""
        below = jnp.uint32(min(round(self.rate * 2**32), 2**32 - 1))
        kept = self.bits(self.node, layer, x.shape[1]) >= below
        return jnp.where(kept, x * jnp.asarray(1 / (1 - self.rate), x.dtype), 0)


def _mix_bits(x: jax.Array) -> jax.Array:
    """The finalizer of MurmurHash3: every bit of the result depends on every bit of x."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> shift)) * jnp.uint32(factor)
    return x ^ (x >> 16)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 6))
def combine_noisy_layers_at(
    layout: Layout,
    noise: Noise,
    weights: tuple[tuple[float, ...], ...],
    table: jax.Array,
    nodes: jax.Array,
    shared: jax.Array | None = None,
    axis: str | None = None,
) -> tuple[jax.Array, ...]:
    """Rows of weighted sums of the noisy layers, (sum_k w[k] E^(k))[rows] for each w, and table[rows]; each [m, d].

    As in `propagation.combine_layers_at`, the last product is made for these rows alone, and backward the first one.

    Args:
      layout: of A_hat.
      noise: of this propagation.
      weights: for each result one tuple of K + 1 weights, K at least 1; static.
      table, nodes, shared, axis: as for `propagation.combine_layers_at`.
    """
    at, depth = flat_rows(nodes, shared), len(weights[0]) - 1
    own, layer = layout.gather(table, at), table
    found = [each[0] * own for each in weights]
    for number in range(1, depth + 1):
        if number < depth:
            layer = noise.add_to_layer(layout.product(layer), number)
            rows = layout.gather(layer, at)
        else:
            rows = noise.add_to_rows(layout, layout.product_at(layer, at), at, number)
        found = [total + each[number] * rows for total, each in zip(found, weights, strict=True)]
    return *found, own


def _forward(layout: Layout, noise: Noise, weights, table: jax.Array, nodes, shared, axis: str | None):
    found = combine_noisy_layers_at(layout, noise, weights, table, nodes, shared, axis)
    return found, (layout, nodes, shared)


def _backward(weights: tuple[tuple[float, ...], ...], axis: str | None, kept, gradients: tuple[jax.Array, ...]):
    layout, nodes, shared = kept
    at, *rows = rows_of_all_devices(axis, nodes, shared, *gradients)
    own, *layers = (_weighted_sum(layer, rows[:-1]) for layer in zip(*weights, strict=True))
    return None, None, sum_of_powers(layout, own + rows[-1], reversed(layers), at), None, None


def _weighted_sum(weights: tuple[float, ...], rows: list[jax.Array]) -> jax.Array:
    total = weights[0] * rows[0]
    for weight, row in zip(weights[1:], rows[1:], strict=True):
        total = total + weight * row
    return total


combine_noisy_layers_at.defvjp(_forward, _backward)
