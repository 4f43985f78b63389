"""Embeddings of nodes that were not in the graph when the table was trained, by one product: no gradient step.

LightGCN's layers are E^(k) = A_hat E^(k-1), and the final embedding is sum_k alpha_k E^(k). Let a node u be new, with
an edge of weight w_i to each neighbor i of its history. With u in the graph, its row of A_hat has the entries

    w_i / sqrt(d_u d_i'),    d_u = sum_i w_i,    d_i' = d_i + w_i,

where d_i is the neighbor's degree (the sum of its weights) in the graph that was trained on. So the degrees count the
new edge, as if the node were in the graph; a neighbor that had no edge at all has d_i' = w_i. Layers 1..K of u are

    E_u^(k) = sum_i w_i / sqrt(d_u d_i') E_i^(k-1),

with the layers E_i^(k-1) of the trained graph: u takes from its neighbors and gives them nothing. For k = 1 that is
exactly what inserting u into the graph gives; for k > 1 a true insertion would also change the neighbors' layers by
terms of the order of 1 / d_i. They are left as they are on purpose: vectors that are served stay what they are, and a
node's vector does not depend on who else is new. Layer 0 of u does not exist. The final embedding is

    scale * sum_{k=1..K} alpha_k E_u^(k) = scale * sum_i w_i / sqrt(d_u d_i') m_i,
    m_i = sum_{k=1..K} alpha_k E_i^(k-1),

and scale = sum_k alpha_k / sum_{k>=1} alpha_k renormalizes the weights of the layers that there are. One table of
"messages" m therefore suffices, whatever K.

A known node with further edges has its layer 0: its final embedding is
alpha_0 E_u^(0) + sum_i w_i / sqrt(d_u d_i') m_i, where edges that were in the graph already are counted in d_i, and
only what is new of an edge is added to it. Without a new edge that is the node's trained embedding.

Another encoder has messages of its own, and may have other powers of the two degrees (`models.FoldIn`).
"""

import jax
import numpy as np
import scipy.sparse

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.graph import propagation
from lgcn_jax.graph.layout import Layout


def adjacency_rows(
    edges: CSR,
    weights: np.ndarray,
    new_weights: np.ndarray,
    degree: np.ndarray,
    dtype=np.float32,
    exponents: tuple[float, float] = (0.5, 0.5),
) -> scipy.sparse.csr_matrix:
    """Host: the rows of D^-a A D^-b that nodes have by their edges, dtype[n, num_neighbors]; by default of A_hat.

    Args:
      edges: CSR, the neighbors of each of n nodes.
      weights: float[nnz], the weight of each edge.
      new_weights: float[nnz], what of it was not in the graph when `degree` was counted.
      degree: float64[num_neighbors], the sum of each neighbor's weights.
      dtype: of the entries, which are computed in float64.
      exponents: a and b.
    """
    row = csr.row_of_entry(edges)
    own = np.bincount(row, weights, edges.num_rows)
    values = weights / (own[row] ** exponents[0] * (degree[edges.indices] + new_weights) ** exponents[1])
    return scipy.sparse.csr_matrix((values.astype(dtype), edges.indices, edges.indptr), (edges.num_rows, len(degree)))


def multiply(matrix: scipy.sparse.csr_matrix, messages: jax.Array) -> np.ndarray:
    """Host: float32[n, d], the product of rows of A_hat with the messages of all neighbors, in blocks of rows.

    Sizes are rounded up to powers of two, so that programs are compiled for few of them.
    """
    kind, found = propagation.LAYOUTS[propagation.resolve_layout_name()], []
    for rows, _ in csr.row_blocks(matrix.indptr):
        block = _pad_rows(matrix[rows], _round_up_size(rows.stop - rows.start))
        sizes = {name: _round_up_size(size) for name, size in kind.padded_sizes(block).items()}
        found.append(jax.device_get(_product(kind.prepare(block, sizes), messages))[: rows.stop - rows.start])
    return np.concatenate([np.zeros((0, messages.shape[1]), np.float32), *found])


@jax.jit
def _product(layout: Layout, messages: jax.Array) -> jax.Array:
    return layout.product(messages)


def _round_up_size(size: int) -> int:
    return 1 << max(size - 1, 0).bit_length()


def _pad_rows(matrix: scipy.sparse.csr_matrix, count: int) -> scipy.sparse.csr_matrix:
    """The matrix with empty rows below, `count` in all."""
    indptr = np.pad(matrix.indptr, (0, count - matrix.shape[0]), mode="edge")
    return scipy.sparse.csr_matrix((matrix.data, matrix.indices, indptr), (count, matrix.shape[1]))
