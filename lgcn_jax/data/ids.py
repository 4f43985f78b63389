"""Raw ids: integers or text, sorted and distinct, and the numbers (codes) that stand for them.

An array of raw ids is ascending: int32 (int64 where one is larger), or dtype object of `str`, in the order of their
code points.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lgcn_jax.errors import InputError


class IdColumn(NamedTuple):
    """A column of raw ids: `values`, distinct and ascending; `codes` int32[n], the place of each row's id in them."""

    values: np.ndarray
    codes: np.ndarray


def integer_id_column(ids: np.ndarray) -> IdColumn:
    """The column that integers of any type are."""
    if not len(ids):
        return IdColumn(np.zeros(0, np.int32), np.zeros(0, np.int32))
    ids = ids.astype(np.int64) if ids.dtype.kind == "i" else ids
    low, high = int(ids.min()), int(ids.max())
    if high > np.iinfo(np.int64).max:
        return text_id_column(map(str, ids.tolist()))
    if high - low < 4 * len(ids) + 1024:  # dense: counting is faster than sorting
        present = np.bincount(ids - low if low else ids) > 0
        values = np.flatnonzero(present) + low
        codes = (np.cumsum(present, dtype=np.int32) - 1)[ids - low if low else ids]
    else:
        values, codes = np.unique(ids, return_inverse=True)
    return IdColumn(narrow_integers(values), codes.astype(np.int32))


def text_id_column(ids: Iterable[str]) -> IdColumn:
    """The column that texts are."""
    values, codes = np.unique(np.asarray([*ids, ""], object)[:-1], return_inverse=True)
    return IdColumn(values, codes.astype(np.int32))


def narrow_integers(values: np.ndarray) -> np.ndarray:
    """Integers as int32 where all fit, else as int64."""
    fits = not len(values) or (values[0] >= np.iinfo(np.int32).min and values[-1] <= np.iinfo(np.int32).max)
    return values.astype(np.int32 if fits else np.int64)


def is_text(values: np.ndarray) -> bool:
    """Whether raw ids are text."""
    return values.dtype.kind not in "iu"


def unify_ids(columns: Sequence[IdColumn]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The ids of several columns together, and the codes of each column in them.

    Where one column is text, integers become the text that they are written as.
    """
    found = [column.values for column in columns if len(column.values)]
    if any(map(is_text, found)):
        found = [values if is_text(values) else values.astype(str).astype(object) for values in found]
    if not found:
        return np.zeros(0, np.int32), [column.codes for column in columns]
    values = found[0] if len(found) == 1 else np.unique(np.concatenate(found))
    if is_text(values) and len(found) == 1:
        values = np.sort(values)  # integers that became text have another order
    values = values if is_text(values) else narrow_integers(values)
    rest = iter(found)
    places = [
        np.searchsorted(values, _cast_ids(next(rest), values)) if len(column.values) else np.zeros(0, np.int64)
        for column in columns
    ]
    return values, [place.astype(np.int32)[column.codes] for place, column in zip(places, columns, strict=True)]


def match_id_type(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Raw ids of the kind of the known ones: integers beside text become the text that they are written as."""
    return values.astype(str).astype(object) if is_text(known) and not is_text(values) else values


def _cast_ids(ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    return ids if is_text(values) or ids.dtype == values.dtype else ids.astype(values.dtype)


def positions(ids: Any, known: np.ndarray, what: str, skip_unknown: bool = False) -> np.ndarray:
    """int64[m]: the places of raw ids among the `known` ones; one id or many.

    Args:
      ids: an id, or a sequence or array of them.
      known: all raw ids, ascending.
      what: 'users' or 'items', for messages.
      skip_unknown: whether unknown ids are left out.

    Raises:
      InputError: an id is of another type than the known ones, or unknown.
    """
    array = as_array(ids, known, what)
    place, found = locate(array, known)
    if not skip_unknown and not found.all():
        unknown = array[~found]
        raise InputError(what, f"{len(unknown)} unknown ids, such as {unknown[0]}", "ids of the data set")
    return place[found]


def as_array(ids: Any, known: np.ndarray, what: str) -> np.ndarray:
    """One id or many as an array of the kind of the `known` ones.

    Raises:
      InputError: ids of another type.
    """
    many = isinstance(ids, Iterable) and not isinstance(ids, str | bytes | np.ndarray)
    listed = list(ids) if many else ids
    array = np.atleast_1d(np.asarray(listed, object if many and is_text(known) else None))
    if array.ndim != 1:
        raise InputError(what, f"an array of shape {array.shape}", "one id, or a sequence of ids")
    if is_text(known):
        array = array.astype(object)
        others = [each for each in array if not isinstance(each, str)]
    else:
        others = [] if not array.size or array.dtype.kind in "iu" else list(array[:1])
    if others:
        other = others[0].item() if hasattr(others[0], "item") else others[0]
        expected = f"ids that are {'text' if is_text(known) else 'integers'}, such as {known[:1].tolist()[0]!r}"
        raise InputError(what, f"{other!r} of type {type(other).__name__}", expected)
    return array


def locate(array: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64[m], the place of each id among the `known` ones, and bool[m], whether it is one of them."""
    if not len(known) or not array.size:
        return np.zeros(len(array), np.int64), np.zeros(len(array), bool)
    place = np.minimum(np.searchsorted(known, array), len(known) - 1)
    return place, np.asarray(known[place] == array, bool)
