"""The order of the nodes' rows in the table: one that a cache likes on one device, one that spreads work over many.

Users and items are known by their ids everywhere; only the table, the optimizer's state and the layout of A_hat are in
this order, and what is saved or shown is put back into the order of ids.
"""

from typing import NamedTuple

import jax
import numpy as np
import scipy.sparse

ORDERS = ("auto", "natural", "local")
VECTORS, STEPS = 8, 4  # of the embedding; more of either did not make fewer rows leave a cache
DEPTH, SMALLEST = 8, 300  # of the bisection: down to parts whose rows fit the first two caches
SQUARINGS = 7  # of a covariance: its 128th power has little left but the principal direction

# Bits of the int64 numbers that `locality_order` computes with. Degrees add up to at most 31 bits, as `normalized`
# requires, and so sums over edges to 31 + 30 (the embedding; centered, 31 + 31) or 31 + 15 + 15 (a covariance): never
# more than 62.
EMBEDDING, TYPICAL = 30, 24  # at most, and on average
POINT = 14  # a point's largest coordinate; a difference of two has one more
COVARIANCE = 28  # a square's elements, sums of VECTORS products, have 2 * 28 + 3


class Order(NamedTuple):
    """Where the rows stand.

    Attributes:
      row_of_node: int32[num_nodes], the row of each node.
      num_rows: how many rows there are; those without a node stay zero.
    """

    row_of_node: np.ndarray
    num_rows: int

    @property
    def node_of_row(self) -> np.ndarray:
        """int32[num_rows]: the node of each row, -1 where there is none."""
        node = np.full(self.num_rows, -1, np.int32)
        node[self.row_of_node] = np.arange(len(self.row_of_node), dtype=np.int32)
        return node

    def to_rows(self, values: np.ndarray) -> np.ndarray:
        """Values of the nodes, [num_nodes, ...], as rows, [num_rows, ...]; zeros for rows without a node."""
        rows = np.zeros((self.num_rows, *values.shape[1:]), values.dtype)
        rows[self.row_of_node] = values
        return rows


def resolve_order_name(name: str = "auto") -> str:
    """The order meant by `name`: itself, or for 'auto' what is faster on the platform that JAX runs on."""
    return ("local" if jax.default_backend() == "cpu" else "natural") if name == "auto" else name


def identity_order(num_nodes: int) -> Order:
    """Row r is node r's."""
    return Order(np.arange(num_nodes, dtype=np.int32), num_nodes)


def locality_order(matrix: scipy.sparse.csr_matrix, num_users: int) -> Order:
    """Nodes of a neighborhood stand together, so that a product finds the rows that it gathers in a cache.

    Neighborhoods are the parts of a recursive bisection, at equal numbers of edges, of the nodes' embedding.
    Users come before items as in the order of ids: a product then gathers either users or items for a long time.

    All of it is computed in integers, and without the values of the matrix: floating-point sums depend on the machine
    and its number of threads, and processes of one run that order rows differently would train on different graphs.
    """
    degree = np.diff(matrix.indptr).astype(np.int64)
    parts = _bisect(_spectral_embedding(matrix, degree, num_users), degree, np.arange(len(degree)), DEPTH)
    by_part = np.concatenate(parts)
    nodes = np.concatenate([by_part[by_part < num_users], by_part[by_part >= num_users]])
    return _order_from_rows(nodes, np.arange(len(nodes)), len(nodes))


def balanced_order(degree: np.ndarray, num_users: int, num_shards: int) -> Order:
    """Nodes are dealt to `num_shards` equal ranges of rows like cards, so that all hold about as many edges.

    Users and items are dealt apart, the busiest first and every second round in the other direction; within a range,
    rows are in the order of ids. The last row of each range has no node.
    """
    share = np.empty(len(degree), np.int64)
    for nodes in (np.arange(num_users), np.arange(num_users, len(degree))):
        turn, place = np.divmod(np.arange(len(nodes)), num_shards)
        busiest_first = nodes[np.argsort(-degree[nodes], kind="stable")]
        share[busiest_first] = np.where(turn % 2, num_shards - 1 - place, place)
    nodes = np.argsort(share, kind="stable")
    counts = np.bincount(share, minlength=num_shards)
    size = int(counts.max()) + 1
    within = np.arange(len(nodes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return _order_from_rows(nodes, share[nodes] * size + within, num_shards * size)


def _order_from_rows(nodes: np.ndarray, rows: np.ndarray, num_rows: int) -> Order:
    row = np.empty(len(nodes), np.int32)
    row[nodes] = rows
    return Order(row, num_rows)


def permute(matrix: scipy.sparse.csr_matrix, order: Order) -> scipy.sparse.csr_matrix:
    """The matrix [num_nodes, num_nodes] with rows and columns in the order: [num_rows, num_rows]."""
    degree = np.zeros(order.num_rows, np.int64)
    degree[order.row_of_node] = np.diff(matrix.indptr)
    node = order.node_of_row
    nodes = node[node >= 0]
    taken = matrix[nodes]
    indptr = np.concatenate([[0], np.cumsum(degree)])
    shape = order.num_rows, order.num_rows
    found = scipy.sparse.csr_matrix((taken.data, order.row_of_node[taken.indices], indptr), shape=shape)
    found.sort_indices()
    return found


def _spectral_embedding(matrix: scipy.sparse.csr_matrix, degree: np.ndarray, num_users: int) -> np.ndarray:
    """int64[num_nodes, VECTORS]: points that are near each other where a random walk soon leads from node to node.

    Random numbers of the items are averaged over walks of 2 * STEPS edges, which leaves a random mixture of the leading
    eigenvectors of the walk (a power iteration that stops early). The first of them, a constant, is taken away.
    """
    vectors, total = _random_vectors(len(degree)), max(int(degree.sum()), 1)
    halves = _bipartite_halves(matrix, num_users)
    for _ in range(STEPS):
        for nodes, neighbors in halves:
            vectors[nodes] = (neighbors @ vectors) // np.maximum(degree[nodes], 1)[:, None]
        vectors -= degree @ vectors // total
        vectors = _quantize(vectors, degree @ np.abs(vectors) // total, TYPICAL)
        np.clip(vectors, -(1 << EMBEDDING), 1 << EMBEDDING, out=vectors)  # cuts components that the walk soon covers
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1)
    return (vectors << POINT) // largest  # a node of few edges is as far from the middle as one of many


def _random_vectors(num_nodes: int) -> np.ndarray:
    """int64[num_nodes, VECTORS], EMBEDDING bits and a sign: the finalizer of SplitMix64 on multiples of its increment.

    Not from a generator of NumPy's, whose streams may be others in its next version.
    """
    x = np.arange(1, num_nodes * VECTORS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return x.view(np.int64).reshape(num_nodes, VECTORS) >> (63 - EMBEDDING)


def _bipartite_halves(matrix: scipy.sparse.csr_matrix, num_users: int) -> list[tuple[slice, scipy.sparse.csr_matrix]]:
    """The users and the items, each with the matrix of ones that adds up their neighbors: int64[nodes, num_nodes]."""
    indptr, num_nodes = matrix.indptr, matrix.shape[0]
    ones = np.ones(indptr[num_users], np.int64)  # both halves have this many entries
    halves = []
    for nodes in (slice(0, num_users), slice(num_users, num_nodes)):
        first, last = indptr[nodes.start], indptr[nodes.stop]
        content = ones, matrix.indices[first:last], indptr[nodes.start : nodes.stop + 1] - first
        halves.append((nodes, scipy.sparse.csr_matrix(content, shape=(nodes.stop - nodes.start, num_nodes))))
    return halves


def _quantize(x: np.ndarray, size: np.ndarray, bits: int) -> np.ndarray:
    """x times the power of two with which `size` (one number, or one for each column) has so many bits."""
    shift = bits - np.array([int(number).bit_length() for number in np.atleast_1d(size)])
    return x << np.maximum(shift, 0) >> np.maximum(-shift, 0)


def _bisect(points: np.ndarray, degree: np.ndarray, nodes: np.ndarray, depth: int) -> list[np.ndarray]:
    """The nodes cut in two along the direction in which their points differ most, and so on `depth` times."""
    if depth == 0 or len(nodes) < SMALLEST:
        return [nodes]
    centered, weight = points[nodes], degree[nodes]
    centered -= weight @ centered // max(int(weight.sum()), 1)
    axis = _principal_axis((centered * weight[:, None]).T @ centered)
    along = nodes[np.argsort(centered @ axis, kind="stable")]
    edges = np.cumsum(degree[along])
    cut = int(np.searchsorted(2 * edges, edges[-1]))
    return [part for half in (along[:cut], along[cut:]) for part in _bisect(points, degree, half, depth - 1)]


def _principal_axis(covariance: np.ndarray) -> np.ndarray:
    """int64[VECTORS], COVARIANCE bits: about the first eigenvector of an int64[VECTORS, VECTORS] covariance."""
    power = _quantize(covariance, np.abs(covariance).max(), COVARIANCE)
    for _ in range(SQUARINGS):
        power = power @ power
        power = _quantize(power, np.abs(power).max(), COVARIANCE)
    return power[:, np.argmax(power.diagonal())]  # all columns point its way; this one is longest
