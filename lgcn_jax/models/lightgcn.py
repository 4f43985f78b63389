"""LightGCN (He et al. 2020): a table of node embeddings, propagated K times, and the layers' weighted sum."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.devices.parameters import Replicated
from lgcn_jax.errors import InputError
from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.perturbation import Noise, combine_noisy_layers_at
from lgcn_jax.graph.propagation import at_rows, combine_layers_at, gather_rows, propagate, propagate_at
from lgcn_jax.models.encoder import Encoder, EncoderSettings, FoldIn, Nodes
from lgcn_jax.settings import choice, integer, representable, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class LightGCNSettings(EncoderSettings):
    """Depth and layer weights of LightGCN.

    >>> from lgcn_jax.config import Config
    >>> Config.of(num_layers=1, layer_combination="learned").model.weights  # where training begins
    (0.5, 0.5)
    """

    num_layers: int = integer(3, "number of propagation layers K", least=0, most=64)
    layer_weights: tuple[float, ...] = setting(
        (),
        "weights alpha_0,...,alpha_K of the layers (default: each 1/(K+1))",
        lambda v: all(map(representable, v)),
        "finite numbers (in float32)",
    )
    layer_combination: str = choice(
        "fixed", ("fixed", "learned"), "whether the weights of the layers stay what they are, or are trained, too"
    )

    def __post_init__(self):
        super().__post_init__()
        if self.layer_weights and len(self.layer_weights) != self.num_layers + 1:
            expected = f"{self.num_layers + 1} (num_layers + 1)"
            raise InputError("--layer_weights", f"{len(self.layer_weights)} numbers", expected)
        if self.layer_combination == "learned":
            self._require_learnable()

    def _require_learnable(self) -> None:
        if self.num_layers == 0:
            raise InputError("--layer_combination", "learned with --num_layers=0", "at least one layer beside layer 0")
        if least := [weight for weight in self.layer_weights if weight <= 0]:
            raise InputError("--layer_weights", f"{least[0]} with --layer_combination=learned", "numbers above 0")

    @property
    def weights(self) -> tuple[float, ...]:
        """The layer weights alpha_0..alpha_K, uniform unless given."""
        return self.layer_weights or (1 / (self.num_layers + 1),) * (self.num_layers + 1)

    @property
    def activations_per_node(self) -> int:
        """With trained weights, each layer is kept for its weight's gradient; measured, as of the other encoders."""
        return self.embedding_dim * (self.num_layers if self.layer_combination == "learned" else 1)

    @property
    def weighed_layers(self) -> int:
        return self.num_layers + 1 if self.num_layers and self.layer_combination == "fixed" else 0

    @property
    def perturbed_layers(self) -> int:
        """None where layer weights are trained, to which noise is no constant."""
        return self.num_layers if self.layer_combination == "fixed" else 0

    def create(self, key: jax.Array, nodes: Nodes) -> "LightGCN | LearnedLightGCN":
        kind = LearnedLightGCN if self.layer_combination == "learned" else LightGCN
        return kind(self.initial_table(key, nodes), self.weights)

    def fold_in(
        self, weights: tuple[float, ...] | None = None, trained: Mapping[str, np.ndarray] | None = None
    ) -> FoldIn | None:
        """Layers 1..K without layer 0, their weights scaled so that they add up to what all weights add up to.

        None where that cannot be: there is no layer but 0, or the weights cancel out.
        """
        weights = weights or self.weights
        if trained and "logits" in trained:
            weights = tuple(softmax_weights(jnp.asarray(trained["logits"]), sum(weights)).tolist())
        whole, rest = sum(weights), sum(weights[1:])
        if rest == 0 or whole / rest <= 0:
            return None
        return FoldIn(weights[0], whole / rest, functools.partial(messages, weights=weights))


def messages(layout: Layout, table: jax.Array, weights: Sequence[float | jax.Array]) -> jax.Array:
    """sum_{k=1..K} alpha_k E^(k-1), [num_rows, d]: A_hat times it is the final embedding without layer 0. K >= 1."""
    total = weights[-1] * table
    for weight in weights[-2:0:-1]:
        total = weight * table + propagate(layout, total)
    return total


class LightGCN(Encoder):
    """The trainable table and what is computed from it.

    Attributes:
      weights: alpha_0..alpha_K, one for each layer; static.
    """

    def __init__(self, table: jax.Array, weights: tuple[float, ...]):
        super().__init__(table)
        self.weights = weights

    def layers(self, layout: Layout) -> list[jax.Array]:
        """E^(0), ..., E^(K) with E^(k+1) = A_hat E^(k) (eq. 7), each [num_rows, d]."""
        layers = [self.table[...]]
        for _ in self.weights[1:]:
            layers.append(propagate(layout, layers[-1]))
        return layers

    def __call__(self, layout: Layout) -> jax.Array:
        """The final embeddings sum_k alpha_k E^(k) (eq. 4), [num_rows, d].

        By Horner's rule, alpha_0 E + A_hat (alpha_1 E + A_hat (...)): no layer is kept for a sum at the end.
        """
        return self.combine(layout, self.weights)

    def combine(self, layout: Layout, weights: tuple[float, ...] | jax.Array) -> jax.Array:
        table = self.table[...]
        final = weights[-1] * table
        for k in range(len(weights) - 2, -1, -1):
            final = weights[k] * table + propagate(layout, final)
        return final

    def embeddings_at(
        self, layout: Layout, nodes: jax.Array, shared: jax.Array | None = None, axis: str | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """As for `Encoder`, but cheaper: the first and the last product are made for these rows alone."""
        return combine_layers_at(layout, self.weights, self.table[...], nodes, shared, axis)

    def perturbed_at(
        self,
        layout: Layout,
        noise: Noise,
        layer: int,
        nodes: jax.Array,
        shared: jax.Array | None = None,
        axis: str | None = None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """As for `Encoder`, by one propagation."""
        alone = tuple(float(number == layer) for number in range(len(self.weights)))
        weights = self.weights, alone
        final, one, initial = combine_noisy_layers_at(layout, noise, weights, self.table[...], nodes, shared, axis)
        return final, one, initial


def softmax_weights(logits: jax.Array, total: float) -> jax.Array:
    """float[K + 1]: layer weights above 0 that add up to `total`."""
    return total * jax.nn.softmax(logits)


class LearnedLightGCN(Encoder):
    """LightGCN whose layer weights are trained with the table: alpha = total * softmax(logits).

    He et al. (2020), section 3.1.2, say of alpha_k >= 0 that it may be tuned by hand or be a model parameter, and take
    uniform weights, which they found to be good in general. The softmax keeps the weights above 0, as they ask, and
    their sum what it was. Free weights, as those of GPR-GNN (Chien et al. 2021), could also scale all scores, which is
    a way around the L2 penalty of the table's rows. No penalty is on the logits.

    Attributes:
      logits: float[K + 1], one for each layer.
      total: the sum of the layer weights; static.
    """

    def __init__(self, table: jax.Array, weights: tuple[float, ...]):
        super().__init__(table)
        self.total = sum(weights)
        self.logits = Replicated(jnp.log(jnp.array(weights, table.dtype) * (len(weights) / self.total)))

    def weights(self) -> list[jax.Array]:
        """alpha_0..alpha_K, scalars."""
        return list(softmax_weights(self.logits[...], self.total))

    def __call__(self, layout: Layout) -> jax.Array:
        """The final embeddings sum_k alpha_k E^(k), [num_rows, d]."""
        table, weights = self.table[...], self.weights()
        return weights[0] * table + propagate(layout, messages(layout, table, weights))

    def embeddings_at(
        self, layout: Layout, nodes: jax.Array, shared: jax.Array | None = None, axis: str | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """As for `Encoder`, but cheaper: the first and the last product are made for these rows alone."""
        table, weights, where = self.table[...], self.weights(), (nodes, shared, axis)
        own = gather_rows(layout, table, *where)
        others = propagate_at(layout, messages(layout, table, weights), *where)
        return at_rows(layout, weights[0], axis) * own + others, own
