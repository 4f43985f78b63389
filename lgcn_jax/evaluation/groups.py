"""Users in groups by how much they have, items by how popular they are: tables of cold start and of the long tail."""

from collections.abc import Sequence

import numpy as np

from lgcn_jax.errors import InputError

USER_GROUPS, ITEM_GROUPS = 4, 10  # as published tables have them
MOST_GROUPS = 1000

Table = dict[str, np.ndarray]


def equal_share_bounds(sizes: np.ndarray, count: int) -> np.ndarray:
    """int64[at most count]: the largest size of each group, such that groups have about equal sums of sizes.

    Group g ends with the size at which the sum of all sizes up to it reaches g / count of the whole; equal sizes stay
    together. This is how users are cut since NGCF (Wang et al. 2019, section 4.3.2): four groups of Gowalla's users,
    by interactions in all parts, end at 24, 48, 110 and 1014.

    Args:
      sizes: int[n], such as the interactions of each user.
      count: how many groups are wanted; where many have the same size, there may be fewer.
    """
    values, repeats = np.unique(sizes, return_counts=True)
    upto = np.cumsum(values.astype(np.int64) * repeats)
    ends = np.searchsorted(upto, np.arange(1, count + 1) * (upto[-1] / count))
    return np.unique(np.append(values[ends[:-1]], values[-1])).astype(np.int64)


def group_bounds(sizes: np.ndarray, groups: int | Sequence[int]) -> np.ndarray:
    """int64[groups]: the largest size of each group, ascending; the last one is no less than any size.

    Args:
      sizes: int[n], at least one.
      groups: how many groups of equal sums of sizes; or the largest size of each but the last, ascending.

    Raises:
      InputError: neither.
    """
    if isinstance(groups, int) and not isinstance(groups, bool) and 1 <= groups <= MOST_GROUPS:
        return equal_share_bounds(sizes, groups)
    try:
        stated = np.asarray(groups, np.int64)
    except (TypeError, ValueError, OverflowError):
        stated = np.zeros(0, np.int64)
    if stated.ndim != 1 or not stated.size or (np.diff(stated) <= 0).any():
        raise InputError("groups", repr(groups), f"a number from 1 to {MOST_GROUPS}, or ascending integers")
    return np.union1d(stated, sizes.max())


def user_group_table(
    sizes: np.ndarray, values: dict[str, np.ndarray], groups: int | Sequence[int] = USER_GROUPS
) -> Table:
    """One row for each group of users: the means of their metrics.

    Args:
      sizes: int[n], interactions of each user in all parts.
      values: float[n] of each metric.
      groups: see `group_bounds`.

    Returns:
      Columns `up_to` (most interactions of the group), `users`, and each metric's mean within the group, NaN where
      the group is empty.
    """
    bounds = group_bounds(sizes, groups)
    group = np.searchsorted(bounds, sizes)
    users = np.bincount(group, minlength=len(bounds))
    means = {name: _safe_ratio(_group_sums(group, column, len(bounds)), users) for name, column in values.items()}
    return {"up_to": bounds, "users": users, **means}


def item_group_table(
    popularity: np.ndarray,
    relevant: np.ndarray,
    lists: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]],
    groups: int | Sequence[int] = ITEM_GROUPS,
) -> Table:
    """One row for each group of items: what is recommended of it, and found.

    Args:
      popularity: int[num_items], users who have each item in the train part.
      relevant: int[num_items], evaluated users for whom it is relevant.
      lists: for each k, of each item the lists it stands in, those in which it is relevant, and the sum over these of
        1 / number of the user's relevant items, divided by the number of users.
      groups: see `group_bounds`.

    Returns:
      Columns `up_to` (most users of an item of the group), `items`, `train` and `relevant` (pairs of the group), and
      for each k: `exposure@k`, its share of all recommendations; `recall@k`, its contribution, which sums to recall@k;
      `found@k`, its relevant pairs that were recommended, as a share: a recall within the group. NaN: of nothing.
    """
    bounds = group_bounds(popularity, groups)
    group = np.searchsorted(bounds, popularity)

    def sums(column: np.ndarray) -> np.ndarray:
        return _group_sums(group, column, len(bounds))

    pairs = {"train": sums(popularity).astype(np.int64), "relevant": sums(relevant).astype(np.int64)}
    table = {"up_to": bounds, "items": np.bincount(group, minlength=len(bounds)), **pairs}
    for k, (exposure, hits, contribution) in lists.items():
        table[f"exposure@{k}"] = _safe_ratio(sums(exposure), np.full(len(bounds), exposure.sum()))
        table[f"recall@{k}"] = sums(contribution)
        table[f"found@{k}"] = _safe_ratio(sums(hits), pairs["relevant"])
    return table


def _group_sums(group: np.ndarray, column: np.ndarray, count: int) -> np.ndarray:
    """float64[count]: the sum of a column over each group."""
    return np.bincount(group, column.astype(np.float64), minlength=count)


def _safe_ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """float64[n]: part / whole, NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
