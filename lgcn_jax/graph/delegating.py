"""Layouts around another layout, which does the work."""

import jax
import jax.numpy as jnp

from lgcn_jax.devices.pytree import pytree
from lgcn_jax.graph import scatter
from lgcn_jax.graph.layout import Layout


@pytree
class DelegatingLayout(Layout):
    """A layout that does all that `inner` does."""

    inner: Layout

    @property
    def num_rows(self) -> int:
        return self.inner.num_rows

    def product(self, x: jax.Array) -> jax.Array:
        return self.inner.product(x)

    def product_at(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        return self.inner.product_at(x, nodes)

    def product_of_rows(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        return self.inner.product_of_rows(rows, nodes)

    def gather(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        return self.inner.gather(x, nodes)

    def gather_local(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        return self.inner.gather_local(x, nodes)

    def psum(self, value: jax.Array) -> jax.Array:
        return self.inner.psum(value)

    def once(self, value: jax.Array) -> jax.Array:
        return self.inner.once(value)

    def degree_power(self, exponent: float) -> jax.Array:
        return self.inner.degree_power(exponent)

    def scatter_add(self, x: jax.Array, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        return self.inner.scatter_add(x, rows, nodes)


@pytree
class DegreeLayout(DelegatingLayout):
    """A layout of A_hat that knows the degrees of its rows.

    A_hat = D^-1/2 A D^-1/2 does not tell D, and with D any other normalization of A is A_hat between two scalings of
    rows: D^-a A D^-b = D^(1/2-a) A_hat D^(1/2-b).

    Attributes:
      degree: float32[num_rows], the sum of the weights of each row's node; 0 where it has no edge, or there is none.
    """

    degree: jax.Array

    def degree_power(self, exponent: float) -> jax.Array:
        """float32[num_rows, 1]: the rows of D^exponent; 0 where the degree is 0."""
        there = self.degree > 0
        return jnp.where(there, jnp.where(there, self.degree, 1) ** exponent, 0)[:, None]


@pytree
class LowPrecisionLayout(DelegatingLayout):
    """A layout whose products read x rounded to bfloat16 and add in the dtype of the matrix, as they do otherwise.

    Where the layout inner takes no bfloat16, x is rounded there and back: the numbers are the same.
    """

    def product(self, x: jax.Array) -> jax.Array:
        return self.inner.product(self._round_to_low_precision(x))

    def product_at(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        return self.inner.product_at(self._round_to_low_precision(x), nodes)

    def product_of_rows(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """Sums are rounded, not what they are made of: so those of equal nodes come first."""
        rows, nodes = scatter.coalesce(rows, nodes, self.num_rows)
        return self.inner.product_of_rows(self._round_to_low_precision(rows), nodes)

    def _round_to_low_precision(self, x: jax.Array) -> jax.Array:
        # Not by way of the dtype alone: XLA may drop a conversion there and back.
        low_precision = jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
        return low_precision.astype(jnp.bfloat16) if self.inner.ACCEPTS_BFLOAT16 else low_precision
