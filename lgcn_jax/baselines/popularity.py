"""The most popular items, for everybody."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.baselines.baseline import Baseline, Solution
from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.pytree import pytree
from lgcn_jax.evaluation import ranking
from lgcn_jax.evaluation.task import EvaluationTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class Popularity(Baseline):
    """Every user gets the items' train degrees as scores; ties go to the lowest id."""

    def solve(self, interactions: Interactions, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        return {"item_scores": csr.column_counts(interactions.train, interactions.num_items).astype(dtype)}

    def scorer(self, solution: Solution) -> "ItemScores":
        return ItemScores(solution["item_scores"])  # type: ignore[arg-type]


@pytree
class ItemScores:
    """The same scores for every user: `item_scores` float32[num_items]."""

    item_scores: jax.Array

    def scores(self, users: jax.Array) -> jax.Array:
        """float32[len(users), num_items]."""
        return jnp.broadcast_to(self.item_scores, (users.shape[0], self.item_scores.shape[0]))

    def select_items(self, items: np.ndarray) -> "ItemScores":
        """The scorer of these items alone."""
        return ItemScores(self.item_scores[items])

    def pair_scores(self, users: jax.Array, items: jax.Array) -> jax.Array:
        """float32[n]: the score of each pair."""
        del users
        return self.item_scores[items]


def popularity_metrics(interactions: Interactions, split: str, ks: tuple[int, ...]) -> dict[str, float]:
    """What `ranking.evaluate` finds of `Popularity`, in a fraction of the time.

    Only as many of the most popular items are ranked as a list and the user with the most masked items need: whoever it
    is, the list is among these.
    """
    scores = Popularity().solve(interactions)["item_scores"]
    enough = max(ks) + int(csr.degrees(interactions.seen(split)).max(initial=0))
    items = np.sort(np.argsort(-scores, kind="stable")[:enough])
    return ranking.evaluate(ItemScores(scores[items]), EvaluationTask.of(interactions, split, items=items), ks)  # type: ignore[arg-type]
