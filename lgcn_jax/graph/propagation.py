"""`propagate(layout, x)`: the product A_hat @ x, with its symmetric gradient, in the layout a platform does fastest.

Which layout is fastest where is measured by `experiments/benchmarks/propagation.py` and written down in BUILD_NOTES.md.

`combine_layers_at` is what a train step needs: some rows of the layers' weighted sum. Its first and its last product,
one of them in each direction, concern these rows alone, and a layout may have something faster for them.
"""

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.devices.mesh import psum
from lgcn_jax.devices.pytree import pytree
from lgcn_jax.graph.bucket import BucketLayout
from lgcn_jax.graph.compressed import BcooLayout, BcsrLayout, CusparseLayout, SegmentSumLayout
from lgcn_jax.graph.delegating import DegreeLayout, LowPrecisionLayout
from lgcn_jax.graph.layout import Layout, Matrix

DTYPES = ("float32", "bfloat16")
LAYOUTS: dict[str, type[Layout]] = {
    "bcoo": BcooLayout,
    "bcsr": BcsrLayout,
    "segment": SegmentSumLayout,
    "bucket": BucketLayout,
    "cusparse": CusparseLayout,
}

# BCSR has a kernel of its own on CPU only; elsewhere its fallback scatters, so `BucketLayout`, which gathers, is there.
FASTEST = {"cpu": "bcsr"}


def resolve_layout_name(name: str = "auto") -> str:
    """The layout meant by `name`: itself, or for 'auto' the default of the platform that JAX runs on."""
    return FASTEST.get(jax.default_backend(), "bucket") if name == "auto" else name


def is_deterministic(name: str) -> bool:
    """Whether a product in the layout meant by `name` has the same bits every time on the platform that JAX runs on."""
    return jax.default_backend() in LAYOUTS[resolve_layout_name(name)].DETERMINISTIC


def available_layouts() -> list[str]:
    """The layouts that work on the platform that JAX runs on."""
    return [name for name, layout in LAYOUTS.items() if jax.default_backend() in layout.PLATFORMS]


def make_layout(matrix: Matrix, name: str = "auto", dtype: str = "float32", degree: np.ndarray | None = None) -> Layout:
    """The symmetric matrix, as `normalization.normalized_adjacency` makes it, on the device in the named layout.

    Args:
      matrix: its dtype is that of all sums.
      name: one of LAYOUTS, or 'auto'.
      dtype: 'bfloat16' makes each product read its operand rounded to it; any other changes nothing.
      degree: float[n], of each row, for an encoder that needs degrees.
    """
    layout = with_dtype(jax.device_put(LAYOUTS[resolve_layout_name(name)].prepare(matrix)), dtype)
    return layout if degree is None else DegreeLayout(layout, jax.device_put(degree.astype(np.float32)))


def with_dtype(layout: Layout, dtype: str) -> Layout:
    """The layout, with products that read their operand rounded to `dtype` where that is 'bfloat16'."""
    return LowPrecisionLayout(layout) if dtype == "bfloat16" else layout


@pytree
class Adjacency:
    """A_hat for the table's rows, whatever their order.

    Attributes:
      layout: of A_hat, in the order of the rows.
      row_of_node: int32[num_nodes], the row of each node: of the users, then of the items.
    """

    layout: Layout
    row_of_node: jax.Array

    def gather(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """The rows of x that belong to int32 `nodes`."""
        return self.layout.gather(x, self.row_of_node[nodes])


@jax.custom_vjp
def propagate(layout: Layout, x: jax.Array) -> jax.Array:
    """A_hat @ x: one propagation of x [num_nodes, d] along all edges.

    A_hat is symmetric, so the gradient with respect to x is the same product; the layout has no gradient.
    """
    return layout.product(x)


def _forward(layout: Layout, x: jax.Array):
    return layout.product(x), layout


def _backward(layout: Layout, gradient: jax.Array):
    return None, layout.product(gradient)


propagate.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 5))
def combine_layers_at(
    layout: Layout,
    weights: tuple[float, ...],
    table: jax.Array,
    nodes: jax.Array,
    shared: jax.Array | None = None,
    axis: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Rows of the layers' weighted sum: (sum_k weights[k] A_hat^k table)[rows], and table[rows], each [m, d].

    Args:
      layout: of A_hat, n nodes.
      weights: alpha_0..alpha_K; static.
      table: [n, d].
      nodes: int32[..., b], repeats allowed; flattened, they are the first of the m rows.
      shared: int32[s], the rest of the rows, the same on all devices of the axis.
      axis: the mesh axis over which the last dimension of `nodes` is cut, None where it is not; static. The gradient is
        then that of the losses of all its devices, added up.
    """
    flat = flat_rows(nodes, shared)
    inner, scale, own = table, weights[-1], layout.gather(table, flat)
    for weight in weights[-2:0:-1]:  # Horner's rule: no layer is kept for a sum at the end
        inner, scale = weight * table + scale * layout.product(inner), 1.0
    combined = weights[0] * own
    if len(weights) > 1:
        combined = combined + scale * layout.product_at(inner, flat)
    return combined, own


def gather_rows(
    layout: Layout, table: jax.Array, nodes: jax.Array, shared: jax.Array | None = None, axis: str | None = None
) -> jax.Array:
    """table[rows], [m, d]; arguments and gradient as for `combine_layers_at`."""
    return combine_layers_at(layout, (1.0,), table, nodes, shared, axis)[1]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def propagate_at(
    layout: Layout, x: jax.Array, nodes: jax.Array, shared: jax.Array | None = None, axis: str | None = None
) -> jax.Array:
    """Rows of one propagation, (A_hat x)[rows], [m, d]; arguments and gradient as for `combine_layers_at`."""
    return layout.product_at(x, flat_rows(nodes, shared))


def _at_nodes_forward(layout: Layout, x: jax.Array, nodes, shared, axis: str | None):
    return propagate_at(layout, x, nodes, shared, axis), (layout, nodes, shared)


def _at_nodes_backward(axis: str | None, kept, gradient: jax.Array):
    layout, nodes, shared = kept
    nodes, rows = rows_of_all_devices(axis, nodes, shared, gradient)
    return None, layout.product_of_rows(rows, nodes), None, None


propagate_at.defvjp(_at_nodes_forward, _at_nodes_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def at_rows(layout: Layout, parameter: jax.Array, axis: str | None = None) -> jax.Array:
    """A replicated parameter, to be used on the rows of a batch that `gather_rows` and the like give.

    Of these, devices of the axis have different ones, and devices that A_hat is cut over all have the same: so the
    gradient is added up over the former, and counted once among the latter.
    """
    del layout, axis
    return parameter


def _at_rows_backward(axis: str | None, layout: Layout, gradient: jax.Array):
    return None, layout.once(psum(gradient, axis))


at_rows.defvjp(lambda layout, parameter, axis: (parameter, layout), _at_rows_backward)


def flat_rows(nodes: jax.Array, shared: jax.Array | None) -> jax.Array:
    """int32[m]: the rows that are asked for, in the order in which they are given."""
    nodes = nodes.reshape(-1)
    return nodes if shared is None else jnp.concatenate([nodes, shared])


def _combined_forward(layout: Layout, weights: tuple[float, ...], table: jax.Array, nodes, shared, axis: str | None):
    return combine_layers_at(layout, weights, table, nodes, shared, axis), (layout, nodes, shared)


def _combined_backward(weights: tuple[float, ...], axis: str | None, kept, gradients: tuple[jax.Array, jax.Array]):
    """The same polynomial of A_hat, applied to a gradient that only some rows have."""
    layout, nodes, shared = kept
    nodes, combined, own = rows_of_all_devices(axis, nodes, shared, *gradients)
    own = weights[0] * combined + own
    return None, sum_of_powers(layout, own, (weight * combined for weight in weights[:0:-1]), nodes), None, None


def sum_of_powers(layout: Layout, own: jax.Array, layers: Iterable[jax.Array], nodes: jax.Array) -> jax.Array:
    """sum_k A_hat^k X_k, [n, d], X_k the table that is zero but for the sums of some rows [m, d] at int32[m] `nodes`.

    Sums in place, never a pass.

    Args:
      own: rows of X_0.
      layers: rows of X_K, ..., X_1.
    """
    total = None
    for layer in layers:
        if total is None:
            total = layout.product_of_rows(layer, nodes)
        else:
            total = layout.product(layout.scatter_add(total, layer, nodes))
    return layout.scatter(own, nodes) if total is None else layout.scatter_add(total, own, nodes)


def rows_of_all_devices(
    axis: str | None, nodes: jax.Array, shared: jax.Array | None, *rows: jax.Array
) -> tuple[jax.Array, ...]:
    """int32[m] nodes and their rows [m, d], of all devices of the axis, in the order of a batch that is not cut.

    The backward pass is linear, and so it could also be done on each device and its tables added up. But rows are fewer
    than tables are long, and products that round shall round the same sums as on one device.
    """
    if axis is None:
        return flat_rows(nodes, shared), *rows
    count = nodes.size
    cut = [row[:count].reshape(*nodes.shape, -1) for row in rows]
    all_nodes, *all_rows = (jax.lax.all_gather(array, axis, axis=nodes.ndim - 1, tiled=True) for array in (nodes, *cut))
    all_rows = [array.reshape(all_nodes.size, -1) for array in all_rows]
    if shared is not None:  # equal nodes on all devices: their rows are added up
        all_rows = [jnp.concatenate([a, jax.lax.psum(b[count:], axis)]) for a, b in zip(all_rows, rows, strict=True)]
    return flat_rows(all_nodes, shared), *all_rows


combine_layers_at.defvjp(_combined_forward, _combined_backward)
