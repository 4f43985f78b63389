"""The train pairs as matrices of SciPy, on the host."""

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse

from lgcn_jax.data.csr import CSR
from lgcn_jax.data.interactions import Interactions

Matrix: TypeAlias = Any  # a scipy.sparse.csr_matrix of unique entries; SciPy states no types


def train_matrix(interactions: Interactions, dtype=np.float32) -> Matrix:
    """[num_users, num_items], 1 for each train pair."""
    return binary_matrix(interactions.train, interactions.num_items, dtype)


def binary_matrix(pairs: CSR, num_columns: int, dtype=np.float32) -> Matrix:
    """The rows with a 1 for each pair."""
    parts = np.ones(len(pairs.indices), dtype), np.asarray(pairs.indices), np.asarray(pairs.indptr)
    return scipy.sparse.csr_matrix(parts, shape=(len(pairs.indptr) - 1, num_columns))


def degree_powers(degrees: np.ndarray, exponent: float) -> np.ndarray:
    """float64: each degree to the power, 0 where it is 0."""
    degrees = np.asarray(degrees, np.float64)
    return np.power(degrees, exponent, where=degrees > 0, out=np.zeros(len(degrees)))


def scale_matrix(matrix: Matrix, row_scale: np.ndarray, column_scale: np.ndarray) -> Matrix:
    """diag(rows) @ matrix @ diag(columns), in the dtype of the matrix."""
    data = matrix.data * np.repeat(row_scale, np.diff(matrix.indptr)) * column_scale[matrix.indices]
    return scipy.sparse.csr_matrix((data.astype(matrix.dtype), matrix.indices, matrix.indptr), shape=matrix.shape)


def degrees(matrix: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """int64[num_users], int64[num_items]: the entries of each row and of each column."""
    return np.diff(matrix.indptr).astype(np.int64), np.bincount(matrix.indices, minlength=matrix.shape[1])


def matrix_to_arrays(matrix: Matrix, name: str) -> dict[str, np.ndarray]:
    """The arrays of a matrix, by names that begin with `name`; `matrix_from_arrays` makes the matrix of them."""
    arrays = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data
    return dict(zip((f"{name}_indptr", f"{name}_indices", f"{name}_data"), arrays, strict=True))


def matrix_from_arrays(solution, name: str, num_columns: int) -> Matrix:
    """The inverse of `matrix_to_arrays`."""
    data, indices, indptr = (solution[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    return scipy.sparse.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, num_columns))
