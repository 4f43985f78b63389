"""The least time that a product and a train step can take: bytes and operations counted, bandwidths measured.

With nnz entries of A_hat, N nodes, d columns, s bytes per number read (4, or 2 as bfloat16), K layers, B triples:

    product     operations  2 nnz d           a multiplication and an addition per entry and column
                gathered    nnz d s           a row of x per entry, in no order
                streamed    8 nnz + 4 N d     column and value of each entry; the result
    train step  operations  2 K products' + 14 N d      K products each way; Adam, Horner's sums, the norm
                gathered    2 K products'
                streamed    2 K products'
                            + 8 (K - 1) N d   Horner's rule reads result and table once more, forwards only
                            + 32 N d          Adam reads table, gradient, two moments, writes three; the norm reads one
                            + 36 B (K + 3) d  rows of the batch: read, added and written for each layer and use

The table is N d s bytes, 18 MB for Gowalla: it fits the last-level cache of a server CPU or a Hopper GPU (50 MB), so a
gather costs the cache's bandwidth, not the memory's. What is measured is therefore a gather from a table of that size,
of rows drawn as often as the graph has them, so that hubs are in a near cache as often. The floor is gathered bytes
over that bandwidth plus streamed bytes over that of a copy; with two operations for four bytes gathered, arithmetic
is far from being the limit. A layout can be below it where it makes only rows of the batch in a step's last product,
where a batch's gradients are a small table, and where neighbors' order helps a cache.
"""

from typing import NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np

COPIED = 2**26  # float32 numbers of the copied array: 256 MiB, far larger than a cache
GATHERED = 2**20  # rows
WAYS = (8, 2**11), (8, 2**13), (32, 2**15)  # rows added in a turn, and sums side by side; the fastest way counts


class Count(NamedTuple):
    """What some work needs at least."""

    operations: int
    gathered: int  # bytes read in rows of x, in no order
    streamed: int  # bytes read or written in order

    def milliseconds(self, bandwidth: "Bandwidth") -> float:
        return 1e3 * (self.gathered / bandwidth.gather + self.streamed / bandwidth.copy)


class Bandwidth(NamedTuple):
    """Bytes per second of this device, as JAX reaches them."""

    copy: float
    gather: float


def product(nnz: int, nodes: int, dim: int, size: int = 4) -> Count:
    return Count(2 * nnz * dim, nnz * dim * size, 8 * nnz + 4 * nodes * dim)


def train_step(nnz: int, nodes: int, dim: int, layers: int, batch: int, size: int = 4) -> Count:
    one = product(nnz, nodes, dim, size)
    streamed = 2 * layers * one.streamed + (8 * (layers - 1) + 32) * nodes * dim + 36 * batch * (layers + 3) * dim
    return Count(2 * layers * one.operations + 14 * nodes * dim, 2 * layers * one.gathered, streamed)


def measure(columns: np.ndarray, nodes: int, dim: int, dtype=jnp.float32) -> Bandwidth:
    """A copy in place of a large array, and sums of rows of a table [nodes, dim] drawn from `columns`."""
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    held, table = [jnp.zeros(COPIED)], jnp.ones((nodes, dim), dtype)
    places = jnp.asarray(np.random.default_rng(0).choice(columns, GATHERED))

    def copy():
        held.append(jax.block_until_ready(add(held.pop())))

    calls = {way: lambda way=way: gather(table, places.reshape(-1, *way)).block_until_ready() for way in WAYS}
    ms = common.in_turns({"copy": copy, **calls})
    gathered = GATHERED * dim * table.dtype.itemsize
    return Bandwidth(1e3 * 2 * 4 * COPIED / ms["copy"], 1e3 * gathered / min(ms[way] for way in WAYS))


@jax.jit
def gather(table: jax.Array, places: jax.Array) -> jax.Array:
    """Sums of rows [n, dim] at int32[turns, rows of a turn, n] `places`."""

    def turn(total, places):
        return total + sum(table[place].astype(total.dtype) for place in places), None

    return jax.lax.scan(turn, jnp.zeros((places.shape[2], table.shape[1])), places)[0]
