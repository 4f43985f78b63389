"""Raw ids and titles as Arrow files, beside a checkpoint or a model: integers stay integers, text stays text.

    ids/users.arrow, ids/items.arrow    Arrow IPC files of the columns id, ascending, and title, where titles are known

No pickle is involved, and whatever reads Arrow reads them.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.system import files

FOLDER = "ids"
USERS, ITEMS = "users.arrow", "items.arrow"


class RawIds(NamedTuple):
    """Raw ids of users or items, `ids` [n], as `Interactions` has them, and `titles` [n], None where none is known."""

    ids: np.ndarray
    titles: np.ndarray | None = None


def collect_raw_ids(interactions: Interactions) -> tuple[RawIds, RawIds]:
    """Those of the users and of the items of a data set."""
    users = RawIds(interactions.user_ids, interactions.user_titles)
    return users, RawIds(interactions.item_ids, interactions.item_titles)


def write_raw_ids(folder: Path, users: RawIds, items: RawIds) -> None:
    """Writes both files into a folder, which is made where it is missing, each whole or not at all.

    Raises:
      OSError: the disk does not take it.
    """
    folder.mkdir(exist_ok=True)
    for name, ids in ((USERS, users), (ITEMS, items)):
        files.write(folder / name, _serialize(ids))


def read_raw_ids(folder: Path) -> tuple[RawIds, RawIds]:
    """What `write_raw_ids` wrote: users, then items.

    Raises:
      InputError: a file is missing, or none of ours.
    """
    return _read_ids(folder / USERS), _read_ids(folder / ITEMS)


def with_kept_titles(interactions: Interactions, folder: Path) -> Interactions:
    """The data set with the titles that a run in `folder` has kept, where it brings none of its own."""
    try:
        users, items = read_raw_ids(folder / FOLDER)
    except InputError:  # none is kept, or what was kept is damaged: they are but titles
        return interactions
    found = {}
    for name, kept, known in (
        ("user_titles", users, interactions.user_ids),
        ("item_titles", items, interactions.item_ids),
    ):
        if getattr(interactions, name) is None and kept.titles is not None and np.array_equal(kept.ids, known):
            found[name] = kept.titles
    return dataclasses.replace(interactions, **found)


def arrow_column(values: np.ndarray) -> Any:
    """A pyarrow.Array of raw ids or titles, of which None is null."""
    import pyarrow

    return pyarrow.array(values, pyarrow.large_string() if values.dtype.kind in "OTU" else None)


def _serialize(ids: RawIds) -> bytes:
    import pyarrow

    titles = {} if ids.titles is None else {"title": arrow_column(ids.titles)}
    table = pyarrow.table({"id": arrow_column(ids.ids)} | titles)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _read_ids(path: Path) -> RawIds:
    import pyarrow

    expected = "raw ids, as train and save write them"
    try:
        with path.open("rb") as file:
            table = pyarrow.ipc.open_file(file.read()).read_all()
        ids, titles = (table[name].to_numpy() if name in table.column_names else None for name in ("id", "title"))
    except FileNotFoundError:
        raise InputError(path, "no such file", expected) from None
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(path, f"a file that cannot be read ({str(error).splitlines()[0]})", expected) from None
    if ids is None or ids.dtype not in (np.int32, np.int64, np.object_) or not (ids[1:] > ids[:-1]).all():
        raise InputError(path, "no ascending ids" if ids is not None else "no column id", expected)
    return RawIds(np.array(ids), titles)
