"""Titles of users and items, from a second table."""

import numpy as np

from lgcn_jax.data import conversion, dialect, ids, tables
from lgcn_jax.data.columns import Columns, find
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.data.source import Source
from lgcn_jax.errors import InputError


def read(path: str, known: np.ndarray, kind: str, settings: DataSettings) -> np.ndarray:
    """The title of each known id, `str` of dtype object; '' where the table has none.

    Args:
      path: of a table with a column of ids and one of titles.
      known: raw ids, ascending.
      kind: 'user' or 'item'.
      settings: may state the columns.

    Raises:
      InputError: it cannot be read, has no such column, or no title of a known id.
    """
    stated_id, stated_title = getattr(settings, f"{kind}_col"), getattr(settings, f"{kind}_title_col")

    def choose(where, names: tuple[str, ...], headed: bool) -> Columns:
        stated = stated_id if stated_id in names else ""
        places = {"id": find(where, names, stated, kind, f"--{kind}_table") if headed else 0}
        places["title"] = find(where, names, stated_title or ("" if headed else "2"), "title", f"--{kind}_title_col")
        return Columns(places, names)

    table = _table(Source(path), settings, choose)
    column, _ = conversion.id_column(table["id"], kind, path)
    titles = np.array([str(each or "") for each in table["title"].to_pylist()], object)
    values = ids.like(column.values, known)
    found = np.full(len(known), "", object)
    if ids.is_text(values) == ids.is_text(known) and len(values):
        place, is_known = ids.locate(values[column.codes], known)
        is_known &= column.codes >= 0
        found[place[is_known]] = titles[is_known]
    if not found.astype(bool).any():
        raise InputError(f"--{kind}_table={path}", f"no title of the {len(known)} {kind}s", f"ids such as {known[0]}")
    return found


def _table(source: Source, settings: DataSettings, choose):
    if tables.is_columnar(source, settings):
        return tables.read_columnar(source, choose)[0]
    found = dialect.of(source, settings)
    if found.format == "jsonl":
        return tables.read_jsonl(source, choose)[0]
    return tables.read_text(source, settings, found, choose)[0]
