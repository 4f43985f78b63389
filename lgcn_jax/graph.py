"""Interactions -> the normalized adjacency matrix A_hat, as the BCOO from which every layout is made."""

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse

from lgcn_jax.csr import CSR


def adjacency(train: CSR, num_items: int, dtype=jnp.float32) -> sparse.BCOO:
    """A_hat = D^-1/2 A D^-1/2 (He et al. 2020, eq. 7) of the bipartite graph of the train pairs.

    Nodes are the users, then the items offset by num_users; A = [[0, R], [R^T, 0]] with R the 0/1 matrix of `train`.
    A is assembled from the compressed rows of R and of its transpose, never through a per-entry format, and scaled
    in float64. Rows of degree 0 stay empty.

    Returns:
      BCOO [num_nodes, num_nodes], int32 indices, sorted by row and column, unique, nnz == 2 * train.nnz.
    """
    ones = np.ones(train.nnz, np.int8)
    forward = scipy.sparse.csr_matrix((ones, train.indices, train.indptr), shape=(train.num_rows, num_items))
    backward = forward.T.tocsr()
    degree = np.concatenate([np.diff(forward.indptr), np.diff(backward.indptr)])
    scale = np.divide(1.0, np.sqrt(degree), where=degree > 0, out=np.zeros(len(degree)))
    rows = np.repeat(np.arange(len(degree), dtype=np.int32), degree)
    columns = np.concatenate([forward.indices + np.int32(train.num_rows), backward.indices])
    values = jnp.asarray(scale[rows] * scale[columns], dtype)
    indices = jnp.asarray(np.stack([rows, columns], axis=1))
    shape = (len(degree), len(degree))
    return sparse.BCOO((values, indices), shape=shape, indices_sorted=True, unique_indices=True)
