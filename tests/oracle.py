"""Metrics and embeddings in plain NumPy, from their definitions: what the numbers of whole runs are held against."""

import numpy as np

from lgcn_jax.data.csr import CSR
from lgcn_jax.data.interactions import Interactions


def rows(pairs: CSR) -> list[np.ndarray]:
    """The items of each user."""
    return np.split(pairs.indices, pairs.indptr[1:-1])


def dense(pairs: CSR, num_items: int) -> np.ndarray:
    """float64[num_users, num_items], 1 for each pair."""
    matrix = np.zeros((len(pairs.indptr) - 1, num_items))
    for user, items in enumerate(rows(pairs)):
        matrix[user, items] = 1
    return matrix


def metrics(scores: np.ndarray, data: Interactions, split: str, ks: tuple[int, ...]) -> dict[str, float]:
    """Means over the users with an item in the part; items seen before it are masked, ties go to the lower id."""
    known = [data.train] + [data.valid] * (split == "test")
    scores = np.where(sum(dense(pairs, data.num_items) for pairs in known) > 0, -np.inf, scores)
    ranked = np.argsort(-scores, axis=1, kind="stable")
    wanted = {user: items for user, items in enumerate(rows(data.part(split))) if len(items)}
    found = {}
    for k in ks:
        gain = 1 / np.log2(np.arange(2, k + 2))
        hits = {user: np.isin(ranked[user, :k], items) for user, items in wanted.items()}
        found[f"precision@{k}"] = np.mean([hit.sum() / k for hit in hits.values()])
        found[f"recall@{k}"] = np.mean([hits[user].sum() / len(items) for user, items in wanted.items()])
        ideal = {user: gain[: len(items)].sum() for user, items in wanted.items()}
        found[f"ndcg@{k}"] = np.mean([(hits[user] * gain).sum() / ideal[user] for user in wanted])
    return found


def popularity(data: Interactions) -> np.ndarray:
    """float64[num_users, num_items], the items' train degrees for every user."""
    return np.tile(dense(data.train, data.num_items).sum(0), (data.num_users, 1))


def trained(table: np.ndarray, data: Interactions, num_layers: int) -> np.ndarray:
    """float64[num_users, num_items], the scores of LightGCN with uniform layer weights and this layer-0 table."""
    train = dense(data.train, data.num_items)
    scale = [1 / np.sqrt(np.maximum(train.sum(axis), 1)) for axis in (1, 0)]
    weighted = scale[0][:, None] * train * scale[1]
    users, items = total = np.split(table.astype(np.float64), [data.num_users])
    for _ in range(num_layers):
        users, items = weighted @ items, weighted.T @ users
        total = [total[0] + users, total[1] + items]
    return total[0] @ total[1].T
