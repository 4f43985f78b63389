"""Raw ids <-> the numbers of users and items."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from lgcn_jax.errors import InputError


def numbers_of(ids: Any, known: np.ndarray, what: str, skip_unknown: bool = False) -> np.ndarray:
    """int64[m]: the places of raw ids among the `known` ones, which are ascending; one id or many.

    Args:
      ids: an id, or a sequence or array of them.
      known: all raw ids.
      what: 'users' or 'items', for messages.
      skip_unknown: whether unknown ids are left out.

    Raises:
      InputError: an id is of another type than the known ones, or unknown.
    """
    many = isinstance(ids, Iterable) and not isinstance(ids, str | bytes | np.ndarray)
    array = np.atleast_1d(np.asarray(list(ids) if many else ids))
    if array.ndim != 1:
        raise InputError(what, f"an array of shape {array.shape}", "one id, or a sequence of ids")
    if array.size and array.dtype.kind not in ("iu" if known.dtype.kind in "iu" else known.dtype.kind):
        first = f"{getattr(array.flat[0], 'item', lambda: array.flat[0])()!r} of type {array.dtype}"
        raise InputError(what, first, f"ids of type {known.dtype}, such as {known[0]}")
    place = np.minimum(np.searchsorted(known, array), len(known) - 1)
    found = known[place] == array if array.size else np.zeros(0, bool)
    if not skip_unknown and not found.all():
        unknown = array[~found]
        raise InputError(what, f"{len(unknown)} unknown ids, such as {unknown[0]}", "ids of the data set")
    return place[found]
