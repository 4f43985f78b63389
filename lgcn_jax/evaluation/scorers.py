"""Scorers: pytrees with `scores(users)`, so that trained models and baselines are ranked by the same code."""

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.devices.pytree import pytree
from lgcn_jax.graph.propagation import Adjacency


class Scorer(Protocol):
    """A model that scores every item for some users.

    It may have two more functions. `of_items(items)`, the scorer of those items alone, lets items be cut over devices;
    `pair_scores(users, items)`, the score of each pair, is faster than all scores of each user.
    """

    def scores(self, users: jax.Array) -> jax.Array: ...


@pytree
class DotProduct:
    """Scores of a trained model: dot products of the final embeddings `users` [U, d] and `items` [I, d]."""

    users: jax.Array
    items: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        return jnp.matmul(self.users[users], self.items.T, precision="highest")  # not TF32 or bfloat16

    def of_items(self, items: np.ndarray) -> "DotProduct":
        """The scorer of these items alone."""
        return DotProduct(self.users, self.items[items])

    def pair_scores(self, users: jax.Array, items: jax.Array) -> jax.Array:
        """float32[n]: the score of each pair."""
        return (self.users[users] * self.items[items]).sum(1)


@pytree
class EncoderScorer:
    """Scores of a trained model by its final embeddings, in the order of the table's rows.

    Attributes:
      final: [num_rows, d], those of this device where rows are cut over devices.
      adjacency: says where the users' rows stand.
      items: [ranked, d], the rows of the items that are ranked here.
    """

    final: jax.Array
    adjacency: Adjacency
    items: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        rows = self.adjacency.gather(self.final, users)
        return jnp.matmul(rows, self.items.T, precision="highest")  # not TF32 or bfloat16
