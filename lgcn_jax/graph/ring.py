"""A_hat cut over devices: each holds the rows of its nodes, and the table's parts come by in a ring.

No device ever holds the whole table or the whole matrix, and the order of every sum is fixed. A product costs each
device what its rows cost, and moves each part of the table past every device once.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lgcn_jax.devices.mesh import psum, ring_shift
from lgcn_jax.devices.pytree import pytree, static
from lgcn_jax.graph.layout import Layout, Matrix, max_padded_sizes


@pytree
class RingLayout(Layout):
    """One device's rows of A_hat, in one block of columns for each device of the axis.

    Nodes are numbered over all devices, tables are this device's rows [size, d], and what is asked about some nodes
    is equal on all devices. The last row of each device has no node and no entry.

    Attributes:
      blocks: block t has the columns of the device t places further on.
      size: rows of a device; static.
      axis: name of the mesh axis; static.
    """

    blocks: tuple[Layout, ...]
    size: int = static()
    axis: str = static()

    @property
    def num_rows(self) -> int:
        return self.size

    def product(self, x: jax.Array) -> jax.Array:
        return self._sum_around_ring(x, lambda block, part: block.product(part))

    def product_at(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        local, _ = self._local_indices(nodes)  # elsewhere: the last row, which is zero
        return psum(self._sum_around_ring(x, lambda block, part: block.product_at(part, local)), self.axis)

    def product_of_rows(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        found = jnp.zeros((self.size, rows.shape[1]), rows.dtype)
        for turn, block in enumerate(self.blocks):
            local, inside = self._local_indices(nodes, turn)
            found = found + block.product_of_rows(jnp.where(inside[:, None], rows, 0), local)
        return found

    def gather(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        local, inside = self._local_indices(nodes)
        return psum(jnp.where(inside[:, None], x[local], 0), self.axis)

    def gather_local(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        return x[self._local_indices(nodes)[0]]

    def psum(self, value: jax.Array) -> jax.Array:
        return psum(value, self.axis)

    def once(self, value: jax.Array) -> jax.Array:
        return jnp.where(jax.lax.axis_index(self.axis) == 0, value, 0)

    def scatter_add(self, x: jax.Array, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        local, inside = self._local_indices(nodes)
        return self.blocks[0].scatter_add(x, jnp.where(inside[:, None], rows, 0), local)

    def _sum_around_ring(self, x: jax.Array, part_of: Callable[[Layout, jax.Array], jax.Array]) -> jax.Array:
        """The sum of what each block makes of the part of x that it has the columns of."""
        found = part_of(self.blocks[0], x)
        for block in self.blocks[1:]:
            x = ring_shift(x, self.axis)
            found = found + part_of(block, x)
        return found

    def _local_indices(self, nodes: jax.Array, turn: int = 0) -> tuple[jax.Array, jax.Array]:
        """Rows of the nodes on the device `turn` places further on (the last one where they are not there)."""
        place = (jax.lax.axis_index(self.axis) + turn) % len(self.blocks)
        local = nodes - place * self.size
        inside = (local >= 0) & (local < self.size)
        return jnp.where(inside, local, self.size - 1), inside


def partition(
    matrix: Matrix,
    layout_class: type[Layout],
    num_shards: int,
    axis: str,
    postprocess: Callable[[Layout], Layout] = lambda made: made,
) -> Callable[[int], RingLayout]:
    """Host: what makes the ring's part of one device, from the matrix in the order of `order.balanced_order`.

    All blocks get the capacity of the largest, so that their arrays have equal shapes on all devices; `postprocess` is
    applied to each of them.
    """
    size = matrix.shape[0] // num_shards

    def block(row: int, column: int) -> Matrix:
        rows = matrix[row * size : (row + 1) * size]
        return rows[:, column * size : (column + 1) * size]

    padded_sizes = max_padded_sizes(
        [layout_class.padded_sizes(block(row, column)) for row in range(num_shards) for column in range(num_shards)]
    )

    def make(place: int) -> RingLayout:
        blocks = (
            layout_class.prepare(block(place, (place + turn) % num_shards), padded_sizes) for turn in range(num_shards)
        )
        return RingLayout(tuple(map(postprocess, blocks)), size, axis)

    return make
