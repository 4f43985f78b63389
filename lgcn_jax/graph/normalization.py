"""Interactions -> the normalized adjacency matrix A_hat: compressed rows on the host, and the BCOO that is public."""

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.errors import InputError


def normalized_adjacency(
    train: CSR, num_items: int, weights: np.ndarray | None = None, dtype=np.float32
) -> scipy.sparse.csr_matrix:
    """Host: A_hat = D^-1/2 A D^-1/2 (He et al. 2020, eq. 7) of the bipartite graph of the train pairs.

    Nodes are the users, then the items offset by num_users; A = [[0, R], [R^T, 0]] with R the matrix of the pairs'
    weights, and D the sums of A's rows: degrees, where every pair weighs 1.
    A is assembled from the compressed rows of R and of its transpose, never through a per-entry format, and scaled
    in float64. Rows of degree 0 stay empty.

    Args:
      train: users over items.
      num_items: columns of R.
      weights: float[train.nnz], of each pair; None: all weigh 1, which gives the same bits as an array of ones.
      dtype: of the entries.

    Returns:
      float[num_nodes, num_nodes], int32 indices, sorted by row and column, unique, nnz == 2 * train.nnz.

    Raises:
      InputError: a weight is not a finite number above 0, or there is not one for each pair.
      OverflowError: more entries than an int32 counts.
    """
    if 2 * train.nnz > np.iinfo(np.int32).max:
        raise OverflowError(f"{2 * train.nnz} entries of a matrix with int32 indices")
    if weights is not None:
        require_weights(weights, train.nnz)
    data = np.ones(train.nnz, np.int8) if weights is None else weights
    forward = scipy.sparse.csr_matrix((data, train.indices, train.indptr), shape=(train.num_rows, num_items))
    backward = forward.T.tocsr()
    indptr = np.concatenate([forward.indptr, train.nnz + backward.indptr[1:].astype(np.int64)])
    columns = np.empty(2 * train.nnz, np.int32)
    np.add(train.indices, train.num_rows, out=columns[: train.nnz])
    columns[train.nnz :] = backward.indices
    both = None if weights is None else np.concatenate([forward.data, backward.data])
    degree = np.diff(indptr) if weights is None else weighted_degrees(train, num_items, weights)
    values = _normalized_values(indptr, columns, both, degree, dtype)
    return scipy.sparse.csr_matrix((values, columns, indptr), shape=(len(indptr) - 1, len(indptr) - 1))


def _normalized_values(
    indptr: np.ndarray, columns: np.ndarray, weights: np.ndarray | None, degree: np.ndarray, dtype
) -> np.ndarray:
    """dtype[nnz]: weight / sqrt(degree[row] * degree[column]), in blocks: in float64 it takes as much as all else."""
    scale = np.divide(1.0, np.sqrt(degree), where=degree > 0, out=np.zeros(len(degree)))
    values = np.empty(len(columns), dtype)
    for rows, entries in csr.row_blocks(indptr):
        found = np.repeat(scale[rows], np.diff(indptr[rows.start : rows.stop + 1])) * scale[columns[entries]]
        values[entries] = found if weights is None else found * weights[entries]
    return values


def weighted_degrees(train: CSR, num_items: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Host: float64[num_nodes], the diagonal of D: the sum of the weights of each user's pairs, then of each item's."""
    users, items = np.zeros(train.num_rows), np.zeros(num_items)
    for rows, entries in csr.row_blocks(train.indptr):
        columns, count = train.indices[entries], rows.stop - rows.start
        data = np.ones(len(columns)) if weights is None else weights[entries]
        row = np.repeat(np.arange(count), np.diff(train.indptr[rows.start : rows.stop + 1]))
        users[rows] = np.bincount(row, data, count)
        items += np.bincount(columns, data, num_items)
    return np.concatenate([users, items])


def require_weights(weights: np.ndarray, count: int, where: str = "--weight_col") -> None:
    """Raises an InputError where `weights` are not `count` finite numbers above 0."""
    if weights.shape != (count,):
        raise InputError(where, f"weights of shape {weights.shape}", f"one for each of the {count} pairs")
    wrong = ~(np.isfinite(weights) & (weights > 0))
    if wrong.any():
        found = f"{int(wrong.sum())} weights such as {weights[wrong][0]}"
        raise InputError(where, found, "finite numbers above 0")


def normalized_adjacency_bcoo(
    train: CSR, num_items: int, weights: np.ndarray | None = None, dtype=jnp.float32
) -> sparse.BCOO:
    """`normalized_adjacency` as a BCOO [num_nodes, num_nodes] on the device: int32 indices, sorted, unique."""
    return to_bcoo(normalized_adjacency(train, num_items, weights, dtype))


def to_bcoo(matrix: scipy.sparse.csr_matrix) -> sparse.BCOO:
    """A host matrix of sorted, unique entries as BCOO on the device."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    indices = jnp.asarray(np.stack([rows, matrix.indices], axis=1))
    return sparse.BCOO(
        (jnp.asarray(matrix.data), indices), shape=matrix.shape, indices_sorted=True, unique_indices=True
    )
