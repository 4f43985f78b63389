"""Lists of items, a line for each user -> events, in vectorised passes over the bytes; every error names its line.

Two formats: `user item item ...` (the LightGCN papers' text files), and `count item item ...`, where users are the
lines, from 0 (citeulike's). Numbers are separated by spaces or tabs.
"""

import dataclasses

import numpy as np

from lgcn_jax.data import ids
from lgcn_jax.data.events import Events
from lgcn_jax.data.source import Source
from lgcn_jax.errors import InputError

MAX_ID = np.iinfo(np.int32).max


@dataclasses.dataclass(frozen=True)
class _Fields:
    """Every field of a text: `start` and `stop` byte offsets, `line` (from 0) and `column` (from 0), int64 each."""

    text: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    line: np.ndarray
    column: np.ndarray

    def token(self, index: int) -> str:
        return self.text[self.start[index] : self.stop[index]].tobytes().decode("utf-8", "replace")


def read_lists(
    source: Source,
    has_counts: bool = False,
    encoding: str = "utf-8",
    skipped_lines: int = 0,
    separated_by_commas: bool = False,
) -> Events:
    """The events of a file of lists.

    Args:
      source: the file.
      has_counts: whether each line opens with its number of items in place of a user.
      encoding: of the file.
      skipped_lines: lines before the first list.
      separated_by_commas: whether commas separate numbers, too.

    Raises:
      InputError: something is no integer from 0 to 2147483647, or a count is another one than that of the items.
    """
    data, notes = _read_as_utf8(source, encoding, skipped_lines)
    fields = _split_fields(data.replace(b",", b" ") if separated_by_commas else data)
    if len(fields.start) == 0:
        raise InputError(source.path, "no interaction", "at least one line 'user item ...'")
    notes["empty lines"] = (
        int(data.count(b"\n") + (not data.endswith(b"\n")) - len(np.unique(fields.line))) - skipped_lines
    )
    numbers = _parse_numbers(source.path, fields)
    opens_line = fields.column == 0
    width = np.diff(np.append(np.flatnonzero(opens_line), len(numbers)))
    users = _users_of_counted_lines(source.path, fields, numbers, width) if has_counts else numbers[opens_line]
    listed = users[width == 1]
    coded = ids.integer_id_column(np.concatenate([np.repeat(users, width - 1), listed]))
    coded = coded._replace(codes=coded.codes[: len(coded.codes) - len(listed)])
    notes["users listed without an item"] = len(listed)
    return Events(
        coded, ids.integer_id_column(numbers[~opens_line]), notes=notes, format="counts" if has_counts else "adjacency"
    )


def _users_of_counted_lines(path, fields: _Fields, numbers: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The numbers of the lines, as users, once the counts that open them are found right."""
    stated = numbers[fields.column == 0]
    if (wrong := np.flatnonzero(stated != width - 1)).size:
        line = fields.line[fields.column == 0][wrong[0]] + 1
        raise InputError(f"{path}:{line}", f"{width[wrong[0]] - 1} items", f"{stated[wrong[0]]}, as the line says")
    return np.arange(len(width))


def _read_as_utf8(source: Source, encoding: str, skipped: int) -> tuple[bytes, dict[str, int]]:
    """The bytes as UTF-8, without a byte-order mark, carriage returns, and what stands before the lists."""
    with source.open() as file:
        data = file.read()
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "ascii"):
        data = source.decoded(data, encoding).encode()
    notes = {"gzip files": 1} if source.is_compressed() else {}
    if data.startswith(b"\xef\xbb\xbf"):
        data, notes = data[3:], notes | {"byte-order marks": 1}
    if windows := data.count(b"\r\n"):
        data, notes = data.replace(b"\r\n", b"\n"), notes | {"Windows line ends": windows}
    if skipped:  # emptied, so that the numbers of lines stay
        data = b"\n" * skipped + data.split(b"\n", skipped)[skipped]
    return data, notes


def _split_fields(data: bytes) -> _Fields:
    """All fields of all lines that are not empty."""
    text = np.frombuffer(data if data.endswith(b"\n") else data + b"\n", np.uint8)
    ends = np.flatnonzero((text == ord(" ")) | (text == ord("\t")) | (text == ord("\n")))
    start, stop = np.concatenate([[0], ends[:-1] + 1]), ends
    newlines = np.flatnonzero(text == ord("\n"))
    line = np.searchsorted(newlines, ends)  # the line break that ends the line itself counts as inside it
    keep = start < stop
    start, stop, line = start[keep], stop[keep], line[keep]
    opens_line = np.concatenate([[True], line[1:] != line[:-1]]) if len(line) else np.zeros(0, bool)
    first = np.flatnonzero(opens_line)
    column = np.arange(len(line)) - np.repeat(first, np.diff(np.append(first, len(line))))
    return _Fields(text, start, stop, line, column)


def _parse_numbers(path, fields: _Fields) -> np.ndarray:
    """int32 values of all fields, or an InputError that names the first field that is none."""
    value, valid = _parse_integers(fields)
    wrong = np.flatnonzero(~valid | (value > MAX_ID))
    if len(wrong):
        token = fields.token(wrong[0])
        found = repr(token if len(token) <= 40 else token[:37] + "...")
        raise InputError(f"{path}:{fields.line[wrong[0]] + 1}", found, f"an integer id from 0 to {MAX_ID}")
    return value.astype(np.int32)


def _parse_integers(fields: _Fields) -> tuple[np.ndarray, np.ndarray]:
    """Value of every field as int64 and whether it is a plain non-negative integer of at most 18 digits."""
    length = fields.stop - fields.start
    valid = length <= 18
    value = np.zeros(len(length), np.int64)
    for place in range(min(int(length.max(initial=0)), 18)):
        inside = place < length
        digit = fields.text[np.where(inside, fields.start + place, 0)] - np.uint8(ord("0"))  # wraps below '0'
        valid &= ~inside | (digit <= 9)
        value = np.where(inside, value * 10 + digit, value)
    return value, valid
