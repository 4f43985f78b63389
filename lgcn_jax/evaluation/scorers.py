"""Scorers: pytrees with `scores(users)`, so that trained models and baselines are ranked by the same code."""

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.devices.pytree import pytree
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.models import Head


class Scorer(Protocol):
    """A model that scores every item for some users.

    It may have two more functions. `select_items(items)`, the scorer of those items alone, lets items be cut over
    devices; `pair_scores(users, items)`, the score of each pair, is faster than all scores of each user.
    """

    def scores(self, users: jax.Array) -> jax.Array: ...


@pytree
class DotProduct:
    """Scores of a trained model: dot products of its final embeddings.

    Attributes:
      user_vectors: [U, d], of all users.
      item_vectors: [I, d], of the items that are ranked.
    """

    user_vectors: jax.Array
    item_vectors: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        return jnp.matmul(self.user_vectors[users], self.item_vectors.T, precision="highest")  # not TF32 or bfloat16

    def select_items(self, items: np.ndarray) -> "DotProduct":
        """The scorer of these items alone."""
        return DotProduct(self.user_vectors, self.item_vectors[items])

    def pair_scores(self, users: jax.Array, items: jax.Array) -> jax.Array:
        """float32[n]: the score of each pair."""
        return (self.user_vectors[users] * self.item_vectors[items]).sum(1)


@pytree
class HeadScorer:
    """Scores of a trained model that are no dot products: `head` makes them of what it takes of users and items.

    Attributes:
      user_projections: [U, a], what `Head.project_users` gives.
      item_projections: [I, b], what `Head.project_items` gives.
      head: of the model.
    """

    user_projections: jax.Array
    item_projections: jax.Array
    head: Head

    @classmethod
    def from_embeddings(cls, head: Head, user_embeddings: np.ndarray, item_embeddings: np.ndarray) -> "HeadScorer":
        """Host: the scorer of final embeddings."""
        sides = (head.project_users, user_embeddings), (head.project_items, item_embeddings)
        made = (np.asarray(jax.jit(project)(x)) for project, x in sides)
        return cls(*made, head)  # type: ignore[arg-type, call-arg]

    def scores(self, users: jax.Array) -> jax.Array:
        return self.head.score_matrix(self.user_projections[users], self.item_projections)

    def select_items(self, items: np.ndarray) -> "HeadScorer":
        """The scorer of these items alone."""
        return HeadScorer(self.user_projections, self.item_projections[items], self.head)

    def pair_scores(self, users: jax.Array, items: jax.Array) -> jax.Array:
        """float32[n]: the score of each pair."""
        return self.head.pair_scores(self.user_projections[users], self.item_projections[items])


@pytree
class EncoderScorer:
    """Scores of a trained model by its final embeddings, in the order of the table's rows.

    Attributes:
      final_embeddings: [num_rows, d], those of this device where rows are cut over devices.
      adjacency: says where the users' rows stand.
      item_vectors: [ranked, d], the rows of the items that are ranked here; with a head, what it takes of them.
      head: what makes the scores, None where they are dot products.
    """

    final_embeddings: jax.Array
    adjacency: Adjacency
    item_vectors: jax.Array
    head: Head | None = None

    def scores(self, users: jax.Array) -> jax.Array:
        rows = self.adjacency.gather(self.final_embeddings, users)
        if self.head is not None:
            return self.head.score_matrix(self.head.project_users(rows), self.item_vectors)
        return jnp.matmul(rows, self.item_vectors.T, precision="highest")  # not TF32 or bfloat16
