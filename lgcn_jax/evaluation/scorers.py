"""Scorers: pytrees with `scores(users)`, so that trained models and baselines are ranked by the same code."""

from typing import Protocol

import jax
import jax.numpy as jnp

from lgcn_jax.devices.pytree import pytree
from lgcn_jax.graph.propagation import Adjacency


class Scorer(Protocol):
    """A model that scores every item for some users."""

    def scores(self, users: jax.Array) -> jax.Array: ...


@pytree
class DotProduct:
    """Scores of a trained model: dot products of the final embeddings `users` [U, d] and `items` [I, d]."""

    users: jax.Array
    items: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        return jnp.matmul(self.users[users], self.items.T, precision="highest")  # not TF32 or bfloat16


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
