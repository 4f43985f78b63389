"""Interactions -> the normalized adjacency matrix A_hat: compressed rows on the host, and the BCOO that is public."""

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR


def normalized_adjacency(train: CSR, num_items: int, dtype=np.float32) -> scipy.sparse.csr_matrix:
    """Host: A_hat = D^-1/2 A D^-1/2 (He et al. 2020, eq. 7) of the bipartite graph of the train pairs.

    Nodes are the users, then the items offset by num_users; A = [[0, R], [R^T, 0]] with R the 0/1 matrix of `train`.
    A is assembled from the compressed rows of R and of its transpose, never through a per-entry format, and scaled
    in float64. Rows of degree 0 stay empty.

    Returns:
      float[num_nodes, num_nodes], int32 indices, sorted by row and column, unique, nnz == 2 * train.nnz.

    Raises:
      OverflowError: more entries than an int32 counts.
    """
    if 2 * train.nnz > np.iinfo(np.int32).max:
        raise OverflowError(f"{2 * train.nnz} entries of a matrix with int32 indices")
    ones = np.ones(train.nnz, np.int8)
    forward = scipy.sparse.csr_matrix((ones, train.indices, train.indptr), shape=(train.num_rows, num_items))
    backward = forward.T.tocsr()
    degree = np.concatenate([np.diff(forward.indptr), np.diff(backward.indptr)])
    indptr = np.concatenate([[0], np.cumsum(degree, dtype=np.int64)])
    columns = np.empty(2 * train.nnz, np.int32)
    np.add(train.indices, train.num_rows, out=columns[: train.nnz])
    columns[train.nnz :] = backward.indices
    values = _values(indptr, columns, degree, dtype)
    return scipy.sparse.csr_matrix((values, columns, indptr), shape=(len(degree), len(degree)))


def _values(indptr: np.ndarray, columns: np.ndarray, degree: np.ndarray, dtype) -> np.ndarray:
    """dtype[nnz]: 1 / sqrt(degree[row] * degree[column]), in blocks since float64 would take as much as all else."""
    scale = np.divide(1.0, np.sqrt(degree), where=degree > 0, out=np.zeros(len(degree)))
    values = np.empty(len(columns), dtype)
    for rows, entries in csr.blocks(indptr):
        values[entries] = np.repeat(scale[rows], degree[rows]) * scale[columns[entries]]
    return values


def normalized_adjacency_bcoo(train: CSR, num_items: int, dtype=jnp.float32) -> sparse.BCOO:
    """`normalized` as a BCOO [num_nodes, num_nodes] on the device: int32 indices, sorted, unique."""
    return to_bcoo(normalized_adjacency(train, num_items, dtype))


def to_bcoo(matrix: scipy.sparse.csr_matrix) -> sparse.BCOO:
    """A host matrix of sorted, unique entries as BCOO on the device."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    indices = jnp.asarray(np.stack([rows, matrix.indices], axis=1))
    return sparse.BCOO(
        (jnp.asarray(matrix.data), indices), shape=matrix.shape, indices_sorted=True, unique_indices=True
    )
