"""NeuMF (He et al. 2017): scores that are no dot products, but those of a network on top of both nodes' embeddings."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp

from lgcn_jax.devices.parameters import Replicated
from lgcn_jax.devices.pytree import pytree
from lgcn_jax.errors import InputError
from lgcn_jax.models.encoder import Nodes, matmul_at_full_precision
from lgcn_jax.models.mf import MF, MFSettings
from lgcn_jax.settings import integer

BLOCK_NUMBERS = 1 << 22  # of a hidden layer that are there at a time: 16 MB


@dataclasses.dataclass(frozen=True, kw_only=True)
class NeuMFSettings(MFSettings):
    """Depth of NeuMF's network, whose hidden layers are d, d/2, d/4, ... wide; its table has 2d numbers a node.

    >>> from lgcn_jax.config import Config
    >>> settings = Config.of(model="neumf", embedding_dim=32, mlp_layers=2).model
    >>> settings.hidden_widths, settings.table_width
    ((32, 16), 64)
    """

    HAS_VECTORS: ClassVar[bool] = False

    mlp_layers: int = integer(3, "number of hidden layers, each half as wide as the one before it", most=16)

    def __post_init__(self):
        super().__post_init__()
        if self.embedding_dim % (halves := 2 ** (self.mlp_layers - 1)):
            expected = f"a multiple of {halves}, so that each of --mlp_layers={self.mlp_layers} is half as wide"
            raise InputError("--embedding_dim", self.embedding_dim, f"{expected} as the one before it")

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """d, d/2, d/4, ..., of the hidden layers."""
        return tuple(self.embedding_dim >> layer for layer in range(self.mlp_layers))

    @property
    def table_width(self) -> int:
        """2d: d numbers for the product, and d for the network."""
        return 2 * self.embedding_dim

    def create(self, key: jax.Array, nodes: Nodes) -> "NeuMF":
        of_table, of_output, *of_layers = jax.random.split(key, 2 + self.mlp_layers)
        table, draw = self.initial_table(of_table, nodes), jax.nn.initializers.glorot_uniform()
        widths = (self.table_width, *self.hidden_widths)
        matrices = [
            draw(key, shape, table.dtype) for key, *shape in zip(of_layers, widths[:-1], widths[1:], strict=True)
        ]
        output = draw(of_output, (self.embedding_dim + widths[-1], 1), table.dtype)[:, 0]
        return NeuMF(table, matrices, output)

    def head(self, parameters: Mapping[str, jax.Array]) -> "NeuMFHead":
        layers = range(1, self.mlp_layers + 1)
        of_users, of_items = jnp.split(jnp.asarray(parameters["weights_1"]), 2)
        return NeuMFHead(
            of_users,
            of_items,
            tuple(parameters[f"weights_{layer}"] for layer in layers[1:]),
            tuple(parameters[f"bias_{layer}"] for layer in layers),
            parameters["output"],
        )


class NeuMF(MF):
    """NeuMF: with user u's row [p, q] and item i's row [r, s] of the table, each half d wide, the score is

        h . [p * r, z_L],   z_1 = ReLU(W_1^T [q, s] + b_1),   z_l = ReLU(W_l^T z_(l-1) + b_l).

    He, Liao, Zhang, Nie, Hu and Chua: Neural Collaborative Filtering (WWW 2017), equations 10 and 12. As there, the
    product (GMF) and the network (MLP) have embeddings of their own, layers halve, and h has no bias. Both embeddings
    are equally wide here, where the paper's network begins with a multiple of its last layer. Its sigmoid, which
    changes no ranking, belongs to its loss, the cross-entropy of single pairs; here the losses of scores are there,
    such as BPR. Its pretraining of both parts is left out. The L2 penalty is that of the batch's rows of the table.

    Attributes:
      weights_1, ..., weights_L: float[2d, d], float[d, d/2], ..., the matrices W, drawn by Xavier.
      bias_1, ..., bias_L: float[d], float[d/2], ..., which begin at zero.
      output: float[d + d / 2^(L-1)], h.
    """

    def __init__(self, table: jax.Array, matrices: list[jax.Array], output: jax.Array):
        super().__init__(table)
        for layer, matrix in enumerate(matrices, 1):
            setattr(self, f"weights_{layer}", Replicated(matrix))
            setattr(self, f"bias_{layer}", Replicated(jnp.zeros(matrix.shape[1], matrix.dtype)))
        self.output = Replicated(output)


@pytree
class NeuMFHead:
    """What makes scores of rows of the table; see `models.encoder.Head`.

    W_1^T [q, s] is the sum of two products, of which each node's own is made once, whatever it is paired with.

    Attributes:
      user_weights, item_weights: float[d, d], the two halves of W_1.
      weights: W_2, ..., W_L.
      biases: b_1, ..., b_L.
      output: h.
    """

    user_weights: jax.Array
    item_weights: jax.Array
    weights: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]
    output: jax.Array

    def project_users(self, embeddings: jax.Array) -> jax.Array:
        """[..., 2d]: h * p with the part of h that products have, and W_u^T q + b_1."""
        product, network = jnp.split(embeddings, 2, axis=-1)
        first = matmul_at_full_precision(network, self.user_weights)
        scale, bias = (
            jnp.broadcast_to(each, first.shape) for each in (self.output[: len(self.biases[0])], self.biases[0])
        )
        return jnp.concatenate([scale * product, first + bias], axis=-1)

    def project_items(self, embeddings: jax.Array) -> jax.Array:
        """[..., 2d]: r and W_i^T s."""
        product, network = jnp.split(embeddings, 2, axis=-1)
        return jnp.concatenate([product, matmul_at_full_precision(network, self.item_weights)], axis=-1)

    def pair_scores(self, user_vectors: jax.Array, item_vectors: jax.Array) -> jax.Array:
        """float[...]: the score of each pair of what `project_users` and `project_items` give, [..., 2d]."""
        (left, first), (right, second) = (jnp.split(each, 2, axis=-1) for each in (user_vectors, item_vectors))
        return (left * right).sum(-1) + self._tower(first + second)

    def score_matrix(self, user_vectors: jax.Array, item_vectors: jax.Array) -> jax.Array:
        """float[n, m]: all scores of n users and m items, BLOCK_NUMBERS of a hidden layer at a time.

        The backward pass computes a block's hidden layers anew, and so needs no more memory.
        """
        (left, first), (right, second) = (jnp.split(each, 2, axis=-1) for each in (user_vectors, item_vectors))
        of_items = _split_into_blocks(second, BLOCK_NUMBERS // second.shape[1])
        of_users = _split_into_blocks(first, BLOCK_NUMBERS // of_items[0].size)

        @jax.checkpoint
        def block(users: jax.Array, items: jax.Array) -> jax.Array:
            return self._tower(users[:, None] + items[None])

        found = jax.lax.map(lambda users: jax.lax.map(lambda items: block(users, items), of_items), of_users)
        found = found.swapaxes(1, 2).reshape(of_users[..., 0].size, -1)[: len(user_vectors), : len(item_vectors)]
        return jnp.matmul(left, right.T, precision="highest") + found

    def _tower(self, first: jax.Array) -> jax.Array:
        """float[...]: what the network adds to a score; `first` [..., d] is W_1^T [q, s] + b_1."""
        hidden = jax.nn.relu(first).reshape(-1, first.shape[-1])
        for matrix, bias in zip(self.weights, self.biases[1:], strict=True):
            hidden = jax.nn.relu(matmul_at_full_precision(hidden, matrix) + bias[None])
        return matmul_at_full_precision(hidden, self.output[len(self.biases[0]) :]).reshape(first.shape[:-1])


def _split_into_blocks(rows: jax.Array, most: int) -> jax.Array:
    """[blocks, size, d]: rows [n, d] in equal blocks of at most `most` of them, zeros at the end."""
    count = max(-(-len(rows) // max(most, 1)), 1)
    size = -(-len(rows) // count)
    return jnp.pad(rows, ((0, count * size - len(rows)), (0, 0))).reshape(count, size, -1)
