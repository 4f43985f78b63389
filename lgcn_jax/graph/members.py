"""A layout that multiplies for many members at once: under `jax.vmap` they stand side by side in the feature axis.

A product reads the whole matrix, whatever the width of what it multiplies. So x of P members, [P, n, d], is laid out as
[n, P d], multiplied once, and laid out back.
"""

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from lgcn_jax.devices.pytree import pytree
from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.wrapped import WrappedLayout

FEW = 4  # rows are few where they are less than one in FEW of all


@pytree
class MemberLayout(WrappedLayout):
    """A layout whose products may be mapped over members by `jax.vmap`; alone, it is the layout inner.

    Its products have no derivative: those of `propagation`, which state theirs, are made of them.
    """

    def product(self, x: jax.Array) -> jax.Array:
        return _product(self.inner, x)

    def product_at(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        return _product_at(self.inner, x, nodes)

    def product_of_rows(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        return _product_of_rows(self.inner, rows, nodes)


def folded(x: jax.Array) -> jax.Array:
    """[P, n, d] -> [n, P d], member by member."""
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)


def unfolded(x: jax.Array, members: int) -> jax.Array:
    """The inverse of `folded`."""
    return jnp.moveaxis(x.reshape(x.shape[0], members, -1), 1, 0)


@custom_vmap
def _product(layout: Layout, x: jax.Array) -> jax.Array:
    return layout.product(x)


@_product.def_vmap
def _products(members: int, batched, layout: Layout, x: jax.Array):
    del batched  # a product is mapped over what it multiplies, never over the layout alone
    return unfolded(layout.product(folded(x)), members), True


@custom_vmap
def _product_at(layout: Layout, x: jax.Array, nodes: jax.Array) -> jax.Array:
    return layout.product_at(x, nodes)


@_product_at.def_vmap
def _products_at(members: int, batched, layout: Layout, x: jax.Array, nodes: jax.Array):
    """Where rows are few, each member's own partial product: what all of them ask for is not few any more."""
    x, nodes = _of_each(members, batched[1:], x, nodes)
    if FEW * nodes.shape[1] < layout.num_rows:
        return jax.lax.map(lambda each: layout.product_at(*each), (x, nodes)), True
    every = unfolded(layout.product(folded(x)), members)
    return jax.vmap(lambda x, nodes: x[nodes])(every, nodes), True


@custom_vmap
def _product_of_rows(layout: Layout, rows: jax.Array, nodes: jax.Array) -> jax.Array:
    return layout.product_of_rows(rows, nodes)


@_product_of_rows.def_vmap
def _products_of_rows(members: int, batched, layout: Layout, rows: jax.Array, nodes: jax.Array):
    rows, nodes = _of_each(members, batched[1:], rows, nodes)
    if FEW * nodes.shape[1] < layout.num_rows:
        return jax.lax.map(lambda each: layout.product_of_rows(*each), (rows, nodes)), True
    every = jax.vmap(layout.scatter)(rows, nodes)
    return unfolded(layout.product(folded(every)), members), True


def _of_each(members: int, batched: tuple[bool, ...], *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays with a leading axis of members, also those that all members share."""
    repeated = (jnp.broadcast_to(each, (members, *each.shape)) for each in arrays)
    return tuple(a if is_batched else b for a, b, is_batched in zip(arrays, repeated, batched, strict=True))
