"""Interactions -> the normalized adjacency matrix A_hat: compressed rows on the host, and the BCOO that is public."""

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse

from lgcn_jax.csr import CSR


def normalized(train: CSR, num_items: int, dtype=np.float32) -> scipy.sparse.csr_matrix:
    """Host: A_hat = D^-1/2 A D^-1/2 (He et al. 2020, eq. 7) of the bipartite graph of the train pairs.

    Nodes are the users, then the items offset by num_users; A = [[0, R], [R^T, 0]] with R the 0/1 matrix of `train`.
    A is assembled from the compressed rows of R and of its transpose, never through a per-entry format, and scaled
    in float64. Rows of degree 0 stay empty.

    Returns:
      float[num_nodes, num_nodes], int32 indices, sorted by row and column, unique, nnz == 2 * train.nnz.
    """
    ones = np.ones(train.nnz, np.int8)
    forward = scipy.sparse.csr_matrix((ones, train.indices, train.indptr), shape=(train.num_rows, num_items))
    backward = forward.T.tocsr()
    degree = np.concatenate([np.diff(forward.indptr), np.diff(backward.indptr)])
    scale = np.divide(1.0, np.sqrt(degree), where=degree > 0, out=np.zeros(len(degree)))
    columns = np.concatenate([forward.indices + np.int32(train.num_rows), backward.indices])
    values = (np.repeat(scale, degree) * scale[columns]).astype(dtype)
    indptr = np.concatenate([[0], np.cumsum(degree)])
    return scipy.sparse.csr_matrix((values, columns, indptr), shape=(len(degree), len(degree)))


def adjacency(train: CSR, num_items: int, dtype=jnp.float32) -> sparse.BCOO:
    """`normalized` as a BCOO [num_nodes, num_nodes] on the device: int32 indices, sorted, unique."""
    return bcoo(normalized(train, num_items, dtype))


def bcoo(matrix: scipy.sparse.csr_matrix) -> sparse.BCOO:
    """A host matrix of sorted, unique entries as BCOO on the device."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    indices = jnp.asarray(np.stack([rows, matrix.indices], axis=1))
    return sparse.BCOO(
        (jnp.asarray(matrix.data), indices), shape=matrix.shape, indices_sorted=True, unique_indices=True
    )
