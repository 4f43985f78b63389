"""Text files of interactions -> pairs of raw ids, in vectorised passes over the bytes; every error names its line.

Two formats are read, plain or gzipped, with Windows or Unix line ends, with or without a byte-order mark:

* adjacency list: `user item item ...`, separated by spaces (the LightGCN papers' text files);
* pairs: `user item [weight] [timestamp] ...`, separated by tabs, commas or spaces, with an optional header, either
  plain column names or RecBole's typed ones (`user_id:token`). Columns after the ids are left unread.
"""

import dataclasses
import gzip
import os
import re
import zlib
from collections.abc import Sequence

import numpy as np

from lgcn_jax.data import ids as raw_ids
from lgcn_jax.data.events import Events
from lgcn_jax.errors import InputError

FORMATS = ("auto", "adjacency", "pairs")
MAX_ID = np.iinfo(np.int32).max
MOST_COLUMNS = 4  # of pairs without a header: user, item, weight, timestamp
_USER_NAMES = ("user", "user_id", "userid", "uid")
_ITEM_NAMES = ("item", "item_id", "itemid", "iid")


@dataclasses.dataclass(frozen=True)
class _Fields:
    """Every field of a text: `start` and `stop` byte offsets, `line` (from 0) and `column` (from 0), int64 each."""

    text: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    line: np.ndarray
    column: np.ndarray

    def __getitem__(self, keep) -> "_Fields":
        return _Fields(self.text, self.start[keep], self.stop[keep], self.line[keep], self.column[keep])

    def token(self, index: int) -> str:
        return self.text[self.start[index] : self.stop[index]].tobytes().decode("utf-8", "replace")


def read_all(paths: Sequence[str | os.PathLike], file_format: str = "auto") -> list[Events]:
    """Reads the files of one data set, all in the same format; for 'auto', the first file decides.

    A leave-one-out test file has each user once, and so could not be told from an adjacency list by itself.

    Raises:
      InputError: as for `read`; or for 'auto', a later file does not look like the first one.
    """
    first = _table(paths[0])
    decided = first.guess() if file_format == "auto" else file_format
    found = [first.pairs(decided)]
    for path in paths[1:]:
        later = _table(path)
        if file_format == "auto":
            _require_alike(first, later, decided)
        found.append(later.pairs(decided))
    return found


def read(path: str | os.PathLike, file_format: str = "auto") -> Events:
    """Reads one file of interactions.

    Args:
      path: the file; gzip is recognised by its content.
      file_format: 'adjacency', 'pairs', or 'auto': tabs, commas, a header or a number that is no integer mean
        pairs, and so do two to four space-separated columns on every line with a user on more than one line. More
        than four columns without a header are not taken for pairs: that would drop what an adjacency list holds.

    Raises:
      InputError: what stands in the file is not one of the formats; the message names file and line.
    """
    table = _table(path)
    return table.pairs(table.guess() if file_format == "auto" else file_format)


@dataclasses.dataclass(frozen=True)
class _Table:
    """A file cut into fields, without its header; `columns` are those (user, item) that the header names."""

    path: str | os.PathLike
    fields: _Fields
    columns: tuple[int, int] | None
    delimiter: bytes
    notes: dict[str, int]

    @property
    def width(self) -> int:
        """Columns of the first line."""
        return int(np.searchsorted(self.fields.line, self.fields.line[0], side="right"))

    def guess(self) -> str:
        """The format that the content seems to be in."""
        if self.columns:
            return "pairs"
        if self.delimiter == b" ":
            return "pairs" if _looks_like_pairs(self.fields) else "adjacency"
        if self.width > MOST_COLUMNS:
            where = f"{self.path}:{self.fields.line[0] + 1}"
            expected = f"pairs of 2 to {MOST_COLUMNS}, a header, or --format=pairs (or adjacency)"
            raise InputError(where, f"{self.width} columns", expected)
        return "pairs"

    def pairs(self, file_format: str) -> Events:
        """What the file holds when it is read in that format."""
        if file_format == "adjacency":
            return _adjacency(self.path, self.fields, self.notes)
        return _pairs(self.path, self.fields, self.columns or (0, 1), self.notes)


def _table(path) -> _Table:
    data, notes = _bytes(path)
    data, notes = _normalised(path, data, notes)
    delimiter = _delimiter(data)
    fields = _split(data, delimiter)
    if len(fields.start) == 0:
        raise InputError(path, "no interaction", "at least one line 'user item ...'")
    notes["empty lines"] = int(data.count(b"\n") + (not data.endswith(b"\n")) - len(np.unique(fields.line)))
    fields, columns = _header(path, fields)
    return _Table(path, fields, columns, delimiter, notes)


def _require_alike(first: _Table, later: _Table, decided: str) -> None:
    """Raises an InputError where the later file would be misread in the format `decided` on for the first one."""
    name = os.path.basename(first.path)
    if decided == "adjacency" and later.guess() == "pairs":
        expected = f"an adjacency list, as {name} seems to be, or --format=pairs (or adjacency)"
        raise InputError(later.path, "what looks like pairs", expected)
    headed = first.columns and later.columns  # a header says which of the columns are meant, however many there are
    if decided == "pairs" and not headed and later.width != first.width:
        expected = f"{first.width}, as in {name}, whose lines look like pairs, or --format=pairs (or adjacency)"
        raise InputError(f"{later.path}:{later.fields.line[0] + 1}", f"{later.width} column(s)", expected)


def _bytes(path) -> tuple[bytes, dict[str, int]]:
    try:
        with open(path, "rb") as file:
            data = file.read()
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data), {"gzip files": 1}
        return data, {}
    except FileNotFoundError:
        raise InputError(path, "no such file", "a file of interactions") from None
    except IsADirectoryError:
        raise InputError(path, "a directory", "a file of interactions") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(path, f"a truncated or damaged gzip file ({error})", "a whole gzip file") from None
    except OSError as error:
        raise InputError(path, f"a file that cannot be read ({error.strerror})", "a readable file") from None


def _normalised(path, data: bytes, notes: dict[str, int]) -> tuple[bytes, dict[str, int]]:
    """Drops a byte-order mark and carriage returns, counting both; refuses bytes that no text file holds."""
    if data.startswith(b"\xef\xbb\xbf"):
        data, notes = data[3:], notes | {"byte-order marks": 1}
    if windows := data.count(b"\r\n"):
        data, notes = data.replace(b"\r\n", b"\n"), notes | {"Windows line ends": windows}
    if junk := re.search(rb"[^\t\n\x20-\x7e\x80-\xff]", data):
        line = data.count(b"\n", 0, junk.start()) + 1
        raise InputError(f"{path}:{line}", f"the byte 0x{junk[0][0]:02x}", "text: 'user item ...'")
    if not data.strip():
        raise InputError(path, "an empty file", "at least one line 'user item ...'")
    return data, notes


def _delimiter(data: bytes) -> bytes:
    """The field separator: a tab or comma of the first line that is not empty, else runs of spaces."""
    first = data.lstrip(b" \n").partition(b"\n")[0]
    return b"\t" if b"\t" in first else b"," if b"," in first else b" "


def _split(data: bytes, delimiter: bytes) -> _Fields:
    """All fields of all lines that are not empty, stripped of spaces; between delimiters a field may be empty."""
    text = np.frombuffer(data if data.endswith(b"\n") else data + b"\n", np.uint8)
    ends = np.flatnonzero((text == delimiter[0]) | (text == ord("\n")))
    start, stop = np.concatenate([[0], ends[:-1] + 1]), ends
    if delimiter != b" " and b" " in data:
        start, stop = _stripped(text, start, stop)
    newlines = np.flatnonzero(text == ord("\n"))
    line = np.searchsorted(newlines, ends)  # the line break that ends the line itself counts as inside it
    filled = start < stop
    empty_line = np.bincount(line, weights=filled, minlength=len(newlines)) == 0
    keep = filled | ((delimiter != b" ") & ~empty_line[line])
    start, stop, line = start[keep], stop[keep], line[keep]
    opens_line = np.concatenate([[True], line[1:] != line[:-1]]) if len(line) else np.zeros(0, bool)
    first = np.flatnonzero(opens_line)
    column = np.arange(len(line)) - np.repeat(first, np.diff(np.append(first, len(line))))
    return _Fields(text, start, stop, line, column)


def _stripped(text: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the fields without the spaces around them; what ends a field is itself no space."""
    solid = np.flatnonzero(text != ord(" "))
    start = solid[np.searchsorted(solid, start)]
    before = solid[np.searchsorted(solid, stop) - 1]
    return start, np.where(start < stop, before + 1, stop)


def _header(path, fields: _Fields) -> tuple[_Fields, tuple[int, int] | None]:
    """The fields without the header line, and the columns (user, item) that it names; None where there is no header."""
    width = int(np.searchsorted(fields.line, fields.line[0], side="right"))
    names = [fields.token(i).partition(":")[0].strip().lower() for i in range(width)]
    users = [i for i, name in enumerate(names) if name in _USER_NAMES]
    items = [i for i, name in enumerate(names) if name in _ITEM_NAMES]
    if not users and not items:
        return fields, None
    if not users or not items:
        where = f"{path}:{fields.line[0] + 1}"
        raise InputError(where, f"a header of {names}", f"columns {_USER_NAMES[1]!r} and {_ITEM_NAMES[1]!r}")
    if len(fields.line) == width:
        raise InputError(path, "a header without an interaction", "at least one line 'user item ...'")
    return fields[slice(width, None)], (users[0], items[0])


def _looks_like_pairs(fields: _Fields) -> bool:
    """Whether space-separated lines are pairs: 2 to 4 columns on each, and a user repeated or a number with a point."""
    widths = np.bincount(fields.line)
    widths = widths[widths > 0]
    if not 2 <= widths[0] <= MOST_COLUMNS or (widths != widths[0]).any():
        return False
    later = fields[fields.column >= 2]
    if len(later.start) and not _integers(later)[1].all():
        return True
    users, valid = _integers(fields[fields.column == 0])
    return bool(valid.all() and len(np.unique(users)) < len(users))


def _adjacency(path, fields: _Fields, notes: dict[str, int]) -> Events:
    ids = _ids(path, fields)
    opens_line = fields.column == 0
    user = ids[opens_line][np.cumsum(opens_line) - 1]
    width = np.diff(np.append(np.flatnonzero(opens_line), len(ids)))
    listed = ids[opens_line][width == 1]
    users = raw_ids.of_integers(np.concatenate([user[~opens_line], listed]))
    users = users._replace(codes=users.codes[: len(users.codes) - len(listed)])
    notes = {"users listed without an item": len(listed)} | notes
    return Events(users, raw_ids.of_integers(ids[~opens_line]), notes=notes, format="adjacency")


def _pairs(path, fields: _Fields, columns: tuple[int, int], notes: dict[str, int]) -> Events:
    widths = np.bincount(fields.line)
    lines = np.flatnonzero(widths)
    needed = max(columns) + 1
    if (widths[lines] < needed).any():
        line = lines[np.argmax(widths[lines] < needed)]
        raise InputError(f"{path}:{line + 1}", f"{widths[line]} column(s)", f"at least {needed}: 'user item ...'")
    if (widths[lines] != widths[lines[0]]).any():
        line = lines[np.argmax(widths[lines] != widths[lines[0]])]
        expected = f"{widths[lines[0]]}, as on line {lines[0] + 1}"
        raise InputError(f"{path}:{line + 1}", f"{widths[line]} columns", expected)
    user, item = (fields[fields.column == column] for column in columns)
    return Events(*(raw_ids.of_integers(_ids(path, each)) for each in (user, item)), notes=notes)


def _integers(fields: _Fields) -> tuple[np.ndarray, np.ndarray]:
    """Value of every field as int64 and whether it is a plain non-negative integer of at most 18 digits."""
    length = fields.stop - fields.start
    valid = (length > 0) & (length <= 18)
    value = np.zeros(len(length), np.int64)
    for place in range(min(int(length.max(initial=0)), 18)):
        inside = place < length
        digit = fields.text[np.where(inside, fields.start + place, 0)] - np.uint8(ord("0"))  # wraps below '0'
        valid &= ~inside | (digit <= 9)
        value = np.where(inside, value * 10 + digit, value)
    return value, valid


def _ids(path, fields: _Fields) -> np.ndarray:
    """int32 ids of all fields, or an InputError that names the first field that is none."""
    value, valid = _integers(fields)
    wrong = np.flatnonzero(~valid | (value > MAX_ID))
    if len(wrong):
        token = fields.token(wrong[0])
        found = repr(token if len(token) <= 40 else token[:37] + "...") if token else "an empty field"
        raise InputError(f"{path}:{fields.line[wrong[0]] + 1}", found, f"an integer id from 0 to {MAX_ID}")
    return value.astype(np.int32)
