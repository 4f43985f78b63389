"""What a trained model is like: for whom and of what its lists are good, what they hold, and how its vectors lie."""

from typing import Any

import numpy as np
import scipy.stats

import lgcn_jax as lg
from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.evaluation import results
from lgcn_jax.evaluation.results import EvaluationResult
from lgcn_jax.evaluation.scorers import DotProduct
from lgcn_jax.serving.vectors import unit_vectors

K = 20
PAIRS = 2000  # of a user, one of its items and one of the others
LISTS = ("coverage", "average_popularity", "gini", "novelty")
DIGITS = "0123456789abcdefghijk"  # a user's hits among K items, one letter each


def portrait(interactions: Interactions, model: lg.Model) -> dict[str, Any]:
    """Of a model whose scores are products of its vectors, on the test part with lists of K."""
    users, items = model.user_embeddings, model.item_embeddings
    found = results.evaluate(DotProduct(users, items), interactions, "test", (K,), wanted=("recall", *LISTS))
    return {
        "user_groups": _plain(found.user_groups()),
        "item_groups": _plain(found.item_groups()),
        "lists": {name.split("@")[0]: round(value, 5) for name, value in found.means().items()},
        "geometry": geometry(interactions, users, items),
        "leads": leads(interactions, users, items),
        "users": evaluated(found),
        "hits": hits(found),
    }


def evaluated(found: EvaluationResult) -> dict[str, list[int]]:
    """Of each user who is evaluated, in the order of `hits`: test items, and items in all parts."""
    return {"relevant": found.relevant.tolist(), "degree": found.interactions.tolist()}


def hits(found: EvaluationResult) -> str:
    """How many of their test items each user's list of K holds, a letter each."""
    counts = np.rint(found.values[f"recall@{K}"] * found.relevant).astype(int)
    return "".join(DIGITS[count] for count in counts)


def leads(interactions: Interactions, users: np.ndarray, items: np.ndarray) -> list[float]:
    """By how much the item of a train pair outscores an item that the user does not have: 101 quantiles of PAIRS pairs.

    Drawn as the default sampler does: a uniform user, one of its items, one of the others.
    """
    random, train = np.random.default_rng(0), interactions.train
    degree = csr.degrees(train)
    user = random.choice(np.flatnonzero((degree > 0) & (degree < interactions.num_items)), PAIRS)
    positive = train.indices[train.indptr[user] + random.integers(0, degree[user])]
    owned = np.zeros((PAIRS, interactions.num_items), bool)
    own = csr.take_rows(train, user)
    owned[csr.row_of_entry(own), own.indices] = True
    negative = np.where(owned, -1.0, random.random(owned.shape)).argmax(1)
    lead = (users[user] * (items[positive] - items[negative])).sum(1)
    return [round(value, 4) for value in np.quantile(lead, np.linspace(0, 1, 101)).tolist()]


def geometry(interactions: Interactions, users: np.ndarray, items: np.ndarray) -> dict[str, float]:
    """Alignment and uniformity on the unit sphere (Wang and Isola 2020), and lengths of vectors against degrees.

    Alignment is the mean squared distance of the unit vectors of train pairs; uniformity the logarithm of the mean of
    exp(-2 d^2) over all pairs of users, and of items; both better where they are lower. The correlations are
    Spearman's, of vectors' lengths with train degrees, where these are above 0.
    """
    train = interactions.train
    unit = {"user": unit_vectors(users).astype(np.float64), "item": unit_vectors(items).astype(np.float64)}
    distance = unit["user"][csr.row_of_entry(train)] - unit["item"][train.indices]
    found = {"alignment": float(np.square(distance).sum(1).mean())}
    degree = {"user": csr.degrees(train), "item": csr.column_counts(train, interactions.num_items)}
    for kind, vectors in (("user", users), ("item", items)):
        known, length = degree[kind] > 0, np.linalg.norm(vectors.astype(np.float64), axis=1)
        found[f"uniformity of {kind}s"] = _uniformity(unit[kind][known])
        found[f"mean length of {kind}s"] = float(length[known].mean())
        correlation = scipy.stats.spearmanr(length[known], degree[kind][known]).statistic
        found[f"length and degree of {kind}s"] = float(correlation)
    return {name: round(value, 5) for name, value in found.items()}


def _uniformity(unit: np.ndarray) -> float:
    squared = 2 - 2 * (unit @ unit.T)
    rows, columns = np.triu_indices(len(unit), 1)
    return float(np.log(np.exp(-2 * squared[rows, columns]).mean()))


def _plain(table: dict[str, np.ndarray]) -> dict[str, list]:
    """The columns as lists of numbers, None where there is none."""
    return {name: [_number(value) for value in column.tolist()] for name, column in table.items()}


def _number(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    return None if np.isnan(value) else round(value, 6)
