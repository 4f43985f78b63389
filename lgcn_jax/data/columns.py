"""Which column of a table holds what: by stated name or position, or by its usual names."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any

from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError

# Families of usual names, as `_normalize_name` gives them; of a family the first that a table has is taken.
USUAL_NAMES = {
    "user": (
        ("userid", "uid", "useridx", "userindex", "user", "username", "usr"),
        *(("customerid", "customer"), ("visitorid", "visitor"), ("memberid", "member"), ("clientid", "client")),
        *(("accountid", "account"), ("personid", "person"), ("readerid", "reader"), ("listenerid", "listener")),
        *(("reviewerid", "reviewer"), ("playerid", "player"), ("subscriberid", "subscriber")),
    ),
    "item": (
        ("itemid", "iid", "itemidx", "itemindex", "item"),
        ("productid", "asin", "parentasin", "sku", "stockcode", "productcode", "goodsid", "product"),
        *(("movieid", "filmid", "movie", "film"), ("artistid", "artist"), ("bookid", "isbn", "book")),
        *(("trackid", "songid", "track", "song"), ("articleid", "newsid", "article", "news"), ("videoid", "video")),
        *(("gameid", "appid", "game"), ("animeid", "anime"), ("recipeid", "recipe"), ("showid",), ("contentid",)),
        *(("businessid", "gmapid", "business"), ("venueid", "poiid", "locationid", "placeid", "venue", "poi")),
    ),
    "rating": (("rating", "ratings", "stars", "score", "overall", "rate"),),
    "time": (
        ("timestamp", "ts", "unixreviewtime", "ratingtimestamp", "eventtime", "datetime", "tstamp", "createdat"),
        ("created", "when", "reviewtime", "visittime", "purchasedate", "orderdate", "invoicedate"),
        *(("date",), ("time",)),
    ),
    "label": (("label", "isliked", "liked", "islike", "like", "clicked", "isclick", "click"),),
    "weight": (),
    "split": (("split", "part", "subset"),),
    "title": (
        ("title", "movietitle", "itemtitle", "producttitle", "booktitle", "name", "moviename", "itemname"),
        ("productname", "artistname", "trackname", "songname", "username", "description", "headline"),
        ("movie", "film", "item", "product", "artist", "book", "track", "song", "user", "customer"),
    ),
}
# Chooses columns: (the table for messages, names, whether they are its own) -> those that are read.
Chooser = Callable[[Any, tuple[str, ...], bool], "Columns"]
ROLES = ("user", "item", "rating", "time", "label", "weight", "split")


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns are read.

    Attributes:
      places: the place of each, from 0, by what it holds.
      names: of all columns.
      broken_lines: line breaks inside quoted fields.
    """

    places: dict[str, int]
    names: tuple[str, ...]
    broken_lines: int = 0

    @property
    def unused(self) -> tuple[str, ...]:
        """The names of the columns that are not read."""
        return tuple(name for place, name in enumerate(self.names) if place not in self.places.values())

    def describe(self) -> str:
        """Which columns were taken and which were not, in one line."""
        taken = ", ".join(f"{role} = {self.names[place]}" for role, place in self.places.items())
        line = f"columns {taken}" + (f"; not used: {', '.join(self.unused)}" if self.unused else "")
        return line + (f"; {self.broken_lines:,} line breaks inside quoted fields" if self.broken_lines else "")


def needed_roles(settings: DataSettings) -> tuple[str, ...]:
    """What has to be read besides users and items."""
    needed = {
        "rating": settings.min_rating is not None or settings.rating_col,
        "time": settings.split in ("temporal", "leave_last_out") or settings.time_col,
        "weight": settings.weight_col,
        "split": settings.split == "column",
    }
    return tuple(role for role, wanted in needed.items() if wanted)


def choose_columns(where, names: Sequence[str], has_header: bool, settings: DataSettings) -> Columns:
    """The columns that settings state, or that have usual names; without a header the first two.

    Args:
      where: the table, for messages.
      names: of its columns; `column 1`, ... where it has no header.
      has_header: whether the names are its own.
      settings: may state columns, by name or by position from 1.

    Raises:
      InputError: a stated column is not there, or one that is needed is not found.
    """
    stated = {role: getattr(settings, f"{role}_col") for role in ROLES}
    needed = ("user", "item", *needed_roles(settings))
    places = {
        role: _index_of_stated_column(where, names, has_header, f"--{role}_col", name)
        for role, name in stated.items()
        if name
    }
    for role in (*needed, "label"):
        if role in places:
            continue
        taken = {place for other, place in places.items() if other in ("user", "item")}
        found = (
            _index_by_usual_name(where, names, role, taken)
            if has_header
            else _index_without_header(role, places, len(names))
        )
        if found is not None:
            places[role] = found
        elif role in needed:
            raise _missing_column_error(where, names, role)
    _require_distinct(places, names)
    return Columns({role: places[role] for role in ROLES if role in places}, tuple(names))


def looks_like_header(cells: Sequence[str]) -> bool:
    """Whether the cells of a first line are names of columns: typed ones (`user_id:token`) or usual ones."""
    if all(re.fullmatch(r"[^:]+:(token|float|token_seq|float_seq)", cell) for cell in cells):
        return True
    folded = {_normalize_name(cell) for cell in cells}
    if folded <= {"id"}.union(*(name for families in USUAL_NAMES.values() for name in families)):
        return True
    return any(folded & {*family} for family in USUAL_NAMES["user"] + USUAL_NAMES["item"])


def find_column(where, names: Sequence[str], has_header: bool, stated_column: str, role: str, flag: str) -> int:
    """The place of one column: the stated one (a name, or a position from 1), or the first with a usual name.

    Raises:
      InputError: it is not there.
    """
    if stated_column:
        return _index_of_stated_column(where, names, has_header, flag, stated_column)
    found = _index_by_usual_name(where, names, role, set()) if has_header else None
    if found is None:
        raise InputError(flag, "nothing", f"one of the columns of {where}: {', '.join(names)}")
    return found


def _index_of_stated_column(where, names: Sequence[str], has_header: bool, flag: str, stated: str) -> int:
    """The place of a column by its name, as it stands, without a type, or in another case; or by its position."""
    bare = [_strip_type_suffix(name) for name in names]
    lower = [name.lower() for name in bare]
    for listed, wanted in ((list(names), stated), (bare, stated), (lower, stated.lower())) if has_header else ():
        if listed.count(wanted) > 1:
            raise InputError(flag, f"{listed.count(wanted)} columns called {stated!r}", f"1 to {len(names)}")
        if wanted in listed:
            return listed.index(wanted)
    if re.fullmatch(r"[0-9]+", stated) and 1 <= int(stated) <= len(names):
        return int(stated) - 1
    near = difflib.get_close_matches(stated, bare, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise InputError(flag, repr(stated), f"a column of {where}: {', '.join(bare)}, or 1 to {len(names)}{hint}")


def has_usual_name(where, names: Sequence[str], role: str) -> bool:
    """Whether a column has a usual name."""
    return _index_by_usual_name(where, names, role, set()) is not None


def _index_by_usual_name(where, names: Sequence[str], role: str, taken: set[int]) -> int | None:
    """The place of the column with a usual name; of families, that of the role's own name comes before the others.

    Raises:
      InputError: names of two other families are there, or the name twice.
    """
    folded = [_normalize_name(name) if place not in taken else "" for place, name in enumerate(names)]
    found = [next((name for name in family if name in folded), "") for family in USUAL_NAMES[role]]
    first, *others = filter(None, found) if any(found) else [None]
    if first is None:
        return None
    if folded.count(first) > 1 or (others and role != "title" and not (found[0] and role in ("user", "item"))):
        both = " and ".join(names[folded.index(name)] for name in (first, *others[:1])) if others else f"{first}, twice"
        raise InputError(f"--{role}_col", f"{both} in {where}", "one of them, by name or by position from 1")
    return folded.index(first)


def _index_without_header(role: str, places: dict[str, int], width: int) -> int | None:
    """Of a table without a header: users in the first column, items in the second, as far as they are free."""
    if role not in ("user", "item"):
        return None
    free = [place for place in range(min(width, 2)) if place not in places.values()]
    return (free[0] if role == "user" else free[-1]) if free else None


def _missing_column_error(where, names: Sequence[str], role: str) -> InputError:
    stated = "by name or position" if not names or not names[0].startswith("column ") else "by position"
    expected = f"the column of the {role} of {where}, {stated}: {', '.join(map(_strip_type_suffix, names))}"
    return InputError(f"--{role}_col", "nothing, and no column with a usual name", expected)


def _require_distinct(places: dict[str, int], names: Sequence[str]) -> None:
    whose = {"user": "users", "item": "items"}
    for role, place in places.items():
        for other, what in whose.items():
            if other != role and places[other] == place:
                raise InputError(f"--{role}_col", f"{names[place]}, which holds the {what}", "another column")


def _strip_type_suffix(name: str) -> str:
    """A name without RecBole's type."""
    return re.sub(r":(token|float|token_seq|float_seq)$", "", name.strip())


def _normalize_name(name: str) -> str:
    """A name as `USUAL_NAMES` has it: lower case, letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", _strip_type_suffix(name).lower())
