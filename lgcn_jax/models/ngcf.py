"""NGCF (Wang et al. 2019): propagation with matrices of weights, products of neighbors, and a nonlinearity."""

import dataclasses

import jax
import jax.numpy as jnp

from lgcn_jax.devices.parameters import Replicated
from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.perturbation import MessageDropout
from lgcn_jax.graph.propagation import propagate
from lgcn_jax.models.encoder import Encoder, EncoderSettings, Nodes, matmul_at_full_precision, unit_rows
from lgcn_jax.settings import integer, real

SLOPE = 0.2  # of LeakyReLU below zero


@dataclasses.dataclass(frozen=True, kw_only=True)
class NGCFSettings(EncoderSettings):
    """Depth of NGCF, whose layers are as wide as its table: final embeddings have (num_layers + 1) * embedding_dim.

    >>> from lgcn_jax.config import Config
    >>> Config.of(model="ngcf", embedding_dim=32, num_layers=2).model
    NGCFSettings(embedding_dim=32, init='normal', init_std=0.1, num_layers=2, message_dropout=0.1)
    """

    num_layers: int = integer(3, "number of propagation layers K", least=1, most=64)
    message_dropout: float = real(
        0.1,
        "share of each layer's elements that a train step drops",
        lambda v: 0 <= v < 1,
        "a number of at least 0 and below 1",
    )

    @property
    def dropout_rate(self) -> float:
        return self.message_dropout

    @property
    def final_width(self) -> int:
        return (self.num_layers + 1) * self.embedding_dim

    @property
    def activations_per_node(self) -> int:
        """Measured: operands of both matrices, the sum, the layer, its rows at length 1, and gradients of the like."""
        return 9 * self.num_layers * self.embedding_dim

    def create(self, key: jax.Array, nodes: Nodes) -> "NGCF":
        of_table, of_sums, of_products = jax.random.split(key, 3)
        table, shape = self.initial_table(of_table, nodes), (self.num_layers, self.embedding_dim, self.embedding_dim)
        draw = jax.nn.initializers.glorot_uniform(batch_axis=0)
        return NGCF(table, draw(of_sums, shape, table.dtype), draw(of_products, shape, table.dtype))


class NGCF(Encoder):
    """NGCF: with n(.) dividing each row by its length, and * the product of elements,

        E^(k+1) = LeakyReLU((E^(k) + A_hat E^(k)) W1_k + (A_hat E^(k) * E^(k)) W2_k),
        final = [E^(0), n(E^(1)), ..., n(E^(K))].

    Wang, He, Wang, Feng and Chua: Neural Graph Collaborative Filtering (SIGIR 2019), equations 7 and 9. The rows of
    layers 1..K are normalized in their code, not in the paper; matrices and biases are drawn by Xavier there, of which
    the paper has no biases, and neither has this.

    In training, each E^(k+1) goes through dropout with the rate `message_dropout` before it is passed on and
    normalized, as in the authors' code (github.com/xiangwang1223/neural_graph_collaborative_filtering). Its defaults
    are ours: .1, and no dropout of nodes, which is left out here. Items are ranked without dropout.

    Here as for all models, the L2 penalty is that of the batch's layer-0 rows. The paper's is of all parameters, the
    matrices included; the authors' code has that of the batch's final embeddings.

    Attributes:
      sum_weights: float[K, d, d], W1.
      product_weights: float[K, d, d], W2.
    """

    def __init__(self, table: jax.Array, sum_weights: jax.Array, product_weights: jax.Array):
        super().__init__(table)
        self.sum_weights, self.product_weights = Replicated(sum_weights), Replicated(product_weights)

    def layers(self, layout: Layout, dropout: MessageDropout | None = None) -> list[jax.Array]:
        """E^(0), ..., E^(K), each [num_rows, d]."""
        layers = [self.table[...]]
        for number, weights in enumerate(zip(self.sum_weights[...], self.product_weights[...], strict=True), 1):
            own, neighbors = layers[-1], propagate(layout, layers[-1])
            sums, products = (
                matmul_at_full_precision(own + neighbors, weights[0]),
                matmul_at_full_precision(neighbors * own, weights[1]),
            )
            layer = jax.nn.leaky_relu(sums + products, SLOPE)
            layers.append(layer if dropout is None else dropout.applied(layer, number))
        return layers

    def __call__(self, layout: Layout) -> jax.Array:
        """The final embeddings, [num_rows, (K + 1) d]."""
        return _concatenate_layers(self.layers(layout))

    def dropped(self, layout: Layout, dropout: MessageDropout) -> jax.Array:
        return _concatenate_layers(self.layers(layout, dropout))


def _concatenate_layers(layers: list[jax.Array]) -> jax.Array:
    first, *others = layers
    return jnp.concatenate([first, *map(unit_rows, others)], axis=1)
