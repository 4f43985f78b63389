"""Users who are left out of a training altogether, and folded in after it by their train items."""

import dataclasses

import numpy as np

import lgcn_jax as lg
from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.data.ids import is_text
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.serving.fold_in import FoldedUsers


def drawn(data: Interactions, share: float, seed: int) -> np.ndarray:
    """int64[n]: the numbers of the users left out, ascending, of those with train and test items."""
    users = np.flatnonzero((csr.degrees(data.train) > 0) & (csr.degrees(data.test) > 0))
    count = round(share * len(users))
    return np.sort(np.random.default_rng(seed).choice(users, count, replace=False))


def without(data: Interactions, users: np.ndarray) -> Interactions:
    """The data set without any pair of these users, who keep their numbers."""
    kept = ~np.isin(np.arange(data.num_users), users)
    parts = {name: _rows(getattr(data, name), kept) for name in ("train", "valid", "test")}
    weights = None if data.weights is None else data.weights[kept[csr.row_of_entry(data.train)]]
    disliked = None if data.disliked is None else _rows(data.disliked, kept)
    return dataclasses.replace(data, **parts, weights=weights, disliked=disliked)


def _rows(part: CSR, kept: np.ndarray) -> CSR:
    return csr.filter_entries(part, kept[csr.row_of_entry(part)])


def folded(model: lg.Model, data: Interactions, users: np.ndarray, k: int) -> FoldedUsers:
    """The users, by their train items, as `model` takes in those whom it does not know; in the order of `users`.

    Args:
      model: one that was trained `without` them.
      data: the whole data set.
      users: int[n], numbers of users with train items, ascending.
      k: items of each list.

    Raises:
      InputError: the model cannot fold in.
    """
    row, new = csr.row_of_entry(data.train), unknown(data.user_ids)
    own = np.isin(row, users)
    weights = None if data.weights is None else data.weights[own]
    found = model.fold_in((new[row[own]], data.item_ids[data.train.indices[own]], weights), k=k)
    assert found.ids.tolist() == new[users].tolist()
    return found


def unknown(ids: np.ndarray) -> np.ndarray:
    """For each of the ascending ids one that is not among them, ascending, too."""
    return np.array([f"{ids[-1]} {each}" for each in ids], object) if is_text(ids) else ids - ids[0] + ids[-1] + 1
