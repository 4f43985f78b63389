"""How the pairs of one table become train, validation and test parts."""

import dataclasses

import numpy as np

from lgcn_jax.data import csr, interactions
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError


def split(
    unsplit: Interactions, times: np.ndarray | None, times_are_dates: bool, settings: DataSettings
) -> Interactions:
    """The data set with the parts that `settings.split` asks for; all its pairs are train pairs before.

    Args:
      unsplit: all pairs.
      times: [train.nnz], of each pair, where there is one.
      times_are_dates: whether times are microseconds since 1970.
      settings: how it is split.

    Raises:
      InputError: there is no time, or one part would be empty.
    """
    if settings.split == "none":
        return unsplit
    if settings.split == "random":
        return _random_split(unsplit, settings)
    if times is None:
        raise InputError(f"--split={settings.split}", "no times", "a column of them (--time_col)")
    if settings.split == "leave_last_out":
        return _leave_last_out_split(unsplit, times, settings)
    return _temporal_split(unsplit, times, times_are_dates, settings)


def _random_split(unsplit: Interactions, settings: DataSettings) -> Interactions:
    """Of each user's pairs some, drawn by the seed."""
    seed = settings.data_seed
    drawn = interactions.draw_entries(unsplit.train, settings.test_fraction, seed, settings.min_test_items)
    found = interactions.move_to_part(unsplit, drawn, "test")
    return interactions.hold_out(found, settings.validation_fraction, seed) if settings.validation_fraction else found


def _leave_last_out_split(unsplit: Interactions, times: np.ndarray, settings: DataSettings) -> Interactions:
    """Each user's last pair is test, and the one before it validation where there is a validation part; a user keeps
    one train pair. Of equal times, the higher item is the later one."""
    rows = csr.row_of_entry(unsplit.train)
    order = np.lexsort((unsplit.train.indices, times, rows))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - unsplit.train.indptr[rows]
    degree = csr.degrees(unsplit.train)[rows]
    last = (place == degree - 1) & (degree > 1)
    found = interactions.move_to_part(unsplit, last, "test")
    if not settings.validation_fraction:
        return found
    before = ((place == degree - 2) & (degree > 2))[~last]
    return interactions.move_to_part(found, before, "valid")


def _temporal_split(
    unsplit: Interactions, times: np.ndarray, times_are_dates: bool, settings: DataSettings
) -> Interactions:
    """The latest pairs are test: those from one moment on, the same for all users; before them validation."""
    later = _latest_mask(times, settings.test_fraction)
    found = interactions.move_to_part(unsplit, later, "test")
    if settings.validation_fraction:
        found = interactions.move_to_part(found, _latest_mask(times[~later], settings.validation_fraction), "valid")
    if not found.train.nnz:
        held = settings.test_fraction
        none = f"no train pair before the last {held:g} of time"
        raise InputError("--split=temporal", none, "pairs at different times")
    moment = _format_time(times[later].min(), times_are_dates)
    remark = f"split in time: test pairs are from {moment} on, {later.mean():.1%} of all"
    return dataclasses.replace(found, remarks=(*found.remarks, remark))


def _latest_mask(times: np.ndarray, fraction: float) -> np.ndarray:
    """bool[n]: those at or after the moment after which `fraction` of them lie."""
    if not len(times):
        return np.zeros(0, bool)
    place = min(int(np.ceil((1 - fraction) * len(times))), len(times) - 1)
    return times >= np.partition(times, place)[place]


def _format_time(time: np.number, is_date: bool) -> str:
    """A time as a reader knows it: dates as dates, numbers as they are, and what may be seconds since 1970 as both."""
    if is_date:
        return str(np.datetime64(int(time), "us").astype("datetime64[s]"))
    number = f"{int(time)}" if time == int(time) else f"{time}"
    return f"{number} ({np.datetime64(int(time), 's')} UTC)" if 1e8 < time < 1e10 else number
