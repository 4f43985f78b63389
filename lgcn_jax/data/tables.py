"""Tables of events -> Arrow tables of the columns that are needed, called by what they hold.

Those of jsonl, parquet and Arrow files, and frames; those of text are in `text_tables`.
"""

from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from lgcn_jax.data.columns import Chooser, Columns, choose_columns
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.data.source import Source
from lgcn_jax.errors import InputError


def read_jsonl(source: Source, chooser: Chooser) -> tuple[pa.Table, Columns]:
    """The needed columns of a file with a JSON object on each line.

    Raises:
      InputError: a line is no object, or a column has values of different types.
    """
    try:
        with source.open(progress=True) as file:
            table = _read_json(file)
        columns = chooser(source.path, tuple(table.column_names), True)
        names = [table.column_names[columns.places[role]] for role in ("user", "item", "id") if role in columns.places]
        if dated := [name for name in names if pa.types.is_timestamp(table.schema.field(name).type)]:
            with source.open() as file:  # ids that look like dates stay as they are written
                table = _read_json(file, pa.schema([(name, pa.string()) for name in dated]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        expected = "a JSON object on each line, with the same columns"
        raise InputError(source.path, str(error).replace("\n", " ")[:200], expected) from None
    return _select_columns(table.select(list(columns.names)), columns)


def _read_json(file: Any, schema: pa.Schema | None = None) -> pa.Table:
    """The columns of lines of JSON, of the stated types and else of those that they seem to have."""
    parse = pyarrow.json.ParseOptions(explicit_schema=schema)
    return pyarrow.json.read_json(file, pyarrow.json.ReadOptions(block_size=1 << 26), parse)


def read_columnar(source: Source, chooser: Chooser) -> tuple[pa.Table, Columns]:
    """The needed columns of a parquet or Arrow file.

    Raises:
      InputError: it is damaged.
    """
    try:
        if source.magic()[:4] == b"PAR1":
            names = pyarrow.parquet.read_schema(source.path).names
            columns = chooser(source.path, tuple(names), True)
            wanted = [names[place] for place in columns.places.values()]
            table = pyarrow.parquet.read_table(source.path, columns=list(dict.fromkeys(wanted)), partitioning=None)
            table.validate(full=True)
            return table.select(wanted).rename_columns(list(columns.places)), columns
        with pa.memory_map(source.path) as file:
            table = pa.ipc.open_file(file).read_all()
            table.validate(full=True)  # offsets of a damaged file would be followed anywhere
    except (pa.ArrowException, OSError, KeyError) as error:  # the last where a file's two schemas differ
        found = str(error).replace("\n", " ")[:200]
        raise InputError(source.path, found, "a whole parquet or Arrow file") from None
    return _select_columns(table, chooser(source.path, tuple(table.column_names), True))


def read_frame(frame: Any, where: str, chooser: Chooser) -> tuple[pa.Table, Columns]:
    """The needed columns of a frame of Arrow, pandas, polars or another library, or of a dict of arrays.

    Raises:
      InputError: it cannot.
    """
    try:
        if isinstance(frame, dict) or hasattr(frame, "__arrow_c_stream__"):
            table = pa.table(frame)
        else:
            from pyarrow import interchange

            table = interchange.from_dataframe(frame)
    except (pa.ArrowException, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        found = f"a {type(frame).__name__} that Arrow does not take ({str(error)[:200]})".replace("\n", " ")
        raise InputError(where, found, "columns each of one type") from None
    return _select_columns(table, chooser(where, tuple(map(str, table.column_names)), True))


def is_frame(source: Any) -> bool:
    """Whether an object is a table: of another library, or columns by name."""
    return isinstance(source, dict) or hasattr(source, "__arrow_c_stream__") or hasattr(source, "__dataframe__")


def is_columnar(source: Source, settings: DataSettings) -> bool:
    """Whether a file is parquet or Arrow, by its first bytes.

    Raises:
      InputError: the settings say something else.
    """
    magic = source.magic()
    found = "parquet" if magic[:4] == b"PAR1" else "arrow" if magic[:6] == b"ARROW1" else ""
    if settings.format in ("parquet", "arrow") and found != settings.format:
        raise InputError(source.path, f"no {settings.format} file", f"one, as --format={settings.format} says")
    if found and settings.format not in ("auto", found):
        raise InputError(source.path, f"a {found} file", f"--format={found} or auto")
    return bool(found)


def _select_columns(table: pa.Table, columns: Columns) -> tuple[pa.Table, Columns]:
    return pa.table({role: table.column(place) for role, place in columns.places.items()}), columns


def chooser_of(settings: DataSettings) -> Chooser:
    """Chooses the columns of events as the settings state."""
    return lambda where, names, has_header: choose_columns(where, names, has_header, settings)
