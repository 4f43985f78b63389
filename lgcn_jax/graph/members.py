"""A layout that multiplies for many members at once: under `jax.vmap` they stand side by side in the feature axis.

A product reads the whole matrix, whatever the width of what it multiplies. So the tables of P members are one array
[n, P, d], which is a table [n, P d] without a move, and a table [n P, d] to gather rows from. `jax.vmap` hands them to
the rules below as [P, n, d]; where the members' axis is the second one outside of it (`in_axes=1`), XLA finds that the
transpositions there and back undo each other.
"""

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from lgcn_jax.devices.pytree import pytree
from lgcn_jax.graph.delegating import DelegatingLayout
from lgcn_jax.graph.layout import Layout

FEW = 4  # rows are few where they are less than one in FEW of all


@pytree
class MemberLayout(DelegatingLayout):
    """A layout whose products may be mapped over members by `jax.vmap`; alone, it is the layout inner.

    What is mapped here has no derivative: the functions of `propagation`, which state theirs, are made of it.
    """

    def product(self, x: jax.Array) -> jax.Array:
        return _product(self.inner, x)

    def product_at(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        return _product_at(self.inner, x, nodes)

    def product_of_rows(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        return _product_of_rows(self.inner, rows, nodes)

    def gather(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        return _gather(self.inner, x, nodes)

    def scatter_add(self, x: jax.Array, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        return _scatter_add(self.inner, x, rows, nodes)


def _broadcast_unbatched(members: int, batched: tuple[bool, ...], *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays with a leading axis of members, also those that all members share."""
    repeated = (jnp.broadcast_to(each, (members, *each.shape)) for each in arrays)
    return tuple(a if is_batched else b for a, b, is_batched in zip(arrays, repeated, batched, strict=True))


def _fold_members(x: jax.Array) -> jax.Array:
    """[P, n, d] -> [n, P d]."""
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)


def _unfold_members(x: jax.Array, members: int) -> jax.Array:
    """The inverse of `_fold_members`."""
    return jnp.moveaxis(x.reshape(x.shape[0], members, -1), 1, 0)


def _flat_indices(nodes: jax.Array) -> jax.Array:
    """int32[P m]: where the rows of members' nodes [P, m] stand in a table [n P, d]."""
    members = len(nodes)
    return (nodes * members + jnp.arange(members, dtype=nodes.dtype)[:, None]).reshape(-1)


def _gather_rows(layout: Layout, x: jax.Array, nodes: jax.Array) -> jax.Array:
    """[P, m, d]: rows of x [n, P d] at members' nodes [P, m]."""
    members, count = nodes.shape
    return layout.gather(x.reshape(x.shape[0] * members, -1), _flat_indices(nodes)).reshape(members, count, -1)


@custom_vmap
def _product(layout: Layout, x: jax.Array) -> jax.Array:
    return layout.product(x)


@_product.def_vmap
def _products(members: int, batched, layout: Layout, x: jax.Array):
    del batched  # a product is mapped over what it multiplies, never over the layout alone
    return _unfold_members(layout.product(_fold_members(x)), members), True


@custom_vmap
def _product_at(layout: Layout, x: jax.Array, nodes: jax.Array) -> jax.Array:
    return layout.product_at(x, nodes)


@_product_at.def_vmap
def _products_at(members: int, batched, layout: Layout, x: jax.Array, nodes: jax.Array):
    """Where rows are few, each member's own partial product: what all of them ask for is not few any more."""
    x, nodes = _broadcast_unbatched(members, batched[1:], x, nodes)
    if FEW * nodes.shape[1] < layout.num_rows:
        return jax.lax.map(lambda each: layout.product_at(*each), (x, nodes)), True
    return _gather_rows(layout, layout.product(_fold_members(x)), nodes), True


@custom_vmap
def _product_of_rows(layout: Layout, rows: jax.Array, nodes: jax.Array) -> jax.Array:
    return layout.product_of_rows(rows, nodes)


@_product_of_rows.def_vmap
def _products_of_rows(members: int, batched, layout: Layout, rows: jax.Array, nodes: jax.Array):
    rows, nodes = _broadcast_unbatched(members, batched[1:], rows, nodes)
    if FEW * nodes.shape[1] < layout.num_rows:
        return jax.lax.map(lambda each: layout.product_of_rows(*each), (rows, nodes)), True
    nothing = jnp.zeros((layout.num_rows, members * rows.shape[2]), rows.dtype)
    return _unfold_members(layout.product(_add_rows(layout, nothing, rows, nodes)), members), True


@custom_vmap
def _gather(layout: Layout, x: jax.Array, nodes: jax.Array) -> jax.Array:
    return layout.gather(x, nodes)


@_gather.def_vmap
def _gathers(members: int, batched, layout: Layout, x: jax.Array, nodes: jax.Array):
    if not batched[1]:  # rows of one table, for all members
        return layout.gather(x, nodes.reshape(-1)).reshape(*nodes.shape, -1), True
    x, nodes = _broadcast_unbatched(members, batched[1:], x, nodes)
    return _gather_rows(layout, _fold_members(x), nodes), True


@custom_vmap
def _scatter_add(layout: Layout, x: jax.Array, rows: jax.Array, nodes: jax.Array) -> jax.Array:
    return layout.scatter_add(x, rows, nodes)


@_scatter_add.def_vmap
def _scatters_add(members: int, batched, layout: Layout, x: jax.Array, rows: jax.Array, nodes: jax.Array):
    x, rows, nodes = _broadcast_unbatched(members, batched[1:], x, rows, nodes)
    return _unfold_members(_add_rows(layout, _fold_members(x), rows, nodes), members), True


def _add_rows(layout: Layout, x: jax.Array, rows: jax.Array, nodes: jax.Array) -> jax.Array:
    """x [n, P d] with members' rows [P, m, d] added at their nodes [P, m]."""
    members, count, width = rows.shape
    flat = x.reshape(-1, width), rows.reshape(members * count, width), _flat_indices(nodes)
    return layout.scatter_add(*flat).reshape(x.shape)
