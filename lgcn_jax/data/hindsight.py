"""What splits in time keep from the train part: events of train pairs, and dislikes, that came after the cut."""

import dataclasses

import numpy as np

from lgcn_jax.data import csr, filters, ids
from lgcn_jax.data.events import Events
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings


def first_held_out(whole: Interactions, made: Interactions, time: np.ndarray, settings: DataSettings) -> np.ndarray:
    """[num_users]: the time of the first pair that was held out, of each user, or with 'temporal' of all.

    Args:
      whole: the data set before it was split, all of its pairs train pairs.
      made: the same after it.
      time: [whole.train.nnz], of each pair.
      settings: how it was split.
    """
    held = ~csr.isin(whole.train, made.train, whole.num_items)
    never = np.inf if time.dtype.kind == "f" else np.iinfo(time.dtype).max
    limit = np.full(whole.num_users, never, time.dtype)
    if settings.split == "temporal":
        limit[:] = time[held].min(initial=never)
    else:
        np.minimum.at(limit, csr.row_of_entry(whole.train)[held], time[held])
    return limit


def before(found: Events, limit: np.ndarray, made: Interactions, settings: DataSettings) -> Events:
    """The events of users of the data set that came before their user's limit; with 'leave_last_out' also at it."""
    place, known = ids.locate(ids.like(found.users.values, made.user_ids), made.user_ids)
    user, time = place[found.users.codes], found.values["time"]
    early = time < limit[user] if settings.split == "temporal" else time <= limit[user]
    return found.take(known[found.users.codes] & early)


def weighted(made: Interactions, found: Events, settings: DataSettings) -> Interactions:
    """The data set with the weights that these events alone give its train pairs."""
    merged = filters.merge_repeats(found, settings.repeats)
    shape = made.num_users, made.num_items
    pairs = [
        ids.locate(ids.like(column.values, known), known)
        for column, known in ((merged.users, made.user_ids), (merged.items, made.item_ids))
    ]
    (user, user_known), (item, item_known) = pairs
    kept = user_known[merged.users.codes] & item_known[merged.items.codes]
    rows, columns = user[merged.users.codes][kept], item[merged.items.codes][kept]
    of_train = csr.isin(csr.from_pairs(rows, columns, shape), made.train, made.num_items)
    return dataclasses.replace(made, weights=csr.summed(rows, columns, merged.weight[kept], shape)[of_train])
