"""What a file of text is: its format, what separates its columns, and whether it opens with their names."""

import collections
import csv
import dataclasses
import re

from lgcn_jax.data import columns
from lgcn_jax.data.settings import DELIMITERS, DataSettings
from lgcn_jax.data.source import Source
from lgcn_jax.errors import InputError

_MOST_COLUMNS = 4  # of events without a header: user, item, rating, time


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a text file is read.

    Attributes:
      format: 'adjacency', 'counts', 'pairs' or 'jsonl'.
      delimiter: of a table: one character, '::', or ' ' for runs of spaces and tabs.
      quoted: whether fields may be quoted.
      has_header: whether the first line that is no comment names the columns.
      names: of the columns; `column 1`, ... without a header.
      skipped: lines before the table: comments and empty ones.
      comments: those of them that are not empty.
      decimal: '.' or ','.
      remarks: what should be said about the choice.
    """

    format: str
    delimiter: str = " "
    quoted: bool = False
    has_header: bool = False
    names: tuple[str, ...] = ()
    skipped: int = 0
    comments: int = 0
    decimal: str = "."
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Sample:
    """The first lines of a file that are neither empty nor comments before the table, with their numbers, from 1."""

    path: str
    lines: list[str]
    numbers: list[int]


def detect_dialect(source: Source, settings: DataSettings) -> Dialect:
    """The dialect of a text file, from its first lines and what the settings state.

    Raises:
      InputError: it holds nothing, is no text, or could be read in two ways.
    """
    sample, skipped, comments = _read_sample(source, settings)
    found = dataclasses.replace(_choose_dialect(sample, settings), skipped=skipped, comments=comments)
    if not comments:
        return found
    remark = f"{comments} lines before the events that open with # or % are taken for comments"
    return dataclasses.replace(found, remarks=(remark, *found.remarks))


def _choose_dialect(sample: _Sample, settings: DataSettings) -> Dialect:
    if re.match(r"\s*\[\s*(\{|$)", sample.lines[0]):
        raise InputError(f"{sample.path}:{sample.numbers[0]}", "a JSON array", "a JSON object on each line (jsonl)")
    if settings.format == "jsonl" or (settings.format == "auto" and sample.lines[0].lstrip().startswith("{")):
        return Dialect("jsonl")
    delimiter = DELIMITERS.get(settings.delimiter, settings.delimiter) or _guess_delimiter(sample.lines[0])
    if settings.format in ("adjacency", "counts"):
        return Dialect(settings.format, delimiter)
    table = _guess_table(sample, settings, delimiter)
    if settings.format == "pairs" or table.has_header or delimiter not in (" ", "\t"):
        return table
    return _guess_number_lists(sample, table)


def _read_sample(source: Source, settings: DataSettings) -> tuple[_Sample, int, int]:
    """The first lines, and how many lines and comments stand before the table."""
    text = source.sample(settings.encoding)
    if "\r" in text and "\n" not in text:
        raise InputError(
            source.path, "lines that end in carriage returns alone", "line feeds, as Unix and Windows have"
        )
    lines = text.replace("\r\n", "\n").split("\n")
    _require_text(source, lines)
    skipped = next((n for n, line in enumerate(lines) if line.strip() and not _is_comment(line)), len(lines))
    filled = [n for n, line in enumerate(lines) if n >= skipped and line.strip()]
    if not filled:
        found = "no interaction" if text.strip() else "an empty file"
        raise InputError(source.path, found, "at least one line 'user item ...'")
    return (
        _Sample(source.path, [lines[n] for n in filled], [n + 1 for n in filled]),
        skipped,
        sum(map(_is_comment, lines[:skipped])),
    )


def _require_text(source: Source, lines: list[str]) -> None:
    for number, line in enumerate(lines, 1):
        if junk := re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line):
            raise InputError(f"{source.path}:{number}", f"the byte 0x{ord(junk[0]):02x}", "text: 'user item ...'")


def _is_comment(line: str) -> bool:
    """Whether a line before the table is no part of it, as in the files of network collections."""
    return line.lstrip().startswith(("#", "%"))


def _guess_delimiter(first: str) -> str:
    """What separates columns: a tab, '::', ';', '|' or ',' of the first line, else spaces.

    Of comma and semicolon the one that is there more often: a decimal comma stands beside semicolons.
    """
    bare = re.sub(r'"[^"]*"', "", first)
    for delimiter in ("\t", "::"):
        if delimiter in bare:
            return delimiter
    counts = {delimiter: bare.count(delimiter) for delimiter in (";", "|", ",")}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    return best if counts[best] else " "


def split_fields(line: str, delimiter: str, quoted: bool) -> list[str]:
    """The cells of one line, without spaces around them."""
    if delimiter == " ":
        return line.split()
    if len(delimiter) > 1 or not quoted:
        return [cell.strip() for cell in line.split(delimiter)]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]


def _guess_table(sample: _Sample, settings: DataSettings, delimiter: str) -> Dialect:
    quoted = delimiter in (",", ";", "|") or (delimiter == "\t" and _has_quotes(sample.lines))
    rows = [split_fields(line, delimiter, quoted) for line in sample.lines[:1000]]
    headed = _has_header(sample, settings, rows)
    names = tuple(rows[0]) if headed else tuple(f"column {n}" for n in range(1, len(rows[0]) + 1))
    body = rows[1:] if headed else rows
    commas = _any_cell_matches(body, r"-?\d+,\d+") and not _any_cell_matches(body, r"-?\d+\.\d+")
    thousands = not _any_cell_matches(body, r"-?\d+,(\d{1,2}|\d{4,})")  # all of three digits: 1,024 may be an integer
    decimal = "," if commas and not thousands else "."
    return Dialect("pairs", delimiter, quoted, headed, names, decimal=decimal)


def _has_quotes(lines: list[str]) -> bool:
    """Whether quotes enclose cells between tabs, where they may also be inches: no cell has one that is not closed."""
    cells = [cell for line in lines for cell in line.split("\t") if cell.startswith('"')]
    return bool(cells) and all(len(cell) > 1 and cell.endswith('"') for cell in cells)


def _any_cell_matches(rows: list[list[str]], pattern: str) -> bool:
    return any(re.fullmatch(pattern, cell) for row in rows for cell in row)


def _has_header(sample: _Sample, settings: DataSettings, rows: list[list[str]]) -> bool:
    """Whether the first row names the columns.

    Raises:
      InputError: that cannot be told.
    """
    if settings.header != "auto":
        return settings.header == "yes"
    first, rest = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    stated = {getattr(settings, f"{role}_col") for role in columns.ROLES}
    if columns.looks_like_header(first) or set(first) & {name for name in stated if name and not name.isdigit()}:
        return True
    if any(map(_is_number, first)) or not rest:
        return False
    if any(all(_is_number(row[place]) for row in rest) for place in range(len(first))):
        return True  # a text above numbers
    digits = [sum(any(map(str.isdigit, cell)) for cell in row[:2]) for row in rest]
    if not any(map(str.isdigit, "".join(first[:2]))):
        if sum(digits) >= len(rest):
            return True  # words above ids with digits
        readings = f"the names of columns, or events of user {first[0]!r}"
        raise InputError(f"{sample.path}:{sample.numbers[0]}", readings, "--header=yes or --header=no")
    return False


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[-+]?\d+([.,]\d*)?([eE][-+]?\d+)?", cell) is not None


def _guess_number_lists(sample: _Sample, table: Dialect) -> Dialect:
    """The format of lines without a header, which may be lists of items.

    Raises:
      InputError: two formats are possible; the message has both readings, and the flag that decides.
    """
    rows = [line.split() for line in sample.lines]
    if not all(cell.isascii() and cell.isdigit() for row in rows for cell in row):
        return table
    widths = collections.Counter(map(len, rows))
    (usual, count), users = widths.most_common(1)[0], len({row[0] for row in rows})
    if len(rows) > 1 and usual > 1 and all(int(row[0]) == len(row) - 1 for row in rows):
        return _guess_counted_lists(sample, rows, table)
    tabs = table.delimiter == "\t"
    if len(widths) == 1 and (usual == 2 or users < len(rows) or (tabs and usual <= _MOST_COLUMNS)):
        return table
    if len(widths) == 1 and usual > 1:
        raise _ambiguous_error(sample, rows)
    if tabs or (users < len(rows) and usual > 1 and count >= 0.8 * len(rows)):  # lists have each user on one line
        place = next(place for place, row in enumerate(rows) if len(row) != usual)
        expected = f"{usual}, as on {count} of the first {len(rows)} lines, or --format=adjacency"
        raise InputError(f"{sample.path}:{sample.numbers[place]}", f"{len(rows[place])} columns", expected)
    return dataclasses.replace(table, format="adjacency")


def _guess_counted_lists(sample: _Sample, rows: list[list[str]], table: Dialect) -> Dialect:
    """Lists that open with their length: certain where widths differ and two lines open with the same number."""
    users = len({row[0] for row in rows})
    if users == len(rows) or users == 1:
        counts = f"--format=counts: {len(rows)} users, one a line, each with its number of items first"
        lists = f"--format=adjacency or pairs: users {', '.join(row[0] for row in rows[:3])}..."
        raise InputError(sample.path, "lines whose first number is that of the items after it", f"{counts}; or {lists}")
    remark = "each line opens with its number of items (--format=counts): users are the lines, from 0"
    return dataclasses.replace(table, format="counts", remarks=(remark,))


def _ambiguous_error(sample: _Sample, rows: list[list[str]]) -> InputError:
    width, items = len(rows[0]), len({cell for row in rows for cell in row[1:]})
    table = f"--format=pairs: a table of {len(rows)} events of {len({row[0] for row in rows})} users"
    lists = f"--format=adjacency: lists of {len(rows)} users with {width - 1} of {items} items each"
    return InputError(sample.path, f"{width} numbers on each line, and each user on one", f"{table}; or {lists}")
