"""Tables of text -> Arrow tables of the columns that are needed, parsed in blocks by pyarrow.

Ids are read as text, so that they stay as they are written.
"""

import codecs
import dataclasses
import io
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from lgcn_jax.data import dialect
from lgcn_jax.data.columns import Chooser, Columns
from lgcn_jax.data.dialect import Dialect
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.data.source import Source
from lgcn_jax.errors import InputError

_BLOCK = 1 << 22
_TEXT = pa.dictionary(pa.int32(), pa.string())
# What is read as it is written, and what as numbers; times and labels are told from the first block.
_KINDS = dict.fromkeys(("user", "item", "split", "id", "title"), _TEXT) | dict.fromkeys(
    ("rating", "weight"), pa.float64()
)
_FALLBACK = dict.fromkeys(("time", "label"), _TEXT)  # where a later block looks different


def read_text(source: Source, settings: DataSettings, found: Dialect, chooser: Chooser) -> tuple[pa.Table, Columns]:
    """The needed columns of a table of text, ids and titles as dictionaries of text, the others as Arrow infers them.

    Raises:
      InputError: a line has more or fewer columns than the first, or is no text; the message names file and line.
    """
    columns = chooser(source.path, found.names, found.has_header)
    reader = _TextReader(source, settings, found)
    table = reader.read(columns.places)
    if reader.broken_lines:
        columns = dataclasses.replace(columns, broken_lines=reader.broken_lines)
    return table, columns


class _TextReader:
    """One pass over a table of text, and what is said where it fails."""

    def __init__(self, source: Source, settings: DataSettings, found: Dialect):
        self._source, self._settings, self._found = source, settings, found
        self._broken: Any = None
        self._skipped_lines = 0
        self.broken_lines = 0

    def read(self, places: dict[str, int], kinds_of: dict[str, pa.DataType] = _KINDS) -> pa.Table:
        self._skipped_lines = self._found.comments
        names = [f"{place}" for place in range(len(self._found.names))]
        kinds = {str(place): kinds_of[role] for role, place in reversed(places.items()) if role in kinds_of}
        read = pyarrow.csv.ReadOptions(
            column_names=names,
            skip_rows=self._found.skipped + self._found.has_header,
            block_size=_BLOCK,
        )
        convert = pyarrow.csv.ConvertOptions(
            include_columns=list(dict.fromkeys(map(str, places.values()))),
            column_types=kinds,
            strings_can_be_null=True,
            null_values=["", " "],
            decimal_point=self._found.decimal,
        )
        lines = _LineCounter()
        try:
            with self._source.open(progress=True) as file:
                text = _decode_to_utf8(file, self._settings.encoding)
                stream = _replace_delimiter(lines.watch(text) if self._found.quoted else text, self._found.delimiter)
                table = pyarrow.csv.open_csv(stream, read, self._parse_options(), convert).read_all()
        except pa.ArrowInvalid as error:
            inferred = _FALLBACK.keys() & places.keys()
            if "conversion error" in str(error) and inferred and kinds_of is _KINDS and self._broken is None:
                return self.read(places, _KINDS | _FALLBACK)
            raise self._error_with_line(str(error), names) from None
        except UnicodeError:
            raise self._source.decode_error(self._line_number_of_bytes(), self._settings.encoding) from None
        self.broken_lines = max(lines.count - self._found.has_header - self._skipped_lines - table.num_rows, 0)
        return pa.table({role: table.column(str(place)) for role, place in places.items()})

    def _parse_options(self) -> pyarrow.csv.ParseOptions:
        quoted = self._found.quoted
        return pyarrow.csv.ParseOptions(
            delimiter=_SEPARATORS.get(self._found.delimiter, self._found.delimiter),
            quote_char='"' if quoted else False,
            double_quote=quoted,
            newlines_in_values=quoted,
            invalid_row_handler=self._handle_invalid_row,
        )

    def _handle_invalid_row(self, row) -> str:
        if not row.text.strip():
            self._skipped_lines += 1
            return "skip"
        self._broken = row
        return "error"

    def _error_with_line(self, text: str, names: list[str]) -> InputError:
        """The error that Arrow describes as `text`, with the number of the line."""
        if self._broken is not None:
            first_line = self._broken.text.partition("\n")[0].rstrip("\r")
            number = self._line_number_of(lambda line: line == first_line)
            found = f"{self._broken.actual_columns} columns"
            if "\n" in self._broken.text:
                found += ", where a quoted field does not end on its line"
            first = "the header" if self._found.has_header else "the first line"
            other = (
                "" if self._found.has_header or self._found.delimiter not in (" ", "\t") else ", or --format=adjacency"
            )
            return InputError(f"{self._source.path}:{number}", found, f"{len(names)}, as in {first}{other}")
        if "invalid UTF8" in text:
            return self._source.decode_error(self._line_number_of_bytes(), self._settings.encoding)
        if value := re.search(r"In CSV column #(\d+): CSV conversion error to (\S+): invalid value '(.*)'", text):
            place, kind, cell = int(value[1]), value[2], value[3]
            number = self._line_number_of(lambda line: self._cell_at(line, place) == cell)
            expected = "a number" if kind == "double" else f"a value of type {kind}, as before it"
            return InputError(f"{self._source.path}:{number}", repr(cell), expected)
        if "Empty CSV file" in text or "Could not skip initial" in text:
            return InputError(self._source.path, "a header without an interaction", "at least one line")
        return InputError(self._source.path, text.replace("\n", " ")[:200], "a table of text")

    def _cell_at(self, line: str, place: int) -> str | None:
        cells = dialect.split_fields(line, self._found.delimiter, self._found.quoted)
        return cells[place] if place < len(cells) else None

    def _line_number_of(self, wanted: Callable[[str], bool]) -> int:
        """The number of the first line for which `wanted` holds."""
        with self._source.open() as file:
            text = _decode_to_utf8(file, self._settings.encoding)
            stream = io.TextIOWrapper(_replace_delimiter(text, self._found.delimiter), "utf-8", "replace")
            start = self._found.skipped + self._found.has_header
            for number, line in enumerate(stream, 1):
                if number > start and wanted(line.rstrip("\r\n")):
                    return number
        return 0

    def _line_number_of_bytes(self) -> int:
        """The number of the first line that is no text."""
        with self._source.open() as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode(self._settings.encoding)
                except UnicodeError:
                    return number
        return 0


_SEPARATORS = {"::": "\x1f"}  # what stands for a separator that is no single character


class _LineCounter:
    """Counts the lines of a file that are not empty, as it is read."""

    def __init__(self):
        self.count = 0
        self._ended = True  # whether what was read last ends a line

    def watch(self, file: BinaryIO) -> BinaryIO:
        """The file, whose lines are counted."""
        return io.BufferedReader(_Rewritten(file, self._count_lines), _BLOCK)

    def _count_lines(self, block: bytes) -> bytes:
        if block:
            text = np.frombuffer(block, np.uint8)
            text = text[text != ord("\r")]
            ends = text == ord("\n")
            starts = np.concatenate([[self._ended], ends[:-1]])
            self.count += int((starts & ~ends).sum())
            self._ended = bool(len(ends) and ends[-1])
        return block


class _Rewritten(io.RawIOBase):
    """A file whose lines are rewritten block by block, as it is read."""

    def __init__(self, file: BinaryIO, rewrite: Callable[[bytes], bytes]):
        self._file, self._rewrite, self._rest = file, rewrite, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self._rest:
            block = self._file.read(_BLOCK)
            self._rest = self._rewrite(block + (self._file.readline() if block else b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _decode_to_utf8(file: BinaryIO, encoding: str) -> BinaryIO:
    """The file in UTF-8."""
    if codecs.lookup(encoding).name == "utf-8":
        return file
    decoder = codecs.getincrementaldecoder(encoding)()
    decoded = _Rewritten(file, lambda block: decoder.decode(block, final=not block).encode())
    return io.BufferedReader(decoded, _BLOCK)


def _replace_delimiter(file: BinaryIO, delimiter: str) -> BinaryIO:
    """The file with columns separated by single characters."""
    if delimiter == "::":
        return io.BufferedReader(_Rewritten(file, lambda block: block.replace(b"::", b"\x1f")), _BLOCK)
    if delimiter == " ":
        return io.BufferedReader(_Rewritten(file, _single_spaces), _BLOCK)
    return file


def _single_spaces(block: bytes) -> bytes:
    block = re.sub(rb"[ \t]+", b" ", block)
    return re.sub(rb"(?m)^ | (?=\r?$)", b"", block)
