"""`recommend`: the best items of users, of a run or a saved model."""

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from lgcn_jax.cli import models
from lgcn_jax.cli.command import Command, named_as_flags, say, warn
from lgcn_jax.cli.id_file import read_ids
from lgcn_jax.cli.listing import format_columns, terminal_width
from lgcn_jax.config import RELOCATABLE
from lgcn_jax.data import csr, ids
from lgcn_jax.errors import InputError
from lgcn_jax.serving import tables
from lgcn_jax.serving.folding import FoldsIn
from lgcn_jax.serving.recommendations import RankedLists, Recommendations
from lgcn_jax.serving.recommender import Recommender
from lgcn_jax.system.signals import StopRequest

WHOM = ("user", "users_file", "all_users", "fold_in")


def recommend(values: flags.FlagValues, request: StopRequest) -> int:
    """Writes or prints the best items of the users that are asked for."""
    del request
    whom = require_one_flag(values, "recommend", WHOM)
    require_writable(values)
    model = models.load_model(values)
    candidates, exclude = (
        models.read_item_list(values[name].value, model.items, f"--{name}", needed) if values[name].value else None
        for name, needed in (("candidates_file", True), ("exclude_items_file", False))
    )
    stated = f"--{whom}={values[whom].value}"
    how = {"exclude_seen": values["exclude_seen"].value, "candidates": candidates, "exclude": exclude}
    how |= {"k": values["k"].value, "on_unknown": values["on_unknown"].value}
    typed = dict.fromkeys(("users", "items", "histories", "dataset", "fold_in"), stated)
    with named_as_flags(**typed, k="--k", on_unknown="--on_unknown"):
        if whom == "fold_in":
            found, notes = _recommend_folded_in(values, model, how)
        else:
            users = _requested_users(values, whom, model.users)
            found = model.recommend(users, mesh=models.mesh_of(values), **how)
            notes = _notes_on_users(found, len(users))
    if not len(found.users):
        raise InputError(stated, "no user whom the model knows", "at least one, or --on_unknown=popular")
    warn(notes)
    output_lists(found, values, how["k"])
    return 0


def _recommend_folded_in(
    values: flags.FlagValues, model: Recommender, how: dict[str, Any]
) -> tuple[Recommendations, list[str]]:
    """The lists of users whose events are in a table that the model was not trained on, and what is worth saying."""
    from lgcn_jax.data import reading

    if not isinstance(model, FoldsIn):
        raise InputError("--fold_in", f"a {type(model).__name__} model", "one that is trained")
    if values["mesh"].present:
        raise InputError("--mesh", values["mesh"].value, "nothing beside --fold_in, which takes one device")
    events = reading.read(values["fold_in"].value, split="none")
    rows, known = csr.row_of_entry(events.train), (model.users, model.items)
    raw = events.user_ids[rows], events.item_ids[events.train.indices]
    histories = *(ids.match_id_type(*each) for each in zip(raw, known, strict=True)), events.weights
    folded = model.fold_in(histories, **how)
    new = f"{(~folded.known).sum():,} of {len(folded.ids):,} users are new, and folded in by their items"
    return folded.recommendations, [*events.remarks, new]


def require_one_flag(values: flags.FlagValues, command: str, names: tuple[str, ...]) -> str:
    """The flag among `names` that is stated; an InputError where none is, or more than one."""
    stated = [name for name in names if values[name].value]
    if len(stated) != 1:
        found = " and ".join(f"--{name}" for name in stated) or "none of them"
        raise InputError(command, found, f"one of {', '.join(f'--{name}' for name in names)}")
    return stated[0]


def require_writable(values: flags.FlagValues) -> None:
    """Raises an InputError where --out is stated and could not be written, before anything is computed."""
    if values["out"].value:
        tables.require_writable(Path(values["out"].value).expanduser(), "--out=")


def _requested_users(values: flags.FlagValues, whom: str, known: np.ndarray) -> np.ndarray:
    if whom == "all_users":
        return known
    return (models.parse_ids if whom == "user" else read_ids)(values[whom].value, known, f"--{whom}")


def _notes_on_users(found: Recommendations, asked: int) -> list[str]:
    """What is not as a user would expect, a line each."""
    notes = []
    if skipped := asked - len(found.users):
        notes.append(f"{skipped:,} of {asked:,} users are unknown to the model, and are left out")
    if found.known is not None and not found.known.all():
        unknown = f"{(~found.known).sum():,} of {asked:,} users are unknown to the model"
        notes.append(f"{unknown}: they get the most popular items, scored by their train pairs")
    return notes


def output_lists(found: RankedLists, values: flags.FlagValues, k: int) -> None:
    """Writes the lists to --out, or prints them; where lists end early, says how many."""
    lengths = found.lengths
    if short := int((lengths < k).sum()):
        early = f"{short:,} of {len(lengths):,} lists end early, since fewer are left"
        warn([f"--k={k}: {early}; the shortest has {lengths.min():,}"])
    if values["out"].value:
        found.write(values["out"].value)
        say(f"wrote {lengths.sum():,} rows in {len(lengths):,} lists to {values['out'].value}")
    else:
        query, name, *others = columns = found.columns()
        ordered = (query, "rank", name, *(other for other in others if other != "rank"))
        say(format_columns({each: columns[each] for each in ordered}, terminal_width()))


OUT = {"out": ("", "a file .csv, .jsonl or .parquet for the result (default: a table on the terminal)")}
COMMAND = Command(
    recommend,
    "the best items of users, by a run or a saved model",
    lambda: RELOCATABLE,
    {
        **models.OWN,
        "user": ("", "raw ids of users, separated by commas"),
        "users_file": (
            "",
            "a file of users, a raw id on each line, or a table (.csv, .tsv, .parquet) with a column user",
        ),
        "all_users": (False, "all users of the model"),
        "fold_in": ("", "a table of events of users, new ones or with new events, who are served without training"),
        "k": (20, "items of each list (default: 20)"),
        "exclude_seen": (True, "leave out items of the train and validation parts (default: on; --noexclude_seen)"),
        "exclude_items_file": ("", "a file of items that are not recommended, likewise"),
        "candidates_file": ("", "a file of the only items that may be recommended, likewise"),
        "on_unknown": ("raise", "users whom the model does not know: raise, skip, popular (default: raise)"),
        **OUT,
    },
    texts=models.TEXTS,
)
