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
class HeadScorer:
    """Scores of a trained model that are no dot products: `head` makes them of what it takes of users and items.

    Attributes:
      users: [U, a], what `Head.of_users` gives.
      items: [I, b], what `Head.of_items` gives.
      head: of the model.
    """

    users: jax.Array
    items: jax.Array
    head: Head

    @classmethod
    def of(cls, head: Head, users: np.ndarray, items: np.ndarray) -> "HeadScorer":
        """Host: the scorer of final embeddings."""
        made = (np.asarray(jax.jit(make)(x)) for make, x in ((head.of_users, users), (head.of_items, items)))
        return cls(*made, head)  # type: ignore[arg-type, call-arg]

    def scores(self, users: jax.Array) -> jax.Array:
        return self.head.scores(self.users[users], self.items)

    def of_items(self, items: np.ndarray) -> "HeadScorer":
        """The scorer of these items alone."""
        return HeadScorer(self.users, self.items[items], self.head)

    def pair_scores(self, users: jax.Array, items: jax.Array) -> jax.Array:
        """float32[n]: the score of each pair."""
        return self.head.pair_scores(self.users[users], self.items[items])


@pytree
class EncoderScorer:
    """Scores of a trained model by its final embeddings, in the order of the table's rows.

    Attributes:
      final: [num_rows, d], those of this device where rows are cut over devices.
      adjacency: says where the users' rows stand.
      items: [ranked, d], the rows of the items that are ranked here; with a head, what it takes of them.
      head: what makes the scores, None where they are dot products.
    """

    final: jax.Array
    adjacency: Adjacency
    items: jax.Array
    head: Head | None = None

    def scores(self, users: jax.Array) -> jax.Array:
        rows = self.adjacency.gather(self.final, users)
        if self.head is not None:
            return self.head.scores(self.head.of_users(rows), self.items)
        return jnp.matmul(rows, self.items.T, precision="highest")  # not TF32 or bfloat16
