"""Similarities of the columns of a sparse matrix, of which each column keeps its nearest; and their settings.

Rows of similarities are made in blocks, so that memory is that of what is kept.
"""

import dataclasses

import numpy as np
import scipy.sparse

from lgcn_jax.baselines.baseline import Baseline
from lgcn_jax.baselines.matrices import Matrix
from lgcn_jax.settings import choice, integer, real

SIMILARITIES = ("cosine", "pearson")
BLOCK = 2048  # columns whose similarities with all others are there at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neighborhood(Baseline):
    """Base of the baselines of nearest neighbors: their settings."""

    neighbors: int = integer(100, "neighbors that are kept of each item or user")
    similarity: str = choice("cosine", SIMILARITIES, "how near two of them are, by who or what they share")
    shrink: float = real(
        0.0, "added to the divisor of a similarity: takes down those of few pairs", lambda v: v >= 0, "a number from 0"
    )


def nearest_columns(matrix: Matrix, settings: Neighborhood) -> Matrix:
    """[n, n]: row j has the `neighbors` largest positive similarities of column j with the other columns.

    With n_j the entries of column j, c_ij the rows that columns i and j share and m the number of rows, of 0/1 values:

        cosine   c_ij / (sqrt(n_i n_j) + shrink)
        pearson  (c_ij - n_i n_j / m) / (sqrt(n_i (1 - n_i / m) n_j (1 - n_j / m)) + shrink)

    Of equal ones, those of the lowest columns are kept.
    """
    columns = matrix.T.tocsr()
    counts, rows = np.diff(columns.indptr).astype(np.float64), columns.shape[1]
    centered = settings.similarity == "pearson"
    length = np.sqrt(counts * (1 - counts / rows) if centered else counts)
    found = []
    for first in range(0, len(counts), BLOCK):
        some = np.arange(first, min(first + BLOCK, len(counts)))
        shared = (columns[some] @ matrix).tocsr()
        shared.sort_indices()
        row = some[np.repeat(np.arange(len(some)), np.diff(shared.indptr))]
        value = shared.data.astype(np.float64) - (counts[row] * counts[shared.indices] / rows if centered else 0)
        divisor = length[row] * length[shared.indices] + settings.shrink
        value = np.divide(value, divisor, where=divisor > 0, out=np.zeros(len(value)))
        value[row == shared.indices] = 0
        found.append(_keep_largest(value, shared, settings.neighbors))
    return scipy.sparse.vstack(found).tocsr().astype(matrix.dtype)


def _keep_largest(values: np.ndarray, pattern: Matrix, count: int) -> Matrix:
    """The largest positive values of each row."""
    kept = []
    for start, stop in zip(pattern.indptr[:-1].tolist(), pattern.indptr[1:].tolist(), strict=True):
        row = values[start:stop]
        if (row > 0).sum() > count:
            chosen = np.sort(np.argsort(-row, kind="stable")[:count])
        else:
            chosen = np.flatnonzero(row > 0)
        kept.append(chosen + start)
    entries = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in kept])])
    return scipy.sparse.csr_matrix((values[entries], pattern.indices[entries], indptr), shape=pattern.shape)
