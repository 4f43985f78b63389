"""The largest singular values of a sparse matrix, with their right singular vectors, to the precision of its dtype."""

import math
from collections.abc import Callable

import jax
import numpy as np
import scipy.linalg

from lgcn_jax.baselines.baseline import require_memory
from lgcn_jax.baselines.matrices import Matrix
from lgcn_jax.errors import InputError
from lgcn_jax.graph.propagation import make_layout

SMALL = 2048  # rows of a Gram matrix that is decomposed as it is
WIDTH = 32  # vectors of a block; wider ones multiply faster, and need a larger basis
FIRST, STEP = 4.5, 0.5  # bases of so many times the rank are tried, and longer ones
TOLERANCE = 1e-3  # of a residual, relative to the largest eigenvalue
DEPENDENT = 1e-3  # of the diagonal of R: below, its condition may be too much for a Gram matrix
SEED = 2020
FLOAT64 = 8  # bytes


def right_singular_vectors(matrix: Matrix, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Host: the `rank` largest singular values [rank], descending, and their right singular vectors [columns, rank].

    Raises:
      InputError: the matrix has fewer that are not zero, or the memory of this machine would not do.
    """
    least = min(matrix.shape)
    if rank > least:
        raise InputError("--rank", rank, f"at most {least}, the smaller of the numbers of users and items")
    wide, dense = matrix.shape[0] < matrix.shape[1], least <= max(SMALL, 4 * rank)
    rows = matrix if wide else matrix.T.tocsr()
    _require_memory(rows, rank, dense=dense)
    square, vectors = (_dense_eigenpairs if dense else _lanczos_eigenpairs)(rows, rank)
    values = np.sqrt(np.maximum(square, 0))
    found = int((values > 10 * np.sqrt(np.finfo(matrix.dtype).eps) * values[0]).sum())
    if found < rank:
        raise InputError("--rank", rank, f"at most {found}, the rank of the matrix of train pairs")
    if wide:
        vectors = (matrix.T @ vectors) / values
    return values.astype(matrix.dtype), np.ascontiguousarray(vectors, matrix.dtype)


def _dense_eigenpairs(matrix: Matrix, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of matrix @ matrix.T, descending, and their vectors, by way of all of them."""
    values, vectors = np.linalg.eigh((matrix.astype(np.float64) @ matrix.T.astype(np.float64)).toarray())
    return values[::-1][:rank], vectors[:, ::-1][:, :rank]


def _lanczos_eigenpairs(matrix: Matrix, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The same by a block Lanczos iteration with full orthogonalization, which is stopped when residuals are small.

    The basis Q of the Krylov space grows by a block at a time (Golub and Underwood 1977); the matrix within it, T, is
    decomposed where it may have become large enough. The residual of a Ritz vector Q s is the next block's part of it.
    """
    product, size = _gram_product(matrix), matrix.shape[0]
    block = np.linalg.qr(np.random.default_rng(SEED).standard_normal((size, WIDTH)))[0].astype(matrix.dtype)
    basis, inner, count = np.empty((0, size), matrix.dtype), np.zeros((0, 0)), 0
    check = FIRST * rank
    while True:
        basis, count = _ensure_capacity(basis, count, check), count + WIDTH
        basis[count - WIDTH : count] = block.T
        block, part = _orthogonalize_against(product(block), basis[:count])
        inner = np.pad(inner, ((0, WIDTH), (0, WIDTH)))
        inner[-WIDTH:, :] = part.T
        block, rest = _orthonormalize(block)
        full = count + 2 * WIDTH > size
        if count >= check or full:
            values, vectors = scipy.linalg.eigh(inner, lower=True, subset_by_index=(count - rank, count - 1))
            residuals = np.linalg.norm(rest @ vectors[-WIDTH:], axis=0)
            if residuals.max() <= TOLERANCE * values[-1] or full:
                return values[::-1], basis[:count].T @ vectors[:, ::-1].astype(matrix.dtype)
            check = count + STEP * rank


def _require_memory(matrix: Matrix, rank: int, *, dense: bool) -> None:
    """Raises an InputError where a dense decomposition, or the shortest basis of Lanczos' iteration, has no room."""
    rows, length = matrix.shape[0], math.ceil(FIRST * rank)
    needed = 3 * FLOAT64 * (rows if dense else length) ** 2  # a square matrix, its vectors, and what `eigh` works in
    what = f"the decomposition of {rows:,} x {rows:,} numbers"
    if not dense:
        needed += (length + rank) * rows * matrix.dtype.itemsize
        what = f"{length:,} vectors of {rows:,} numbers, of which {rank:,} singular vectors are made"
    require_memory(f"--rank={rank}", needed, what, "a smaller rank needs less")


def _orthogonalize_against(block: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A block without what it has of a basis (the rows), and what that was.

    Once is enough: such a block keeps a good part of its length, and so no more than rounding is left.
    """
    part = basis @ block
    return block - basis.T @ part, part


def _orthonormalize(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A QR decomposition, by way of the Gram matrix in float64 where the columns are far from dependent."""
    wide = block.astype(np.float64)
    try:
        rest = np.linalg.cholesky(wide.T @ wide).T
    except np.linalg.LinAlgError:
        return np.linalg.qr(block)
    if rest.diagonal().min() < DEPENDENT * rest.diagonal().max():
        return np.linalg.qr(block)
    return (wide @ np.linalg.inv(rest)).astype(block.dtype), rest


def _ensure_capacity(basis: np.ndarray, count: int, check: float) -> np.ndarray:
    """The basis, or where it is full one with room for all blocks until its length is at least `check`."""
    if count < len(basis):
        return basis
    more = max(math.ceil((check - count) / WIDTH), 1) * WIDTH
    longer = np.empty((count + more, basis.shape[1]), basis.dtype)
    longer[:count] = basis
    return longer


def _gram_product(matrix: Matrix) -> Callable[[np.ndarray], np.ndarray]:
    """x -> matrix @ (matrix.T @ x), on the device."""
    layouts = make_layout(matrix), make_layout(matrix.T.tocsr())
    multiply = jax.jit(lambda layouts, x: layouts[0].product(layouts[1].product(x)))
    return lambda x: np.asarray(multiply(layouts, x))
