"""Which column of a table holds what: by stated name or position, or by its usual names."""

import dataclasses
import difflib
import re
from collections.abc import Sequence

from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError

# As they stand in `_folded` names; the first that a table has is taken.
USUAL_NAMES = {
    "user": (
        *("user", "userid", "uid", "customer", "customerid", "visitor", "visitorid", "member", "memberid"),
        *("client", "clientid", "account", "accountid", "person", "personid", "reader", "readerid", "listenerid"),
        *("reviewerid", "player", "playerid", "subscriberid", "username", "useridx", "userindex", "usr", "authorid"),
    ),
    "item": (
        *("item", "itemid", "iid", "product", "productid", "movie", "movieid", "artist", "artistid", "book", "bookid"),
        *("track", "trackid", "song", "songid", "article", "articleid", "news", "newsid", "video", "videoid", "game"),
        *("gameid", "anime", "animeid", "recipe", "recipeid", "business", "businessid", "gmapid", "venue", "venueid"),
        *("location", "locationid", "poi", "poiid", "place", "placeid", "asin", "parentasin", "isbn", "sku"),
        *("stockcode", "productcode", "itemidx", "itemindex", "contentid", "goodsid", "filmid", "showid", "appid"),
    ),
    "rating": ("rating", "ratings", "stars", "score", "overall", "rate"),
    "time": (
        *("timestamp", "time", "datetime", "date", "ts", "unixreviewtime", "ratingtimestamp", "eventtime", "createdat"),
        *("created", "when", "reviewtime", "visittime", "purchasedate", "orderdate", "invoicedate", "tstamp"),
    ),
    "label": ("label", "isliked", "liked", "islike", "like", "clicked", "isclick", "click"),
    "weight": (),
    "split": ("split", "part", "subset"),
    "title": (
        *("title", "name", "movietitle", "moviename", "itemtitle", "itemname", "producttitle", "productname"),
        *("artistname", "trackname", "songname", "booktitle", "description", "headline", "username"),
    ),
}
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

    def told(self) -> str:
        """Which columns were taken and which were not, in one line."""
        taken = ", ".join(f"{role} = {self.names[place]}" for role, place in self.places.items())
        told = f"columns {taken}" + (f"; not used: {', '.join(self.unused)}" if self.unused else "")
        return told + (f"; {self.broken_lines:,} line breaks inside quoted fields" if self.broken_lines else "")


def needed_roles(settings: DataSettings) -> tuple[str, ...]:
    """What has to be read besides users and items."""
    needed = {
        "rating": settings.min_rating is not None or settings.rating_col,
        "time": settings.split in ("temporal", "leave_last_out") or settings.time_col,
        "weight": settings.weight_col,
        "split": settings.split == "column",
    }
    return tuple(role for role, wanted in needed.items() if wanted)


def choose(where, names: Sequence[str], headed: bool, settings: DataSettings) -> Columns:
    """The columns that settings state, or that have usual names; without a header the first two.

    Args:
      where: the table, for messages.
      names: of its columns; `column 1`, ... where it has no header.
      headed: whether the names are its own.
      settings: may state columns, by name or by position from 1.

    Raises:
      InputError: a stated column is not there, or one that is needed is not found.
    """
    stated = {role: getattr(settings, f"{role}_col") for role in ROLES}
    needed = ("user", "item", *needed_roles(settings))
    places = {role: _stated_place(where, names, f"--{role}_col", name) for role, name in stated.items() if name}
    for role in (*needed, "label"):
        if role in places:
            continue
        taken = {place for other, place in places.items() if other in ("user", "item")}
        found = _usual_place(names, role, taken) if headed else _first_free(role, places, len(names))
        if found is not None:
            places[role] = found
        elif role in needed:
            raise _missing(where, names, role)
    _require_distinct(places, names)
    return Columns({role: places[role] for role in ROLES if role in places}, tuple(names))


def looks_headed(cells: Sequence[str]) -> bool:
    """Whether the cells of a first line are names of columns: typed ones (`user_id:token`) or usual ones."""
    if all(re.fullmatch(r"[^:]+:(token|float|token_seq|float_seq)", cell) for cell in cells):
        return True
    folded = {_folded(cell) for cell in cells}
    return bool(folded & {*USUAL_NAMES["user"], *USUAL_NAMES["item"], "userid", "itemid"})


def find(where, names: Sequence[str], stated: str, role: str, flag: str) -> int:
    """The place of one column: the stated one, or the first with a usual name.

    Raises:
      InputError: it is not there.
    """
    if stated:
        return _stated_place(where, names, flag, stated)
    found = _usual_place(names, role, set())
    if found is None:
        raise InputError(flag, "nothing", f"one of the columns of {where}: {', '.join(names)}")
    return found


def _stated_place(where, names: Sequence[str], flag: str, stated: str) -> int:
    bare = [_bare(name) for name in names]
    for listed in (list(names), bare, [name.lower() for name in bare]):
        wanted = stated.lower() if listed and listed[0] == bare[0].lower() else stated
        if listed.count(wanted) == 1:
            return listed.index(wanted)
    if re.fullmatch(r"[0-9]+", stated) and 1 <= int(stated) <= len(names):
        return int(stated) - 1
    near = difflib.get_close_matches(stated, bare, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise InputError(flag, repr(stated), f"a column of {where}: {', '.join(bare)}, or 1 to {len(names)}{hint}")


def _usual_place(names: Sequence[str], role: str, taken: set[int]) -> int | None:
    folded = [_folded(name) for name in names]
    for usual in USUAL_NAMES[role]:
        if usual in folded and folded.index(usual) not in taken:
            return folded.index(usual)
    return None


def _first_free(role: str, places: dict[str, int], width: int) -> int | None:
    """Of a table without a header: users in the first column, items in the second, as far as they are free."""
    if role not in ("user", "item"):
        return None
    free = [place for place in range(min(width, 2)) if place not in places.values()]
    return (free[0] if role == "user" else free[-1]) if free else None


def _missing(where, names: Sequence[str], role: str) -> InputError:
    stated = "by name or position" if not names or not names[0].startswith("column ") else "by position"
    expected = f"the column of the {role} of {where}, {stated}: {', '.join(map(_bare, names))}"
    return InputError(f"--{role}_col", "nothing, and no column with a usual name", expected)


def _require_distinct(places: dict[str, int], names: Sequence[str]) -> None:
    if places["user"] == places["item"]:
        raise InputError("--item_col", f"{names[places['item']]}, which holds the users", "another column")


def _bare(name: str) -> str:
    """A name without RecBole's type."""
    return re.sub(r":(token|float|token_seq|float_seq)$", "", name.strip())


def _folded(name: str) -> str:
    """A name as `USUAL_NAMES` has it: lower case, letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", _bare(name).lower())
