"""Arrow columns -> events: ids coded exactly as they are written, times, ratings, labels and weights as numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lgcn_jax.data import ids
from lgcn_jax.data.events import PART_NAMES, PARTS, Events
from lgcn_jax.data.ids import IdColumn
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError

# An integer as it is usually written, of at most 18 digits: 007 and +7 are none, and stay text.
_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
_SUSPICIOUS = ("nan", "null", "none", "na", "n/a", "undefined")


def table_to_events(table: pa.Table, where, settings: DataSettings) -> Events:
    """The events of a table whose columns are called by what they hold.

    Rows without a user or item are left out, and counted.

    Raises:
      InputError: a column holds something else than its name says.
    """
    users, user_remarks = id_column(table["user"], "user", where)
    items, item_remarks = id_column(table["item"], "item", where)
    kept = (users.codes >= 0) & (items.codes >= 0)
    values = {name: _VALUES[name](table[name], where) for name in table.column_names if name in _VALUES}
    lost = len(kept) - int(kept.sum())
    if lost and settings.strict:
        raise InputError(f"{where}: --strict", f"{lost} rows without a user or item", "none")
    notes = {"rows read": len(kept), "rows without a user or item left out": lost}
    dated = "time" in values and values["time"].dtype == np.int64 and not _is_number(table["time"].type)
    found = Events(users, items, values, notes, user_remarks + item_remarks, times_are_dates=dated)
    return found if kept.all() else found.take(kept)


def id_column(column: pa.ChunkedArray, what: str, where) -> tuple[IdColumn, tuple[str, ...]]:
    """Raw ids, coded; the codes are -1 where there is none. And what should be said about them.

    Raises:
      InputError: they are neither integers nor text.
    """
    kind = column.type
    if pa.types.is_dictionary(kind) and not pa.types.is_string(kind.value_type):
        column = _decode_dictionary(column)
        kind = column.type
    if pa.types.is_integer(kind):
        return _ids_from_integers(column), ()
    if pa.types.is_floating(kind):
        return _ids_from_floats(column, what, where)
    if not (pa.types.is_dictionary(kind) or _is_text(kind)):
        try:
            column = column.cast(pa.string())
        except pa.ArrowException:
            raise InputError(f"{where}: {what} ids", f"values of type {kind}", "integers or text") from None
    return _ids_from_text(column, what, where)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_text_column(column: pa.ChunkedArray) -> bool:
    return pa.types.is_dictionary(column.type) or _is_text(column.type)


def _ids_from_integers(column: pa.ChunkedArray) -> IdColumn:
    present = _to_numpy(column.is_valid())
    values = _to_numpy(column if column.null_count == 0 else column.drop_null())
    found = ids.integer_id_column(values)
    codes = np.full(len(present), -1, np.int32)
    codes[present] = found.codes
    return found._replace(codes=codes)


def _ids_from_floats(column: pa.ChunkedArray, what: str, where) -> tuple[IdColumn, tuple[str, ...]]:
    """Integers that a missing value, or a spreadsheet, has made floats."""
    whole = column.combine_chunks()
    whole = pc.if_else(pc.is_nan(whole), pa.scalar(None, whole.type), whole)
    if pc.any(pc.greater_equal(pc.abs(whole), 2.0**53)).as_py():
        raise InputError(f"{where}: {what} ids", "numbers of more digits than a float holds", "integers or text")
    try:
        return _ids_from_integers(pa.chunked_array([whole.cast(pa.int64())])), (
            f"{what} ids are integers stored as floats",
        )
    except pa.ArrowInvalid:
        raise InputError(f"{where}: {what} ids", "numbers with fractions", "integers or text") from None


def _ids_from_text(column: pa.ChunkedArray, what: str, where) -> tuple[IdColumn, tuple[str, ...]]:
    """Text, or the integers that all of it is written as; spaces around an id are no part of it."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    coded = coded.unify_dictionaries().combine_chunks()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    written = coded.dictionary.cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(written)
    remarks = () if trimmed.equals(written) else (f"{what} ids had spaces around them, which are left out",)
    again = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed).dictionary_encode()
    distinct, places = again.dictionary, again.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    if pc.any(pc.match_substring(distinct, "\n")).as_py():
        broken = distinct.filter(pc.match_substring(distinct, "\n"))[0].as_py()
        found = f"{broken.partition(chr(10))[0]!r} and further lines in quotes, as a {what} id"
        raise InputError(where, found, "quotes that end on their line")
    plain = pc.match_substring_regex(distinct, _INTEGER)
    remarks += _remarks_on_suspicious(distinct, plain, what)
    if len(distinct) and pc.all(plain).as_py():
        values = distinct.cast(pa.int64()).to_numpy()
        order = np.argsort(values)
        values = ids.narrow_integers(values[order])
    else:
        order = pc.array_sort_indices(distinct).to_numpy()
        values = distinct.take(pa.array(order)).to_numpy(zero_copy_only=False)
    rank = np.empty(len(order) + 1, np.int32)
    rank[order], rank[-1] = np.arange(len(order)), -1
    return IdColumn(values, np.append(rank[places], -1).astype(np.int32)[codes]), remarks


def _remarks_on_suspicious(distinct: pa.Array, plain: pa.Array, what: str) -> tuple[str, ...]:
    """Remarks on ids that may stand for a missing one, and on few that make text of many integers."""
    other = distinct.filter(pc.invert(plain))
    missing = other.filter(pc.is_in(pc.utf8_lower(other), pa.array(_SUSPICIOUS))).to_pylist()
    found = (f"the {what} id {missing[0]!r} is kept: it is text",) if missing else ()
    if 0 < len(other) <= 0.1 * len(distinct):
        few = f"{len(other):,} of {len(distinct):,} are no plain integers, such as {other[0].as_py()!r}"
        found += (f"{what} ids are text, since {few}",)
    return found


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    return column.combine_chunks().to_numpy(zero_copy_only=False)


def _parse_numbers(column: pa.ChunkedArray, where, what: str) -> np.ndarray:
    """float64, nan where there is none."""
    if _is_text_column(column):
        text = pc.utf8_trim_whitespace(_decode_dictionary(column).cast(pa.string()))
        wrong = text.filter(pc.invert(pc.match_substring_regex(text, _NUMBER)))
        if len(wrong):
            raise InputError(f"{where}: --{what}_col", repr(wrong[0].as_py()), "numbers, with a point if any")
        return _to_numpy(pc.cast(text, pa.float64()))
    try:
        return _to_numpy(column.cast(pa.float64(), safe=False)).astype(np.float64)
    except pa.ArrowException:
        raise InputError(f"{where}: --{what}_col", f"values of type {column.type}", "numbers") from None


def _decode_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text that is no dictionary."""
    if not pa.types.is_dictionary(column.type):
        return column
    kind = pa.string() if _is_text(column.type.value_type) else column.type.value_type
    return pa.chunked_array([chunk.dictionary.cast(kind).take(chunk.indices) for chunk in column.chunks], kind)


def _parse_times(column: pa.ChunkedArray, where) -> np.ndarray:
    """What orders events: numbers as they are, dates and times as microseconds since 1970."""
    found = _times_from_text(column, where) if _is_text_column(column) else column
    if pa.types.is_floating(found.type):
        found = pc.if_else(pc.is_nan(found), pa.scalar(None, found.type), found)
    elif not _is_number(found.type):
        found = _to_microseconds(found, where)
    if found.null_count:
        raise InputError(f"{where}: --time_col", f"{found.null_count} rows without a time", "a time in each row")
    return _to_numpy(found)


def _times_from_text(column: pa.ChunkedArray, where) -> pa.ChunkedArray:
    """Numbers, or dates and times, of text."""
    text = pc.utf8_trim_whitespace(_decode_dictionary(column).cast(pa.string()))
    numeric = pc.match_substring_regex(text, _NUMBER)
    if pc.all(numeric).as_py():
        return text.cast(pa.float64())
    try:
        return text.cast(pa.timestamp("us"))
    except pa.ArrowException:
        others = text.filter(pc.invert(numeric)) if pc.any(numeric).as_py() else text.drop_null()
        example = f"what is no time, such as {others[0].as_py()!r}"
        raise InputError(f"{where}: --time_col", example, "numbers, or times like 2024-05-31 18:30:00") from None


def _to_microseconds(column: pa.ChunkedArray, where) -> pa.ChunkedArray:
    kind = pa.time64("us") if pa.types.is_time(column.type) else pa.timestamp("us", getattr(column.type, "tz", None))
    try:
        return column.cast(kind, safe=False).cast(pa.int64())
    except pa.ArrowException:
        raise InputError(f"{where}: --time_col", f"values of type {column.type}", "numbers, or times") from None


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def is_label(column: pa.ChunkedArray) -> bool:
    """Whether a column can say what is a positive: numbers, or true and false."""
    if not _is_text_column(column):
        return _is_number(column.type) or pa.types.is_boolean(column.type)
    text = pc.utf8_trim_whitespace(_decode_dictionary(column).cast(pa.string()))
    return bool(pc.all(pc.match_substring_regex(text, _NUMBER)).as_py())


def _parse_labels(column: pa.ChunkedArray, where) -> np.ndarray:
    """bool: whether a row is a positive; one without a label is none."""
    numbers = _parse_numbers(column, where, "label")
    return np.nan_to_num(numbers) > 0


def _parse_weights(column: pa.ChunkedArray, where) -> np.ndarray:
    found = _parse_numbers(column, where, "weight")
    wrong = ~(np.isfinite(found) & (found > 0))
    if wrong.any():
        raise InputError(
            f"{where}: --weight_col", f"{wrong.sum()} weights such as {found[wrong][0]}", "numbers above 0"
        )
    return found


def _parse_splits(column: pa.ChunkedArray, where) -> np.ndarray:
    """int8, places in PARTS."""
    coded = column.cast(pa.string()).dictionary_encode().unify_dictionaries().combine_chunks()
    names = [str(name).strip().lower() for name in coded.dictionary.to_pylist()]
    if unknown := sorted(set(names) - set(PART_NAMES)):
        raise InputError(f"{where}: --split_col", repr(unknown[0]), "train, valid or test in each row")
    if coded.null_count:
        raise InputError(f"{where}: --split_col", f"{coded.null_count} rows without a part", "train, valid or test")
    return np.array([PARTS.index(PART_NAMES[name]) for name in names], np.int8)[
        coded.indices.to_numpy(zero_copy_only=False)
    ]


_VALUES = {
    "rating": lambda column, where: _parse_numbers(column, where, "rating"),
    "weight": _parse_weights,
    "time": _parse_times,
    "label": _parse_labels,
    "split": _parse_splits,
}
