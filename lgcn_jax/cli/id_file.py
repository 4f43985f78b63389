"""Files of raw ids: one id a line, or a column of a csv, tsv or parquet table."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.data.columns import USUAL_NAMES
from lgcn_jax.data.ids import as_array, is_text, locate
from lgcn_jax.errors import InputError
from lgcn_jax.system import extras

HEADERS = {  # in lower case, letters and digits alone
    kind: {f"{kind}s", "id", "rawid"}.union(*USUAL_NAMES[kind]) for kind in ("user", "item")
}
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_ids(path: str | Path, known: np.ndarray, flag: str, kind: str = "user") -> np.ndarray:
    """The ids of a file, as an array of the kind of the `known` ones; which are known is not looked at.

    The first line is a header where its name is one of HEADERS[kind], of `kind` user or item, and no known id. A table
    of several columns must have a column of such a name.

    Raises:
      InputError: the file cannot be read, has no id, or one of another kind than the known ones.
    """
    path = Path(path).expanduser()
    where = f"{flag}={path}"
    if path.suffix == ".parquet":
        return as_array(_read_column(path, where, kind), known, where)
    listed = _lines_with_ids(path, known, where, kind)
    if not listed:
        raise InputError(where, "no id", "an id on each line")
    texts = [text for _, text in listed]
    if is_text(known):
        return np.asarray([*texts, ""], object)[:-1]
    return np.asarray([_parse_integer(text, f"{path}:{number}") for number, text in listed], np.int64)


def _lines_with_ids(path: Path, known: np.ndarray, where: str, kind: str) -> list[tuple[int, str]]:
    """The ids of a text file and the lines on which they stand."""
    rows = [(number, row) for number, row in _read_rows(path, where) if any(row)]
    header = rows[0][1] if rows else [""]
    place = _id_column_index(header, where, kind) if len(header) > 1 else 0
    odd = next((number for number, row in rows if len(row) != len(header)), None)
    if odd is not None:
        raise InputError(f"{path}:{odd}", "another number of columns", f"{len(header)}, as on the first line")
    if len(header) > 1 or (_is_header(header[0], kind) and not _is_known(header[0], known)):
        rows = rows[1:]
    if blank := next((number for number, row in rows if not row[place]), None):
        raise InputError(f"{path}:{blank}", "no id", "one in each row")
    return [(number, row[place]) for number, row in rows]


def _read_rows(path: Path, where: str) -> list[tuple[int, list[str]]]:
    """The cells of each line and its number, without space around them."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(where, f"bytes that are no text ({error.reason})", "UTF-8, or a .parquet file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(where, f"a file that cannot be read ({reason})", "a file with an id on each line") from None
    if path.suffix not in DELIMITERS:
        return [(number, [line.strip()]) for number, line in enumerate(text.splitlines(), 1)]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=DELIMITERS[path.suffix], strict=True)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}", str(error), "a table") from None


def _read_column(path: Path, where: str, kind: str) -> list[Any]:
    """The ids of a parquet file."""
    arrow, parquet = extras.import_extra("pyarrow"), extras.import_extra("pyarrow.parquet")
    try:
        names = parquet.read_schema(path).names
        place = _id_column_index(names, where, kind) if len(names) != 1 else 0
        column = parquet.read_table(path, columns=[names[place]]).column(0)
    except (OSError, arrow.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(where, f"a file that cannot be read ({reason})", "a parquet file") from None
    if column.null_count or not len(column):
        raise InputError(where, f"{column.null_count} nulls among {len(column)} ids", "ids alone")
    return column.to_pylist()


def _id_column_index(names: list[str], where: str, kind: str) -> int:
    """Where the column of ids stands among several."""
    places = [place for place, name in enumerate(names) if _is_header(name, kind)]
    if len(places) != 1:
        raise InputError(where, f"the columns {', '.join(names)}", f"one column, or one of them called {kind}")
    return places[0]


def _is_header(name: str, kind: str) -> bool:
    return re.sub("[^a-z0-9]", "", name.lower()) in HEADERS[kind]


def _is_known(text: str, known: np.ndarray) -> bool:
    return is_text(known) and bool(locate(np.asarray([text, ""], object)[:1], known)[1][0])


def _parse_integer(text: str, where: str) -> int:
    """The integer that is written here, as int64 has it; `007` is none, since it is not 7."""
    if not re.fullmatch("-?(0|[1-9][0-9]{0,18})", text) or not -(2**63) <= int(text) < 2**63:
        raise InputError(where, repr(text), "an integer, as all ids of the data set are")
    return int(text)
