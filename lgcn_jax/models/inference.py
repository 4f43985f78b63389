"""How a trained table is ranked: with which layer weights, and with how much of the items' popularity.

The layers E^(0)..E^(K) of a trained table are there whatever weights it was trained with, and their sum with other
weights is as wide. A loss whose negatives are drawn by popularity takes popularity out of the scores; more weight on
the deeper layers, which are smoother, or a prior, puts back as much of it as the data have.

The prior makes the vector of an item with n train pairs (1 + n)^p times as long: for a user the ranking is that of
score * (1 + n)^p, and vectors stay as wide as they are. Weights and prior change nothing in training.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.errors import InputError
from lgcn_jax.graph.layout import Layout
from lgcn_jax.models.encoder import Encoder
from lgcn_jax.settings import Settings, format_value, representable, setting

AUTO = "auto"
STEEPEST = 4.0  # exponents beyond that are of no use, and might leave float32


class Inference(NamedTuple):
    """What a trained table is ranked by.

    Attributes:
      weights: K + 1 layer weights; None: those of training.
      prior: the exponent p of (1 + n)^p; 0: none.
    """

    weights: tuple[float, ...] | jax.Array | None = None
    prior: float | jax.Array = 0.0

    def final_embeddings(self, encoder: Encoder, layout: Layout) -> jax.Array:
        """The final embeddings of all nodes, [num_rows, d], without the prior."""
        return encoder(layout) if self.weights is None else encoder.combine(layout, self.weights)

    def scale_items(self, item_vectors: jax.Array, popularity: jax.Array) -> jax.Array:
        """The vectors of items, [n, d], with the prior; `popularity` float32[n] is log(1 + n) of each."""
        if isinstance(self.prior, float) and self.prior == 0:
            return item_vectors
        return item_vectors * jnp.exp(self.prior * popularity)[:, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceSettings(Settings):
    """Layer weights and prior by which a trained table is ranked, or that they are chosen on the validation part."""

    inference_weights: tuple[float, ...] | str = setting(
        (),
        "other layer weights to rank by than those of training, or auto: chosen on the validation part",
        lambda v: v == AUTO or (isinstance(v, tuple) and all(map(representable, v)) and (not v or any(v))),
        "numbers a_0,...,a_K that are not all 0 (in float32), or auto",
    )
    popularity_prior: float | str = setting(
        0.0,
        "p: vectors of items with n train pairs get (1 + n)^p times as long to rank by; auto: chosen on validation",
        lambda v: v == AUTO or (not isinstance(v, str) and representable(v) and abs(v) <= STEEPEST),
        f"a number from -{STEEPEST:g} to {STEEPEST:g}, or auto",
    )

    @property
    def chosen_on_validation(self) -> tuple[str, ...]:
        """The names of what is chosen on the validation part."""
        return tuple(name for name in ("inference_weights", "popularity_prior") if getattr(self, name) == AUTO)

    def stated_inference(self) -> Inference:
        """What is stated; training's in place of what is chosen."""
        weights = () if self.inference_weights == AUTO else self.inference_weights
        prior = 0.0 if self.popularity_prior == AUTO else float(self.popularity_prior)
        return Inference(weights or None, prior)  # type: ignore[arg-type]

    def validate(self, model: str, layers: int, eval_split: str) -> None:
        """Raises an InputError where a model of so many weighed layers, or the part evaluated, does not allow this."""
        weights = self.inference_weights
        if weights and not layers:
            expected = f"nothing with --model={model} as it is set, which has no layers with weights that are stated"
            raise InputError("--inference_weights", format_value(weights), expected)
        if weights and weights != AUTO and len(weights) != layers:
            raise InputError("--inference_weights", f"{len(weights)} numbers", f"{layers}, one for each layer, or auto")
        for name in self.chosen_on_validation if eval_split != "valid" else ():
            raise InputError("--eval_split", f"{eval_split} with --{name}=auto", "valid, the part it is chosen on")


def tilt_weights(weights: np.ndarray, smoothing: float) -> tuple[float, ...]:
    """weights_k * 2^(k * smoothing), with the sum of the weights: above 0, deeper layers count more. K >= 1.

    >>> tilt_weights(np.array([0.5, 0.5]), 1.0)
    (0.333333, 0.666667)
    """
    made = weights * 2.0 ** (smoothing * np.arange(len(weights)))
    whole, total = weights.sum(), made.sum()
    return tuple(np.round(made * (whole / total if total else 1), 6).tolist())
