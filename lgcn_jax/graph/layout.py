"""What a layout of a sparse matrix is: a form in which `propagation` multiplies.

A layout is a pytree with `product(x)`, made on the host from compressed rows and equal to them (tests compare each).
Blocks of one matrix get arrays of equal shapes by sharing a `padded_sizes`, so that they can be stacked over devices.
"""

from collections.abc import Hashable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from lgcn_jax.graph import scatter

Matrix = scipy.sparse.csr_matrix  # of sorted, unique entries

PaddedSizes = dict[Hashable, int]


class Layout:
    """A matrix [n, m] that multiplies a dense array [m, d] from the left; symmetric where it is a whole A_hat."""

    PLATFORMS: ClassVar[tuple[str, ...]] = ("cpu", "gpu", "tpu")  # where it works
    DETERMINISTIC: ClassVar[tuple[str, ...]] = ("cpu", "gpu", "tpu")  # where a product has the same bits every time
    ACCEPTS_BFLOAT16: ClassVar[bool] = (
        False  # whether it takes x in a narrower dtype, to read less and sum in the matrix's
    )

    num_rows: int

    @classmethod
    def padded_sizes(cls, matrix: Matrix) -> PaddedSizes:
        """The sizes of the arrays that `prepare` makes of the matrix, as far as they depend on its entries."""
        raise NotImplementedError

    @classmethod
    def prepare(cls, matrix: Matrix, padded_sizes: PaddedSizes | None = None) -> "Layout":
        """Host: the layout of a matrix, of NumPy arrays, padded to `padded_sizes` where one is given."""
        raise NotImplementedError

    def product(self, x: jax.Array) -> jax.Array:
        """The product with x [m, d]: [n, d]."""
        raise NotImplementedError

    def product_at(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """Some rows of the product, product(x)[nodes] for int32[b] `nodes`, repeats allowed: [b, d]."""
        return self.product(x)[nodes]

    def product_of_rows(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """The product with the table that is zero but for the sums of `rows` [b, d] at `nodes`: [n, d]."""
        return self.product(self.scatter(rows, nodes))

    def gather(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """x[nodes]."""
        return x[nodes]

    def gather_local(self, x: jax.Array, nodes: jax.Array) -> jax.Array:
        """x[nodes] for nodes whose rows are on this device."""
        return x[nodes]

    def psum(self, value: jax.Array) -> jax.Array:
        """The sum over the devices that the matrix is cut over, of what each has computed of its rows."""
        return value

    def once(self, value: jax.Array) -> jax.Array:
        """A value that these devices all have, on one of them, and zeros on the others: `psum` gives it back."""
        return value

    def degree_power(self, exponent: float) -> jax.Array:
        """The rows of D^exponent, [n, 1]; of a `DegreeLayout` alone."""
        raise NotImplementedError

    def scatter_add(self, x: jax.Array, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """x with `rows` added at `nodes`, repeats allowed."""
        return scatter.scatter_add(x, rows, nodes)

    def scatter(self, rows: jax.Array, nodes: jax.Array) -> jax.Array:
        """The table that is zero but for the sums of `rows` at `nodes`: [n, d]."""
        return self.scatter_add(jnp.zeros((self.num_rows, rows.shape[1]), rows.dtype), rows, nodes)


def max_padded_sizes(all_padded_sizes: list[PaddedSizes]) -> PaddedSizes:
    """A capacity that is enough for each of the matrices."""
    return {
        size: max(padded_sizes.get(size, 0) for padded_sizes in all_padded_sizes)
        for size in sorted(set().union(*all_padded_sizes), key=str)
    }


def gather_in_bounds(x: jax.Array, indices: jax.Array) -> jax.Array:
    """x[indices] for indices that are in bounds and not negative.

    Without looking at them: for an index that stays the same, XLA would keep a flag of each entry all the time.
    """
    return x.at[indices].get(mode="promise_in_bounds", wrap_negative_indices=False)


def pad_to(array: np.ndarray, size: int) -> np.ndarray:
    return np.pad(array, (0, size - len(array)))
