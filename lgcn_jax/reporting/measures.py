"""Arithmetic of the report on the host: samples of scores, the plane of the items, users to show."""

import numpy as np
import scipy.stats

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.reporting.contents import ItemMap

SEED = 0  # of every sample of a report
SAMPLE = 20_000  # pairs of each kind whose scores are shown
LISTS = 5_000  # users whose first recommendation's score is shown
POINTS = 2_000  # items of the map
DOZEN = 12  # users shown


def sample_triples(part: CSR, seen: CSR, num_items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, positives and unseen items, int[n] each: pairs of the part, each with an item that its user has nowhere.

    They are all pairs of the part, or SAMPLE of them. A user who has all items gives no pair.
    """
    entries = spread_sample(np.arange(part.nnz), SAMPLE)
    users, positives = csr.row_of_entry(part)[entries], np.asarray(part.indices)[entries]
    known = csr.degrees(part) + csr.degrees(seen)
    kept = known[users] < num_items
    users, positives = users[kept], positives[kept]
    rank = np.random.default_rng(SEED).integers(0, num_items - known[users])
    known_by = (np.union1d(csr_row(part, user), csr_row(seen, user)) for user in users)
    unseen = np.array([_kth_missing_item(own, each) for own, each in zip(known_by, rank, strict=True)], np.int64)
    return users, positives, unseen


def spread_sample(values: np.ndarray, most: int) -> np.ndarray:
    """All values, or so many of them, in their order."""
    if len(values) <= most:
        return values
    return values[np.sort(np.random.default_rng(SEED).choice(len(values), most, replace=False))]


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """The share of all pairs of a positive and a negative score in which the positive is higher; ties count half.

    By ranks, as Mann and Whitney's U (1947); NaN where one is empty.
    """
    if not len(positive) or not len(negative):
        return float("nan")
    ranks = scipy.stats.rankdata(np.concatenate([positive, negative]))
    return float((ranks[: len(positive)].mean() - (len(positive) + 1) / 2) / len(negative))


def item_map(item_vectors: np.ndarray, degrees: np.ndarray) -> ItemMap:
    """The items along the two main directions (PCA) of all item vectors [num_items, d].

    Half of POINTS are the most popular items, half are drawn among the others. A direction's sign is such that its
    largest part is positive, so that the map is the same each time.
    """
    centered = item_vectors.astype(np.float64) - item_vectors.mean(0, dtype=np.float64)
    directions, variance, _ = np.linalg.svd(centered.T @ centered)  # [d, d], a column for each direction
    two = np.zeros((2, item_vectors.shape[1]))
    two[: len(variance)] = directions.T[:2]
    two *= np.where(two[[0, 1], np.abs(two).argmax(1)] < 0, -1, 1)[:, None]
    shares = np.append(variance, 0.0)[:2] / max(variance.sum(), np.finfo(float).tiny)
    chosen, popular = _items_to_show(degrees)
    return ItemMap(chosen, centered[chosen] @ two.T, degrees[chosen], tuple(shares.tolist()), popular, len(degrees))


def _items_to_show(degrees: np.ndarray) -> tuple[np.ndarray, int]:
    """The items of the map, the least popular first, and how many of them are there for their popularity."""
    order = np.argsort(degrees, kind="stable")
    if len(order) <= POINTS:
        return order, len(order)
    drawn = np.random.default_rng(SEED).choice(len(order) - POINTS // 2, POINTS // 2, replace=False)
    return np.concatenate([order[np.sort(drawn)], order[-(POINTS // 2) :]]), POINTS // 2


def users_to_show(degrees: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """At most DOZEN of the candidates (numbers of users), ascending by degree.

    One is drawn of each of so many equal shares.
    """
    ordered = candidates[np.argsort(degrees[candidates], kind="stable")]
    random = np.random.default_rng(SEED)
    shares = np.array_split(ordered, min(DOZEN, len(ordered))) if len(ordered) else []
    return np.array([random.choice(share) for share in shares], np.int64)


def _kth_missing_item(own: np.ndarray, rank: int) -> int:
    """The `rank`-th smallest item (from 0) that is not one of `own`, which are ascending."""
    return int(rank + np.searchsorted(own - np.arange(len(own)), rank, side="right"))


def csr_row(rows: CSR, number: int) -> np.ndarray:
    """int[n], the columns of a row."""
    return np.asarray(rows.indices[rows.indptr[number] : rows.indptr[number + 1]])
