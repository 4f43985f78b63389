"""Files on disk -> the events of each part: one table, several, or a folder with a file for each part."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.data import adjacency, conversion, dialect, events, ids, tables, text_tables
from lgcn_jax.data.columns import ROLES
from lgcn_jax.data.events import PART_NAMES, Events
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.data.source import Source
from lgcn_jax.errors import InputError

# Names of a part's file, as `train.txt`, `shop.train.inter` or `test.csv.gz`; the first group is the part.
_NAME = re.compile(r"(?:.*[._-])?(" + "|".join(PART_NAMES) + r")(?:\.[A-Za-z0-9]+){0,2}", re.IGNORECASE)


def read_file(path: str | os.PathLike, settings: DataSettings, progress: bool = False) -> Events:
    """The events of one file.

    Raises:
      InputError: it cannot be read as `settings` say, or in more than one way; the message names file and line.
    """
    source = Source(path, progress)
    if tables.is_columnar(source, settings):
        return _events_of_table(*tables.read_columnar(source, tables.chooser_of(settings)), source, settings)
    found = dialect.detect_dialect(source, settings)
    if found.format in ("adjacency", "counts"):
        require_no_columns(source.path, settings)
        how = found.format == "counts", settings.encoding, found.skipped, found.delimiter == ","
        made = adjacency.read_lists(source, *how)
        return _with_remarks(made, *found.remarks)
    if found.format == "jsonl":
        return _events_of_table(*tables.read_jsonl(source, tables.chooser_of(settings)), source, settings)
    table, columns = text_tables.read_text(source, settings, found, tables.chooser_of(settings))
    return _with_remarks(_events_of_table(table, columns, source, settings), *found.remarks)


def events_from_frame(frame: Any, where: str, settings: DataSettings) -> Events:
    """The events of a frame of pandas, polars or Arrow.

    Raises:
      InputError: a column is not there, or holds something else than its name says.
    """
    table, columns = tables.read_frame(frame, where, tables.chooser_of(settings))
    return _events(table, columns, where, settings)


def read_files(paths: Sequence[Path], settings: DataSettings, progress: bool = False) -> Events:
    """The events of several files, one after the other."""
    found = [read_file(path, settings, progress) for path in paths]
    for path, part in zip(paths, found, strict=True):
        if set(part.values) != set(found[0].values):
            columns = [" and ".join(sorted(each.values)) or "neither" for each in (part, found[0])]
            raise InputError(path, f"{columns[0]} beside users and items", f"{columns[1]}, as in {Path(paths[0]).name}")
        if part.times_are_dates != found[0].times_are_dates:
            kinds = ["dates" if each.times_are_dates else "numbers" for each in (part, found[0])]
            raise InputError(path, f"times that are {kinds[0]}", f"{kinds[1]}, as in {Path(paths[0]).name}")
    return join_events(found)


def join_events(sources: Sequence[Events]) -> Events:
    """The events of several sources, one after the other."""
    if len(sources) == 1:
        return sources[0]
    user_ids, users = ids.unify_ids([part.users for part in sources])
    item_ids, items = ids.unify_ids([part.items for part in sources])
    columns = (ids.IdColumn(user_ids, np.concatenate(users)), ids.IdColumn(item_ids, np.concatenate(items)))
    return events.concatenate_events(*columns, list(sources))


def read_parts(paths: dict[str, Path], settings: DataSettings, progress: bool = False) -> dict[str, Events]:
    """The events of the parts of one data set, all read in the same way; for 'auto', the first file decides.

    A leave-one-out test file has each user once, and so could not be told from lists of items by itself.

    Raises:
      InputError: as for `read_file`; or a later file does not look like the first one.
    """
    first, *others = paths.values()
    settings = _settle_format(first, others, settings)
    found = {}
    for part, path in paths.items():
        alike = settings if path == first else _settings_like_first(first, path, settings)
        found[part] = read_file(path, alike, progress)
    return found


def _settle_format(first: Path, others: list[Path], settings: DataSettings) -> DataSettings:
    """The settings, with the format that a later part has for certain, where the first one could be two."""
    if tables.is_columnar(Source(first), settings):
        return settings
    try:
        dialect.detect_dialect(Source(first), settings)
    except InputError:
        for path in others:
            with contextlib.suppress(InputError):
                if dialect.detect_dialect(Source(path), settings).format == "adjacency":
                    return dataclasses.replace(settings, format="adjacency")
    return settings


def _settings_like_first(first: Path, later: Path, settings: DataSettings) -> DataSettings:
    """The settings by which a later part is read as the first one was."""
    if any(tables.is_columnar(Source(path), settings) for path in (first, later)):
        return settings
    before = dialect.detect_dialect(Source(first), settings)
    decided = dataclasses.replace(settings, format=before.format)
    if before.format in ("adjacency", "counts"):
        _require_lists(later, first, settings)
        return decided
    after = dialect.detect_dialect(Source(later), decided)
    if before.has_header != after.has_header:
        found = "the names of columns" if after.has_header else "a table without the names of columns"
        raise InputError(later, found, f"one {'without' if after.has_header else 'with'} them, as {first.name}")
    if settings.format == "auto" and not before.has_header and len(before.names) != len(after.names):
        expected = f"{len(before.names)}, as in {first.name}, or --format=pairs (or adjacency)"
        raise InputError(later, f"{len(after.names)} column(s)", expected)
    return decided


def _require_lists(later: Path, first: Path, settings: DataSettings) -> None:
    """Raises an InputError where a file that should hold lists of items is a table for certain."""
    try:
        after = dialect.detect_dialect(Source(later), settings)
    except InputError:
        return  # not to be told by itself
    if after.format not in ("adjacency", "counts") and (after.has_header or len(after.names) > 2):
        expected = f"lists of items, as {first.name} seems to hold, or --format=pairs (or adjacency)"
        raise InputError(later, "what looks like a table", expected)


def find_part_files(folder: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The file of each part of a folder, train first, and the names of the files that are none.

    Raises:
      InputError: two files are of one part, or there is no train part, or it is the only one.
    """
    names = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    found: dict[str, Path] = {}
    for path in names:
        if not (named := _NAME.fullmatch(path.name)) or path.is_dir():
            continue
        part = PART_NAMES[named[1].lower()]
        if part in found:
            raise InputError(folder, f"{found[part].name} and {path.name}", f"one file of the {part} part")
        found[part] = path
    if "train" not in found or len(found) == 1:
        listed = ", ".join(path.name for path in names[:5]) or "nothing"
        raise InputError(folder, listed, "files called train.* and test.* (and valid.*), or the path of one table")
    unused = tuple(path.name for path in names if path not in found.values())
    return {part: found[part] for part in ("train", "test", "valid") if part in found}, unused


def _events_of_table(table, columns, source: Source, settings: DataSettings) -> Events:
    if not table.num_rows:
        raise InputError(source.path, "a table without a row", "at least one event")
    return _events(table, columns, source.path, settings)


def _events(table, columns, where, settings: DataSettings) -> Events:
    """The events of a table, and which of its columns they are made of: no label of words that nobody has stated."""
    if "label" in columns.places and not settings.label_col and not conversion.is_label(table["label"]):
        table = table.drop_columns(["label"])
        rest = {role: place for role, place in columns.places.items() if role != "label"}
        columns = dataclasses.replace(columns, places=rest)
    return _with_remarks(conversion.table_to_events(table, where, settings), columns.describe())


def _with_remarks(found: Events, *remarks: str) -> Events:
    return dataclasses.replace(found, remarks=(*remarks, *found.remarks))


def require_no_columns(what: str, settings: DataSettings) -> None:
    """Raises an InputError where a column is stated of what has none."""
    for name in (*(f"{role}_col" for role in ROLES), "min_rating"):
        if getattr(settings, name) not in ("", None):
            found = f"{getattr(settings, name)!r}, but {what} has no columns with names"
            raise InputError(f"--{name}", found, "nothing, or a table (--format=pairs)")
