"""Titles of users and items, from a second table."""

import functools

import numpy as np

from lgcn_jax.data import conversion, dialect, ids, tables, text_tables
from lgcn_jax.data.columns import Columns, find_column, has_usual_name
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.data.source import Source
from lgcn_jax.errors import InputError


def read_titles(path: str, known_ids: np.ndarray, kind: str, settings: DataSettings) -> np.ndarray:
    """The title of each known id, `str` of dtype object; '' where the table has none.

    Args:
      path: of a table with a column of ids and one of titles.
      known_ids: raw ids, ascending.
      kind: 'user' or 'item'.
      settings: may state the columns.

    Raises:
      InputError: it cannot be read, has no such column, or no title of a known id.
    """
    as_events = {name: getattr(settings, name) for name in (f"{kind}_col", f"{kind}_title_col", "encoding")}
    table = _read_table(Source(path), DataSettings(**as_events), functools.partial(_choose_columns, kind, as_events))
    column, _ = conversion.id_column(table["id"], kind, path)
    titles = np.array([str(each or "") for each in table["title"].to_pylist()], object)
    found = np.full(len(known_ids), "", object)
    if len(column.values):
        values = column.values
        if ids.is_text(values) != ids.is_text(known_ids):  # one that is no integer makes text of all
            values, known_ids = (each.astype(str).astype(object) for each in (values, known_ids))
        order = np.argsort(known_ids)
        place, is_known = ids.locate(values[column.codes], known_ids[order])
        is_known &= column.codes >= 0
        found[order[place[is_known]][::-1]] = titles[is_known][::-1]  # of two titles, the first one
    if not found.astype(bool).any():
        raise InputError(
            f"--{kind}_table={path}", f"no title of the {len(known_ids)} {kind}s", f"ids such as {known_ids[0]}"
        )
    return found


def _choose_columns(kind: str, stated: dict[str, str], where, names: tuple[str, ...], has_header: bool) -> Columns:
    """The column of ids, called like that of the events, by a usual name or `id`; and that of titles."""
    title, flag = stated[f"{kind}_title_col"], f"--{kind}_title_col"
    if not has_header:
        return Columns({"id": 0, "title": find_column(where, names, False, title or "2", "title", flag)}, names)
    own = stated[f"{kind}_col"] if stated[f"{kind}_col"] in names else ""
    bare = [name.strip().lower() for name in names]
    if not own and "id" in bare and not has_usual_name(where, names, kind):
        own = names[bare.index("id")]
    place = find_column(where, names, True, own, kind, f"--{kind}_table")
    rest = tuple("" if each == place else name for each, name in enumerate(names))
    return Columns({"id": place, "title": find_column(where, rest, True, title, "title", flag)}, names)


def _read_table(source: Source, settings: DataSettings, choose):
    if tables.is_columnar(source, settings):
        return tables.read_columnar(source, choose)[0]
    found = dialect.detect_dialect(source, settings)
    if found.format == "jsonl":
        return tables.read_jsonl(source, choose)[0]
    return text_tables.read_text(source, settings, found, choose)[0]
