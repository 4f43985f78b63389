"""Two models as one: weighted sums of their scores, each user's brought to mean 0 and deviation 1 over all items."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.devices.pytree import pytree
from lgcn_jax.evaluation import ranking
from lgcn_jax.evaluation.scorers import DotProduct, Scorer
from lgcn_jax.evaluation.task import EvaluationTask


def standardize(scores: jax.Array) -> jax.Array:
    """Each row of [n, num_items] less its mean, over its standard deviation; a row of equal scores becomes zeros."""
    centered = scores - scores.mean(1, keepdims=True)
    deviation = jnp.sqrt(jnp.square(centered).mean(1, keepdims=True))
    return centered / jnp.where(deviation > 0, deviation, 1)


@pytree
class MixtureScorer:
    """Scores weight * z(first) + (1 - weight) * z(second), z what `standardize` does to the scores of all items."""

    first: Scorer
    second: Scorer
    weight: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        return weighted_sum(*(standardize(each.scores(users)) for each in (self.first, self.second)), self.weight)


def weighted_sum(first: jax.Array, second: jax.Array, weight: jax.Array) -> jax.Array:
    """weight * first + (1 - weight) * second."""
    return weight * first + (1 - weight) * second


@pytree
class _Scored:
    """The scorer of users whose scores are known, [n, num_items]."""

    known: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        del users
        return self.known


def evaluate_weights(
    first: Scorer, second: Scorer, task: EvaluationTask, weights: np.ndarray, ks: tuple[int, ...]
) -> list[dict[str, float]]:
    """The metrics of the mixture for each of the weights, as `ranking.evaluate` gives them, in one pass of both models.

    Args:
      first, second: the models, on the device.
      task: on one device.
      weights: float[n], of the first one.
      ks: list lengths.
    """
    sums = np.asarray(_metric_sums(first, second, task, jnp.asarray(weights, jnp.float32), ks))
    return [ranking.mean_metrics(sums[:, place], task, ks) for place in range(len(weights))]


@functools.partial(jax.jit, static_argnames="ks")
def _metric_sums(
    first: Scorer, second: Scorer, task: EvaluationTask, weights: jax.Array, ks: tuple[int, ...]
) -> jax.Array:
    """float[chunks, n, len(ks) * 3]: the sum of every metric over the users of each chunk, for each weight."""

    def chunk(number):
        parts = [standardize(each.scores(task.users[number])) for each in (first, second)]
        parts = jax.lax.optimization_barrier(parts)  # else they are computed anew for each weight

        def of(weight):
            return ranking.metric_sums(_Scored(weighted_sum(*parts, weight)), task, number, ks)

        return jax.lax.map(of, weights)

    return jax.lax.map(chunk, jnp.arange(task.users.shape[0], dtype=jnp.int32))


def concatenate_vectors(first: DotProduct, second: DotProduct, weight: float) -> DotProduct:
    """Host: vectors whose dot products rank as the mixture of two models with vectors, as wide as both together.

    A user's deviation over all items is that of u . i over the items i, sqrt(u C u) with C their covariance, so it goes
    into the user's vector. The mean is the same for all items of a user: it is left out, and changes no ranking. What
    users have in common goes into the items' vectors, whose parts then count among items as much as they do in scores.
    """
    parts = [standardize_vectors(part, share) for part, share in ((first, weight), (second, 1 - weight))]
    users, items = (np.concatenate(sides, axis=1).astype(np.float32) for sides in zip(*parts, strict=True))
    return DotProduct(users, items)  # type: ignore[arg-type]


def standardize_vectors(vectors: DotProduct, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Host: float64[num_users, d] and [num_items, d], whose dot products are share * u . i over u's deviation."""
    users, items = (np.asarray(each, np.float64) for each in (vectors.user_vectors, vectors.item_vectors))
    centered = items - items.mean(0)
    variance = np.einsum("nd,de,ne->n", users, centered.T @ centered / len(items), users, optimize=True)
    scale = np.divide(1, np.sqrt(np.maximum(variance, 0)), where=variance > 0, out=np.zeros(len(users)))
    common = scale.mean() or 1.0
    return users * (scale / common)[:, None], items * (share * common)
