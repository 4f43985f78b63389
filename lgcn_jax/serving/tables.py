"""Results as files: csv, jsonl and parquet, by the ending of the name."""

import io
import json
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.system import files, paths


def write_table(table: Any, path: Path) -> None:
    """Writes a pyarrow.Table whole or not at all.

    Raises:
      InputError: as `require_writable`.
      WriteError: the disk does not take it.
    """
    path = path.expanduser()
    require_writable(path)
    try:
        files.write(path, WRITERS[path.suffix.lower()](table))
    except OSError as error:
        raise WriteError(path, error.strerror or error) from None


def require_writable(path: Path, where: str = "", endings: Collection[str] = (".csv", ".jsonl", ".parquet")) -> None:
    """Raises an InputError where no file with such an ending can be written; `where` is the flag that names it."""
    where = f"{where}{path}"
    if path.suffix.lower() not in endings:
        raise InputError(where, f"a name that ends in {path.suffix or 'nothing'}", f"one in {', '.join(endings)}")
    if paths.exists(path, where) and path.is_dir():
        raise InputError(where, "a folder", "a file, or nothing")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        found = f"a place where no file can be written ({error.strerror or error})"
        raise InputError(where, found, "one in a folder to write to") from None


def _csv_bytes(table: Any) -> bytes:
    from pyarrow import csv

    sink = io.BytesIO()
    csv.write_csv(table, sink)
    return sink.getvalue()


def _jsonl_bytes(table: Any) -> bytes:
    columns = [_json_literals(table[name]) for name in table.column_names]
    keys = [json.dumps(name) for name in table.column_names]
    rows = (", ".join(map(": ".join, zip(keys, row, strict=True))) for row in zip(*columns, strict=True))
    return "".join(f"{{{row}}}\n" for row in rows).encode()


def _json_literals(column: Any) -> list[str]:
    """Each value as JSON; numbers of float32 with the digits that they need, and no more."""
    import pyarrow

    if pyarrow.types.is_floating(column.type) or pyarrow.types.is_integer(column.type):
        return column.cast(pyarrow.string()).to_pylist()
    return [json.dumps(value, ensure_ascii=False) for value in column.to_pylist()]


def _parquet_bytes(table: Any) -> bytes:
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


WRITERS: dict[str, Callable[[Any], bytes]] = {".csv": _csv_bytes, ".jsonl": _jsonl_bytes, ".parquet": _parquet_bytes}
