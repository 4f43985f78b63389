"""Events -> a data set: which are positives and stay, how they are split, what users and items are called."""

import dataclasses

import numpy as np

from lgcn_jax.data import csr, filters, hindsight, ids, interactions, splits
from lgcn_jax.data.csr import CSR
from lgcn_jax.data.events import PARTS, Events, no_events
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError


def interactions_from_table(where: str, events: Events, settings: DataSettings) -> Interactions:
    """The data set that one table of events is, split as the settings say.

    Args:
      where: what to call it in messages, and by default.
      events: all events.
      settings: which of them stay, and how they are split.

    Raises:
      InputError: no event is left, or it cannot be split so.
    """
    wanted, unwanted = filters.split_by_preference(events, settings)
    filters.require_events(wanted, where)
    core = settings.min_user_interactions, settings.min_item_interactions
    kept = wanted
    if kept.values or settings.repeats == "count" or max(core) > 1:
        kept = filters.merge_repeats(kept, settings.repeats)
    if max(core) > 1:
        kept = filters.k_core(kept, *core)
        filters.require_events(kept, where)
    if max(core) > 1 or kept.format not in ("adjacency", "counts"):  # users may be listed without an item
        kept = filters.drop_unused_ids(kept)
    if settings.split == "column":
        made = _split_by_column(where, kept, settings)
        return _add_disliked(made, unwanted and unwanted.take(unwanted.values["split"] == PARTS.index("train")))
    whole = interactions.assemble(where, kept, no_events())
    time = kept.values.get("time")
    made = splits.split(whole, time, kept.times_are_dates, settings)
    if settings.split in ("temporal", "leave_last_out"):
        limit = hindsight.first_held_out_times(whole, made, time, settings)
        if made.weights is not None:
            made = hindsight.with_weights_of(made, hindsight.events_before(wanted, limit, made, settings), settings)
        unwanted = unwanted and hindsight.events_before(unwanted, limit, made, settings)
    return _add_disliked(made, unwanted)


def interactions_from_parts(where: str, parts: dict[str, Events], settings: DataSettings) -> Interactions:
    """The data set of a train, a test and possibly a validation part.

    Raises:
      InputError: no train event is left.
    """
    chosen = {part: filters.split_by_preference(found, settings) for part, found in parts.items()}
    kept = {part: wanted for part, (wanted, _) in chosen.items()}
    if settings.repeats == "count" or kept["train"].weight is not None:
        kept["train"] = filters.merge_repeats(kept["train"], settings.repeats)
    filters.require_events(kept["train"], where)
    whole = interactions.assemble(where, kept["train"], kept.get("test", no_events()), kept.get("valid"))
    if settings.validation_fraction:
        whole = interactions.hold_out(whole, settings.validation_fraction, settings.data_seed)
    return _add_disliked(whole, chosen["train"][1])


def interactions_from_rows(name: str, rows: CSR, num_items: int, settings: DataSettings) -> Interactions:
    """The data set of compressed rows whose numbers are the raw ids; empty ones stay."""
    numbers = np.arange(rows.num_rows, dtype=np.int32), np.arange(num_items, dtype=np.int32)
    empty = csr.empty(rows.num_rows)
    return splits.split(Interactions(name, *numbers, rows, empty, empty), None, False, settings)


def with_titles(interactions: Interactions, settings: DataSettings) -> Interactions:
    """With the titles of the tables that the settings name.

    Raises:
      InputError: a table cannot be read, or has no title of these users or items.
    """
    for kind, known in (("user", interactions.user_ids), ("item", interactions.item_ids)):
        if path := getattr(settings, f"{kind}_table"):
            from lgcn_jax.data import titles

            interactions = dataclasses.replace(
                interactions, **{f"{kind}_titles": titles.read_titles(path, known, kind, settings)}
            )
    return interactions


def _split_by_column(where: str, kept: Events, settings: DataSettings) -> Interactions:
    if "split" not in kept.values:
        raise InputError("--split=column", "no column that says so", "a table with one (--split_col)")
    train, valid, test = (kept.take(kept.values["split"] == part) for part in range(len(PARTS)))
    filters.require_events(train, f"{where}, train part")
    bare = [dataclasses.replace(part, notes={}, remarks=()) for part in (test, valid)]
    found = interactions.assemble(where, train, bare[0], bare[1] if len(valid) else None)
    if settings.validation_fraction:
        return interactions.hold_out(found, settings.validation_fraction, settings.data_seed)
    return found


def _add_disliked(found: Interactions, unwanted: Events | None) -> Interactions:
    """With the pairs of events that are no positives, as far as users and items are known and no part has the pair."""
    if unwanted is None:
        return found
    user, user_known = ids.locate(ids.match_id_type(unwanted.users.values, found.user_ids), found.user_ids)
    item, item_known = ids.locate(ids.match_id_type(unwanted.items.values, found.item_ids), found.item_ids)
    users, items = unwanted.users.codes, unwanted.items.codes
    kept = user_known[users] & item_known[items]
    pairs = csr.from_pairs(user[users[kept]], item[items[kept]], (found.num_users, found.num_items))
    for part in (found.train, found.valid, found.test):
        pairs = csr.filter_entries(pairs, ~csr.isin(pairs, part, found.num_items))
    return dataclasses.replace(found, disliked=pairs) if pairs.nnz else found
