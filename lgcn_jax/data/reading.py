"""What people have -> Interactions: data sets by name, files, arrays of ids and sparse matrices."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from lgcn_jax.data import datasets, ids
from lgcn_jax.data.events import Events
from lgcn_jax.data.ids import IdColumn
from lgcn_jax.data.interactions import Interactions, assemble, hold_out, train_test_split
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError, named_as_in_python
from lgcn_jax.settings import unknown

SPLITS = ("random",)


@named_as_in_python()
def load(name: str, progress: bool = False, **settings: Any) -> Interactions:
    """A published data set by its name, or 'synthetic'; it is fetched into `data_dir` where it is not there.

    >>> load("synthetic", num_users=100, num_items=80, num_interactions=1000).headline()
    'synthetic: 100 users, 80 items, 830 train pairs'

    Args:
      name: gowalla, yelp2018, lastfm, amazon-book, ml-100k or synthetic.
      progress: whether a download shows how far it is.
      **settings: data_dir ('data'), test_fraction, min_test_items, validation_fraction, data_seed, and the sizes of the
        synthetic set: num_users, num_items, num_interactions.

    Raises:
      InputError: there is no such name or setting, or the files cannot be had.
    """
    if not datasets.is_name(name):
        raise InputError("name", repr(name), "the name of a data set; files are read by lgcn_jax.read")
    return datasets.load(_settings(dataset=name, **settings), progress)


@named_as_in_python()
def read(
    source: Any,
    test: Any = None,
    valid: Any = None,
    *,
    split: str = "random",
    test_fraction: float = 0.2,
    min_test_items: int = 1,
    validation_fraction: float = 0.0,
    seed: int = 0,
    format: str = "auto",
    name: str = "interactions",
) -> Interactions:
    """Interactions of one's own.

    >>> read(([7, 7, 7, 9, 9], [1, 2, 3, 1, 4]), test_fraction=0.4).user_ids.tolist()
    [7, 9]

    Args:
      source: a path (a file of interactions, or a folder with train and test files), or integer ids: a tuple
        (users, items) of arrays, an array of shape [n, 2], a list of pairs, or a scipy sparse matrix of users x items,
        whose row and column numbers are the ids. With `test` it is the train part, else all interactions.
      test, valid: the other parts, of the same kinds; not beside a path.
      split: how a test part is split off where there is none: 'random', of each user's items.
      test_fraction: share of each user's items that becomes the test part.
      min_test_items: the least number of a user's test items, as long as a train item is left.
      validation_fraction: share of each user's train items that becomes the validation part.
      seed: of the splits.
      format: how a file is read: auto, adjacency, pairs.
      name: of the data set in reports, where `source` is no path.

    Raises:
      InputError: it cannot be read, or holds something else than ids from 0 to 2147483647.
    """
    if split not in SPLITS:
        raise InputError("split", repr(split), f"one of {', '.join(SPLITS)}")
    settings = {"test_fraction": test_fraction, "validation_fraction": validation_fraction, "data_seed": seed}
    settings["min_test_items"] = min_test_items
    if isinstance(source, str | Path):
        if test is not None or valid is not None:
            raise InputError("test", "a part beside a path", "a folder with train and test files")
        return datasets.load(_settings(dataset=str(Path(source).expanduser().absolute()), format=format, **settings))
    if valid is not None and test is None:
        raise InputError("valid", "a part without a test part", "test beside it")
    checked = _settings(**settings)
    events = _events(source, "source")
    if test is None:
        found = train_test_split(name, events, checked.test_fraction, seed, checked.min_test_items)
    else:
        found = assemble(name, events, _events(test, "test"), None if valid is None else _events(valid, "valid"))
    return hold_out(found, validation_fraction, seed) if validation_fraction else found


def _settings(**stated: Any) -> DataSettings:
    known = DataSettings.__dataclass_fields__
    for name in stated.keys() - known:
        raise InputError(name, stated[name], unknown(name, known))
    if "data_dir" in stated or "dataset" in stated:  # where data lie is the same wherever a run goes on
        stated["data_dir"] = str(Path(stated.get("data_dir", DataSettings.data_dir)).expanduser().absolute())
    return DataSettings(**stated)


def _events(source: Any, where: str) -> Events:
    """Pairs of ids from arrays or a sparse matrix."""
    if scipy.sparse.issparse(source):
        matrix = source.tocoo()
        kept = matrix.data != 0
        users, items = matrix.row[kept], matrix.col[kept]
    elif _is_columns(source):
        users, items = (np.asarray(part) for part in source)
    else:
        array = np.asarray(source)
        if array.ndim != 2 or array.shape[1] != 2:
            expected = "a path, two arrays of users and items, an array of shape [n, 2], or a sparse matrix"
            raise InputError(where, f"{type(source).__name__} of shape {array.shape}", expected)
        users, items = array[:, 0], array[:, 1]
    if users.ndim != 1 or users.shape != items.shape:
        raise InputError(where, f"users of shape {users.shape} and items of {items.shape}", "two arrays of one length")
    return Events(_column(users, f"{where} users"), _column(items, f"{where} items"))


def _is_columns(source: Any) -> bool:
    """Whether users and items come apart: in a tuple, or as two arrays; a list of lists has a row for each pair."""
    if not isinstance(source, tuple | list) or len(source) != 2:
        return False
    return isinstance(source, tuple) or not any(isinstance(part, tuple | list) for part in source)


def _column(array: np.ndarray, where: str) -> IdColumn:
    if array.dtype.kind in "iu" or not array.size:
        return ids.of_integers(array.astype(np.int64) if not array.size else array)
    if array.dtype.kind in "UOT" and all(isinstance(each, str) for each in array):
        return ids.of_texts(array.tolist())
    found = f"ids of type {array.dtype}" if array.dtype.kind not in "O" else f"ids such as {_other(array)!r}"
    raise InputError(where, found, "integers, or text")


def _other(array: np.ndarray) -> Any:
    """The first id that is no text."""
    return next(each for each in array if not isinstance(each, str))
