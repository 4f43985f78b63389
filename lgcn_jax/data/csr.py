"""Compressed sparse rows of ids: the one format in which user-item pairs travel, on host and device.

Row r holds the sorted, distinct column ids `indices[indptr[r]:indptr[r + 1]]`. The host functions take and return
NumPy arrays; the device functions are traceable, work elementwise on arrays of queries, and never build anything
larger than the query.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

BLOCK = 1 << 20  # entries that host functions work on at a time, so that wide temporaries stay small


class CSR(NamedTuple):
    """Rows of sorted distinct column ids: `indptr` int32[num_rows + 1], `indices` int32[nnz]."""

    indptr: np.ndarray | jax.Array
    indices: np.ndarray | jax.Array

    @property
    def num_rows(self) -> int:
        return self.indptr.shape[0] - 1

    @property
    def nnz(self) -> int:
        return self.indices.shape[0]


def from_pairs(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> CSR:
    """Host: integer pairs (in any order, repeats merged) to a CSR with `shape[0]` rows."""
    ones = np.ones(len(rows), np.int8)
    matrix = scipy.sparse.csr_matrix((ones, (rows, columns)), shape=shape)  # sums repeats, sorts columns
    matrix.sort_indices()
    return CSR(matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32))


def sum_repeats(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Host: float32[nnz], the values of the pairs in the order of `from_pairs`' entries; those of repeats are added."""
    matrix = scipy.sparse.csr_matrix((values.astype(np.float32), (rows, columns)), shape=shape)
    matrix.sort_indices()
    return matrix.data


def empty(num_rows: int) -> CSR:
    """Host: `num_rows` rows without an entry."""
    return CSR(np.zeros(num_rows + 1, np.int32), np.zeros(0, np.int32))


def degrees(csr: CSR):
    """int32[num_rows]: the number of entries of each row."""
    return csr.indptr[1:] - csr.indptr[:-1]


def row_of_entry(csr: CSR) -> np.ndarray:
    """Host: int32[nnz], the row in which each entry stands."""
    return np.repeat(np.arange(csr.num_rows, dtype=np.int32), degrees(csr))


def row_blocks(indptr: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Host: consecutive rows with about BLOCK entries in all, and those entries, until every row was there."""
    inner = np.searchsorted(indptr, np.arange(BLOCK, indptr[-1], BLOCK))
    bounds = np.unique(np.concatenate([[0], inner, [len(indptr) - 1]])).tolist()
    for first, last in itertools.pairwise(bounds):
        yield slice(first, last), slice(int(indptr[first]), int(indptr[last]))


def column_counts(csr: CSR, num_columns: int) -> np.ndarray:
    """Host: int64[num_columns], in how many rows each column stands."""
    counts = np.zeros(num_columns, np.int64)
    for start in range(0, csr.nnz, BLOCK):  # bincount widens what it counts
        counts += np.bincount(csr.indices[start : start + BLOCK], minlength=num_columns)
    return counts


def take_rows(csr: CSR, rows: np.ndarray) -> CSR:
    """Host: a CSR made of the given rows, in their order."""
    counts = degrees(csr)[rows]
    indptr = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    indices = np.empty(indptr[-1], csr.indices.dtype)
    for some, entries in row_blocks(indptr):
        behind = csr.indptr[rows[some]] - indptr[:-1][some]
        indices[entries] = csr.indices[np.repeat(behind, counts[some]) + np.arange(entries.start, entries.stop)]
    return CSR(indptr.astype(np.int32), indices)


def filter_entries(csr: CSR, keep: np.ndarray) -> CSR:
    """Host: the entries for which `keep` (bool[nnz]) is true, in the same rows."""
    counts = np.zeros(csr.nnz + 1, np.int32)
    np.cumsum(keep, out=counts[1:])
    return CSR(counts[csr.indptr], csr.indices[keep])


def isin(left: CSR, right: CSR, num_columns: int) -> np.ndarray:
    """Host: bool[left.nnz], whether each entry of `left` also stands in the same row of `right`."""

    def keys(csr):
        return row_of_entry(csr).astype(np.int64) * num_columns + csr.indices

    return np.isin(keys(left), keys(right), assume_unique=True)


def first_offset(csr: CSR, row: jax.Array, reached) -> jax.Array:
    """First offset in each row at which `reached(position, offset)` holds; the predicate must be monotone."""
    start = csr.indptr[row]
    if csr.nnz == 0:
        return jnp.zeros_like(start)
    low, high = jnp.zeros_like(start), csr.indptr[row + 1] - start

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        hit = (low < high) & reached(jnp.minimum(start + middle, csr.nnz - 1), middle)
        return jnp.where(hit | (low >= high), low, middle + 1), jnp.where(hit, middle, high)

    # A row is at most nnz long, so its bit length bounds the halvings without a host round trip for the longest row.
    return jax.lax.fori_loop(0, csr.nnz.bit_length(), halve, (low, high))[0]


def contains(csr: CSR, row: jax.Array, column: jax.Array) -> jax.Array:
    """Device: bool, whether each `column` (int32) stands in its `row` (int32, same shape)."""
    if csr.nnz == 0:
        return jnp.zeros(row.shape, bool)
    offset = first_offset(csr, row, lambda position, _: csr.indices[position] >= column)
    position = jnp.minimum(csr.indptr[row] + offset, csr.nnz - 1)
    return (offset < csr.indptr[row + 1] - csr.indptr[row]) & (csr.indices[position] == column)


def kth_missing_column(csr: CSR, row: jax.Array, rank: jax.Array) -> jax.Array:
    """Device: int32, the `rank`-th smallest column id (from 0) that does not stand in `row`.

    Before offset p of a row lie `indices[p] - p` absent ids, so the answer is `rank` plus the number of entries with
    at most `rank` absent ids before them: an exact uniform draw from the complement without rejection. The caller
    keeps `rank` below the number of absent ids.
    """
    return rank + first_offset(csr, row, lambda position, offset: csr.indices[position] - offset > rank)
