"""Which events are positives, and which of them stay: labels, ratings, repeats, and the k-core."""

import dataclasses

import numpy as np

from lgcn_jax.data.events import Events
from lgcn_jax.data.ids import IdColumn
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError


def split_by_preference(events: Events, settings: DataSettings) -> tuple[Events, Events | None]:
    """The events that are wanted, and those that are known not to be; None where nothing says so."""
    wanted, notes = np.ones(len(events), bool), {}
    if "label" in events.values:
        wanted &= events.values["label"]
        notes["rows with label 0 (no positives)"] = int((~wanted).sum())
    if settings.min_rating is not None:
        low = ~(events.values["rating"] >= settings.min_rating)  # also where there is none
        notes[f"rows rated below {settings.min_rating:g} left out"] = int((low & wanted).sum())
        wanted &= ~low
    if not notes:
        return events, None
    kept = dataclasses.replace(events.take(wanted), notes=events.notes | notes)
    return kept, events.take(~wanted)


def merge_repeats(events: Events, how: str) -> Events:
    """One event for each pair, in the order of users and then items.

    Its time is that of the first event. Its weight is, for `how` 'merge', that of the last event, and for 'count' the
    sum over all, where each weighs 1 unless weights are given.
    """
    width = max(len(events.items.values), 1)
    keys = events.users.codes.astype(np.int64) * width + events.items.codes
    time = events.values.get("time")
    order = np.argsort(keys, kind="stable") if time is None else np.lexsort((time, keys))
    first = np.flatnonzero(np.diff(keys[order], prepend=-1))
    merged = events.take(order[first])
    notes = events.notes | {"repeated pairs merged": len(events) - len(first)}
    values = dict(merged.values)
    if how == "count":
        weight = np.ones(len(events)) if events.weight is None else events.weight
        values["weight"] = np.add.reduceat(weight[order], first) if len(first) else weight
    elif events.weight is not None:
        last = np.append(first[1:], len(events)) - 1
        values["weight"] = events.weight[order[last]]
    return dataclasses.replace(merged, values=values, notes=notes)


def k_core(events: Events, least_items: int, least_users: int) -> Events:
    """The most of distinct pairs in which each user has `least_items` items and each item `least_users` users."""
    users, items = events.users.codes, events.items.codes
    kept = np.ones(len(events), bool)
    while True:
        user_degree = np.bincount(users[kept], minlength=len(events.users.values))
        item_degree = np.bincount(items[kept], minlength=len(events.items.values))
        stay = kept & (user_degree[users] >= least_items) & (item_degree[items] >= least_users)
        if stay.sum() == kept.sum():
            break
        kept = stay
    lost = _count_distinct(users) - _count_distinct(users[kept]), _count_distinct(items) - _count_distinct(items[kept])
    names = "pairs", "users", "items"
    counts = len(events) - int(kept.sum()), *lost
    notes = {f"{name} left out by the k-core": count for name, count in zip(names, counts, strict=True)}
    return dataclasses.replace(events.take(kept), notes=events.notes | notes)


def drop_unused_ids(events: Events) -> Events:
    """Without ids that have no event."""
    return dataclasses.replace(events, users=_drop_unused_ids(events.users), items=_drop_unused_ids(events.items))


def require_events(events: Events, where) -> None:
    """Raises an InputError with the counts of every step where no event is left."""
    if not len(events):
        steps = "; ".join(f"{count:,} {note}" for note, count in events.notes.items() if count)
        raise InputError(where, f"no event that is left ({steps or 'no row'})", "at least one")


def _drop_unused_ids(column: IdColumn) -> IdColumn:
    present = np.bincount(column.codes, minlength=len(column.values)) > 0
    if present.all():
        return column
    return IdColumn(column.values[present], (np.cumsum(present, dtype=np.int32) - 1)[column.codes])


def _count_distinct(codes: np.ndarray) -> int:
    return int((np.bincount(codes) > 0).sum()) if len(codes) else 0
