"""What people have -> Interactions: data sets by name, files, frames, arrays of ids and sparse matrices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import scipy.sparse

from lgcn_jax.data import datasets, files, ids, preparation
from lgcn_jax.data.events import Events
from lgcn_jax.data.ids import IdColumn
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError, named_as_in_python
from lgcn_jax.settings import expected_instead

_COLUMNS = ("user", "item", "rating", "time", "label", "weight")


@named_as_in_python()
def load(name: str, progress: bool = False, **settings: Any) -> Interactions:
    """A published data set by its name, or 'synthetic'; it is fetched into `data_dir` where it is not there.

    >>> load("synthetic", num_users=100, num_items=80, num_interactions=1000).headline()
    'synthetic: 100 users, 80 items, 830 train pairs'

    Args:
      name: gowalla, yelp2018, lastfm, amazon-book, ml-100k or synthetic.
      progress: whether a download shows how far it is.
      **settings: data_dir ('data'), those of splits as in `read`, and the sizes of the synthetic set: num_users,
        num_items, num_interactions.

    Raises:
      InputError: there is no such name or setting, or the files cannot be had.
    """
    if not isinstance(name, str) or not datasets.is_dataset_name(name):
        raise InputError("name", repr(name), "the name of a data set; files are read by lgcn_jax.read")
    return datasets.load(_data_settings(settings | {"dataset": name}), progress)


@named_as_in_python(**{f"{role}_col": role for role in _COLUMNS}, data_seed="seed")
def read(
    source: Any,
    test: Any = None,
    valid: Any = None,
    *,
    user: str | int = "",
    item: str | int = "",
    rating: str | int = "",
    time: str | int = "",
    label: str | int = "",
    weight: str | int = "",
    split: str = "random",
    test_fraction: float = 0.2,
    min_test_items: int = 1,
    validation_fraction: float = 0.0,
    seed: int = 0,
    name: str = "interactions",
    progress: bool = False,
    **settings: Any,
) -> Interactions:
    """Interactions of one's own, with ids that are integers of any size, or text.

    >>> found = read((["ann", "ann", "ann", "bob", "bob"], ["tea", "rye", "oat", "tea", "rye"]), test_fraction=0.4)
    >>> found.user_ids.tolist(), found.train.nnz, found.test.nnz
    (['ann', 'bob'], 3, 2)

    Args:
      source: all events, or with `test` those of the train part. One of
        a path: a table of text, parquet, Arrow or jsonl, lists of items, or a folder with a file for each part;
        a list of paths of tables;
        a frame of pandas, polars or Arrow, or a dict of arrays, with columns as a file has;
        a tuple (users, items) of arrays, an array of shape [n, 2], or a list of pairs;
        a scipy sparse matrix of users x items, whose row and column numbers are the ids.
      test, valid: the other parts, of the same kinds; not beside paths.
      user, item, rating, time, label, weight: columns of a table, by name or by position from 1; '': by usual names.
      split: how a test part is split off where there is none: 'random', 'leave_last_out', 'temporal', 'column', 'none'.
      test_fraction: share of each user's items (temporal: of all pairs) that becomes the test part.
      min_test_items: the least number of a user's test items, as long as a train item is left; of 'random'.
      validation_fraction: share of the train part that becomes the validation part.
      seed: of the splits.
      name: of the data set in reports, where `source` is no path.
      progress: whether a long file shows how far it was read.
      **settings: what else `lgcn-jax data --help` lists of reading: min_rating, repeats, min_user_interactions,
        min_item_interactions, format, delimiter, header, encoding, split_col, strict, item_table, item_title_col, ...

    Raises:
      InputError: it cannot be read, or could be read in two ways.
    """
    columns = zip(_COLUMNS, (user, item, rating, time, label, weight), strict=True)
    stated: dict[str, Any] = {f"{role}_col": str(column) for role, column in columns if column != ""}
    stated |= {"split": split, "test_fraction": test_fraction, "min_test_items": min_test_items}
    stated |= {"validation_fraction": validation_fraction, "data_seed": seed}
    stated |= settings
    if _is_path(source) or _is_list_of_paths(source):
        if test is not None or valid is not None:
            raise InputError("test", "a part beside a path", "a folder with train and test files")
        return datasets.load(_data_settings(stated | {"dataset": _absolute_path(source)}), progress)
    if source is None:
        raise InputError("source", "nothing", "a path, a frame, arrays or a sparse matrix")
    if valid is not None and test is None:
        raise InputError("valid", "a part without a test part", "test beside it")
    checked = _data_settings(stated)
    found = {
        part: _read_events(rows, part if part != "train" else "source", checked)
        for part, rows in (("train", source), ("test", test), ("valid", valid))
        if rows is not None
    }
    made = (
        preparation.interactions_from_table(name, found["train"], checked)
        if test is None
        else _assemble_parts(name, found, checked)
    )
    return preparation.with_titles(made, checked)


def _assemble_parts(name: str, found: dict[str, Events], settings: DataSettings) -> Interactions:
    if settings.split != "random":
        raise InputError("split", repr(settings.split), "nothing where the parts are given")
    return preparation.interactions_from_parts(name, found, settings)


def _is_path(source: Any) -> TypeGuard[str | Path]:
    return isinstance(source, str | Path)


def _is_list_of_paths(source: Any) -> bool:
    """Whether a source is a list of paths; of texts, at least one is there."""
    if not isinstance(source, list) or not source or not all(map(_is_path, source)):
        return False
    return any(isinstance(path, Path) or Path(path).expanduser().is_file() for path in source)


def _absolute_path(source: str | Path | Sequence[str | Path]) -> str:
    paths: Sequence[str | Path] = (
        datasets.paths_of(str(Path(source).expanduser())) if isinstance(source, str | Path) else source
    )
    return ",".join(str(Path(path).expanduser().absolute()) for path in paths)


def _data_settings(stated: dict[str, Any]) -> DataSettings:
    known = DataSettings.__dataclass_fields__
    for name, value in stated.items():
        if name not in known:
            raise InputError(name, value, expected_instead(name, known))
    if "data_dir" in stated or "dataset" in stated:  # where data lie is the same wherever a run goes on
        folder = str(Path(stated.get("data_dir", DataSettings.data_dir)).expanduser().absolute())
        stated = stated | {"data_dir": folder}
    return DataSettings(**stated)


def _read_events(source: Any, where: str, settings: DataSettings) -> Events:
    """Events from a frame, arrays of ids or a sparse matrix."""
    if not isinstance(source, np.ndarray) and not scipy.sparse.issparse(source):
        from lgcn_jax.data import tables

        if tables.is_frame(source):
            return files.events_from_frame(source, where, settings)
    files.require_no_columns(f"the {type(source).__name__}", settings)
    if scipy.sparse.issparse(source):
        matrix = source.tocoo()
        kept = matrix.data != 0
        if not (matrix.data[kept] > 0).all():
            wrong = matrix.data[kept][~(matrix.data[kept] > 0)][0]
            raise InputError(where, f"a sparse matrix with {wrong}", "values above 0 where there is an interaction")
        users, items = matrix.row[kept], matrix.col[kept]
    elif _is_columns(source):
        users, items = (_to_array(part) for part in source)
    else:
        array = _to_array(source)
        if array.ndim != 2 or array.shape[1] != 2:
            expected = "a path, a frame, two arrays of users and items, an array of shape [n, 2], or a sparse matrix"
            raise InputError(where, f"{type(source).__name__} of shape {array.shape}", expected)
        users, items = array[:, 0], array[:, 1]
    if users.ndim != 1 or users.shape != items.shape:
        raise InputError(where, f"users of shape {users.shape} and items of {items.shape}", "two arrays of one length")
    valued = scipy.sparse.issparse(source) and (source.tocoo().data > 1).any()
    remarks = ("values of the matrix are not used: each counts once",) if valued else ()
    return Events(_id_column(users, f"{where} users"), _id_column(items, f"{where} items"), remarks=remarks)


def _is_columns(source: Any) -> bool:
    """Whether users and items come apart: in a tuple, or as two arrays; a list of lists has a row for each pair."""
    if not isinstance(source, tuple | list) or len(source) != 2:
        return False
    return isinstance(source, tuple) or not any(isinstance(part, tuple | list) for part in source)


def _to_array(values: Any) -> np.ndarray:
    """An array in which text stays as it is, and beside text nothing becomes text."""
    if isinstance(values, np.ndarray):
        return values
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.asarray(values, object)
    return np.asarray(values, object) if array.dtype.kind in "US" else array


def _id_column(array: np.ndarray, where: str) -> IdColumn:
    if not array.size:
        return ids.integer_id_column(np.zeros(0, np.int64))
    if array.dtype.kind in "iu":
        return ids.integer_id_column(array)
    listed = array.tolist()
    if all(isinstance(each, str) for each in listed):
        return ids.text_id_column(listed)
    if array.dtype.kind == "O" and all(isinstance(each, int | np.integer) for each in listed):
        return ids.integer_id_column(np.array(listed))
    other = next((each for each in listed if not isinstance(each, str)), None)
    found = f"ids such as {other!r}" if array.dtype.kind == "O" else f"ids of type {array.dtype}"
    raise InputError(where, found, "integers, or text")
