"""What splits in time keep from the train part: events of train pairs, and dislikes, that came after the cut."""

import dataclasses

import numpy as np

from lgcn_jax.data import csr, filters, ids
from lgcn_jax.data.events import Events
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings


def first_held_out_times(
    unsplit: Interactions, split_data: Interactions, times: np.ndarray, settings: DataSettings
) -> np.ndarray:
    """[num_users]: the time of the first pair that was held out, of each user, or with 'temporal' of all.

    Args:
      unsplit: the data set before it was split, all of its pairs train pairs.
      split_data: the same after it.
      times: [unsplit.train.nnz], of each pair.
      settings: how it was split.
    """
    held = ~csr.isin(unsplit.train, split_data.train, unsplit.num_items)
    never = np.inf if times.dtype.kind == "f" else np.iinfo(times.dtype).max
    limit = np.full(unsplit.num_users, never, times.dtype)
    if settings.split == "temporal":
        limit[:] = times[held].min(initial=never)
    else:
        np.minimum.at(limit, csr.row_of_entry(unsplit.train)[held], times[held])
    return limit


def events_before(events: Events, time_limit: np.ndarray, split_data: Interactions, settings: DataSettings) -> Events:
    """The events of users of the data set that came before their user's limit; with 'leave_last_out' also at it.

    Args:
      events: of any users.
      time_limit: [num_users], as `first_held_out_times` gives it.
      split_data: the data set.
      settings: how it was split.
    """
    place, known = ids.locate(ids.match_id_type(events.users.values, split_data.user_ids), split_data.user_ids)
    user, time = place[events.users.codes], events.values["time"]
    early = time < time_limit[user] if settings.split == "temporal" else time <= time_limit[user]
    return events.take(known[events.users.codes] & early)


def with_weights_of(split_data: Interactions, events: Events, settings: DataSettings) -> Interactions:
    """The data set with the weights that these events alone give its train pairs."""
    merged = filters.merge_repeats(events, settings.repeats)
    shape = split_data.num_users, split_data.num_items
    pairs = [
        ids.locate(ids.match_id_type(column.values, known), known)
        for column, known in ((merged.users, split_data.user_ids), (merged.items, split_data.item_ids))
    ]
    (user, user_known), (item, item_known) = pairs
    kept = user_known[merged.users.codes] & item_known[merged.items.codes]
    rows, columns = user[merged.users.codes][kept], item[merged.items.codes][kept]
    of_train = csr.isin(csr.from_pairs(rows, columns, shape), split_data.train, split_data.num_items)
    return dataclasses.replace(split_data, weights=csr.sum_repeats(rows, columns, merged.weight[kept], shape)[of_train])
