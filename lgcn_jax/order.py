"""The order of the nodes' rows in the table: one that a cache likes on one device, one that spreads work over many.

Users and items are known by their ids everywhere; only the table, the optimizer's state and the layout of A_hat are in
this order, and what is saved or shown is put back into the order of ids.
"""

from typing import NamedTuple

import jax
import numpy as np
import scipy.sparse

VECTORS, ITERATIONS = 16, 12  # of the spectral embedding; more of either did not make the product faster
DEPTH, SMALLEST = 8, 300  # of the bisection: down to parts whose rows fit the first two caches


class Order(NamedTuple):
    """Where the rows stand.

    Attributes:
      row: int32[num_nodes], the row of each node.
      num_rows: how many rows there are; those without a node stay zero.
    """

    row: np.ndarray
    num_rows: int

    @property
    def node(self) -> np.ndarray:
        """int32[num_rows]: the node of each row, -1 where there is none."""
        node = np.full(self.num_rows, -1, np.int32)
        node[self.row] = np.arange(len(self.row), dtype=np.int32)
        return node


def choose(name: str = "auto") -> str:
    """The order meant by `name`: itself, or for 'auto' what is faster on the platform that JAX runs on."""
    return ("local" if jax.default_backend() == "cpu" else "natural") if name == "auto" else name


def natural(num_nodes: int) -> Order:
    """Row r is node r's."""
    return Order(np.arange(num_nodes, dtype=np.int32), num_nodes)


def local(matrix: scipy.sparse.csr_matrix, num_users: int) -> Order:
    """Nodes of a neighbourhood stand together, so that a product finds the rows that it gathers in a cache.

    Neighbourhoods are the parts of a recursive bisection, at equal numbers of edges, of the nodes' spectral embedding.
    Users come before items as in the order of ids: a product then gathers either users or items for a long time.
    """
    degree = np.diff(matrix.indptr)
    parts = _bisected(_embedding(matrix, degree), degree, np.arange(len(degree)), DEPTH)
    by_part = np.concatenate(parts)
    nodes = np.concatenate([by_part[by_part < num_users], by_part[by_part >= num_users]])
    return _standing(nodes, np.arange(len(nodes)), len(nodes))


def dealt(degree: np.ndarray, num_users: int, shares: int) -> Order:
    """Nodes are dealt to `shares` equal ranges of rows like cards, so that all hold about as many edges.

    Users and items are dealt apart, the busiest first and every second round in the other direction; within a range,
    rows are in the order of ids. The last row of each range has no node.
    """
    share = np.empty(len(degree), np.int64)
    for nodes in (np.arange(num_users), np.arange(num_users, len(degree))):
        turn, place = np.divmod(np.arange(len(nodes)), shares)
        busiest_first = nodes[np.argsort(-degree[nodes], kind="stable")]
        share[busiest_first] = np.where(turn % 2, shares - 1 - place, place)
    nodes = np.argsort(share, kind="stable")
    counts = np.bincount(share, minlength=shares)
    size = int(counts.max()) + 1
    within = np.arange(len(nodes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return _standing(nodes, share[nodes] * size + within, shares * size)


def _standing(nodes: np.ndarray, rows: np.ndarray, num_rows: int) -> Order:
    row = np.empty(len(nodes), np.int32)
    row[nodes] = rows
    return Order(row, num_rows)


def arranged(matrix: scipy.sparse.csr_matrix, order: Order) -> scipy.sparse.csr_matrix:
    """The matrix [num_nodes, num_nodes] with rows and columns in the order: [num_rows, num_rows]."""
    degree = np.zeros(order.num_rows, np.int64)
    degree[order.row] = np.diff(matrix.indptr)
    node = order.node
    nodes = node[node >= 0]
    taken = matrix[nodes]
    indptr = np.concatenate([[0], np.cumsum(degree)])
    shape = order.num_rows, order.num_rows
    found = scipy.sparse.csr_matrix((taken.data, order.row[taken.indices], indptr), shape=shape)
    found.sort_indices()
    return found


def _embedding(matrix: scipy.sparse.csr_matrix, degree: np.ndarray) -> np.ndarray:
    """float32[num_nodes, VECTORS - 1]: unit rows from the leading eigenvectors of A_hat, by subspace iteration."""
    found = np.random.default_rng(0).standard_normal((len(degree), min(VECTORS, len(degree))), np.float32)
    for number in range(ITERATIONS):
        found = matrix @ found + found  # the identity is added since A_hat's spectrum is symmetric about 0
        if number % 3 == 2:
            found, _ = np.linalg.qr(found)
    _, rotation = np.linalg.eigh(found.T @ (matrix @ found))
    # The first eigenvector is the square root of the degrees and knows no neighbourhood.
    found = (found @ rotation[:, ::-1])[:, 1:] / np.sqrt(np.maximum(degree, 1))[:, None]
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def _bisected(points: np.ndarray, degree: np.ndarray, nodes: np.ndarray, depth: int) -> list[np.ndarray]:
    """The nodes cut in two along the direction in which their points differ most, and so on `depth` times."""
    if depth == 0 or len(nodes) < SMALLEST:
        return [nodes]
    weight = degree[nodes] + 1e-9
    centred = points[nodes] - np.average(points[nodes], axis=0, weights=weight)
    axis = np.linalg.eigh((centred * weight[:, None]).T @ centred)[1][:, -1]
    along = nodes[np.argsort(centred @ axis, kind="stable")]
    edges = np.cumsum(degree[along])
    cut = int(np.searchsorted(edges, edges[-1] / 2))
    return [part for half in (along[:cut], along[cut:]) for part in _bisected(points, degree, half, depth - 1)]
