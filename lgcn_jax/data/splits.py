"""How the pairs of one table become train, validation and test parts."""

import dataclasses

import numpy as np

from lgcn_jax.data import csr, interactions
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError


def split(whole: Interactions, time: np.ndarray | None, dated: bool, settings: DataSettings) -> Interactions:
    """The data set with the parts that `settings.split` asks for; all its pairs are train pairs before.

    Args:
      whole: all pairs.
      time: [train.nnz], of each pair, where there is one.
      dated: whether times are microseconds since 1970.
      settings: how it is split.

    Raises:
      InputError: there is no time, or one part would be empty.
    """
    if settings.split == "none":
        return whole
    if settings.split == "random":
        return _random(whole, settings)
    if time is None:
        raise InputError(f"--split={settings.split}", "no times", "a column of them (--time_col)")
    if settings.split == "leave_last_out":
        return _leave_last_out(whole, time, settings)
    return _temporal(whole, time, dated, settings)


def _random(whole: Interactions, settings: DataSettings) -> Interactions:
    """Of each user's pairs some, drawn by the seed."""
    seed = settings.data_seed
    drawn = interactions.draw(whole.train, settings.test_fraction, seed, settings.min_test_items)
    found = interactions.parted(whole, drawn, "test")
    return interactions.hold_out(found, settings.validation_fraction, seed) if settings.validation_fraction else found


def _leave_last_out(whole: Interactions, time: np.ndarray, settings: DataSettings) -> Interactions:
    """Each user's last pair is test, and the one before it validation where there is a validation part; a user keeps
    one train pair. Of equal times, the higher item is the later one."""
    rows = csr.row_of_entry(whole.train)
    order = np.lexsort((whole.train.indices, time, rows))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - whole.train.indptr[rows]
    degree = csr.degrees(whole.train)[rows]
    last = (place == degree - 1) & (degree > 1)
    found = interactions.parted(whole, last, "test")
    if not settings.validation_fraction:
        return found
    before = ((place == degree - 2) & (degree > 2))[~last]
    return interactions.parted(found, before, "valid")


def _temporal(whole: Interactions, time: np.ndarray, dated: bool, settings: DataSettings) -> Interactions:
    """The latest pairs are test: those from one moment on, the same for all users; before them validation."""
    later = _latest(time, settings.test_fraction)
    found = interactions.parted(whole, later, "test")
    if settings.validation_fraction:
        found = interactions.parted(found, _latest(time[~later], settings.validation_fraction), "valid")
    if not found.train.nnz:
        held = settings.test_fraction
        none = f"no train pair before the last {held:g} of time"
        raise InputError("--split=temporal", none, "pairs at different times")
    moment = _moment(time[later].min(), dated)
    remark = f"split in time: test pairs are from {moment} on, {later.mean():.1%} of all"
    return dataclasses.replace(found, remarks=(*found.remarks, remark))


def _latest(time: np.ndarray, fraction: float) -> np.ndarray:
    """bool[n]: those at or after the moment after which `fraction` of them lie."""
    if not len(time):
        return np.zeros(0, bool)
    place = min(int(np.ceil((1 - fraction) * len(time))), len(time) - 1)
    return time >= np.partition(time, place)[place]


def _moment(time: np.number, dated: bool) -> str:
    """A time as a reader knows it: dates as dates, numbers as they are, and what may be seconds since 1970 as both."""
    if dated:
        return str(np.datetime64(int(time), "us").astype("datetime64[s]"))
    number = f"{int(time)}" if time == int(time) else f"{time}"
    return f"{number} ({np.datetime64(int(time), 's')} UTC)" if 1e8 < time < 1e10 else number
