"""What a report tells: plain arrays and texts, filled by `collect`, shown by `page`."""

import dataclasses
from typing import Any

import numpy as np

from lgcn_jax.data.interactions import Interactions

MODEL, POPULAR, TRAIN = "this model", "popularity", "train part"

LISTED = 10  # recommendations that are shown of a user

Table = dict[str, np.ndarray]  # columns of equal length


@dataclasses.dataclass(frozen=True)
class SettingRow:
    """A setting of the run as the command line takes it: its part, value, default and help text."""

    name: str
    part: str
    value: str
    default: str
    help: str


@dataclasses.dataclass(frozen=True)
class Quality:
    """How well a part of the data set is predicted, beside the popularity baseline.

    Attributes:
      split: the part, 'valid' or 'test'.
      k: list lengths, ascending.
      watched: the one of them that groups and lists are shown for.
      num_users: users with an item in the part; only they are evaluated.
      means: for each of MODEL and POPULAR the metrics at every k, as 'recall@20'.
      user_groups: for each of them a row for each group of users: 'up_to' (most interactions), 'users', and metrics.
      item_groups: for each of them a row for each group of items: 'up_to' (most train users of an item), 'items',
        'exposure@k' (share of all recommendations) and 'found@k' (share of the part's pairs).
      lists: for MODEL, POPULAR and TRAIN coverage, average popularity, novelty and Gini of what is recommended, or had.
      scores: float32[n] of each kind of pair: its scores, all or a sample.
      auc: the share of sampled pairs in which a positive is scored above a random unseen item; ties count half.
    """

    split: str
    k: tuple[int, ...]
    watched: int
    num_users: int
    means: dict[str, dict[str, float]]
    user_groups: dict[str, Table]
    item_groups: dict[str, Table]
    lists: dict[str, dict[str, float]]
    scores: dict[str, np.ndarray]
    auc: float


@dataclasses.dataclass(frozen=True)
class ItemMap:
    """Some items in the plane.

    Attributes:
      items: int[n], numbers of the items, the least popular first.
      xy: float[n, 2], their places along the two main directions.
      degrees: int[n], users who have them in the train part.
      explained: the two directions' shares of the variance of all items.
      popular: how many of them were chosen for their popularity; the others were drawn.
      num_items: how many items there are.
    """

    items: np.ndarray
    xy: np.ndarray
    degrees: np.ndarray
    explained: tuple[float, float]
    popular: int
    num_items: int


@dataclasses.dataclass(frozen=True)
class UserLists:
    """A user's history beside what is recommended.

    Attributes:
      user: number of the user.
      history: int[n], numbers of the items of the train part (and the validation part before test), all of them.
      recommended: int[m], numbers of the items recommended, best first.
      scores: float32[m], theirs.
      relevant: int[r], numbers of the items of the part that is evaluated.
    """

    user: int
    history: np.ndarray
    recommended: np.ndarray
    scores: np.ndarray
    relevant: np.ndarray


@dataclasses.dataclass(frozen=True)
class Findings:
    """What the final vectors of one epoch give.

    Attributes:
      epoch: the epoch, 0 where it is not known.
      notes: sentences about which checkpoint this is, where it is not the best one.
      quality: None where the data set has nothing to evaluate on.
      item_map: the items in the plane.
      users: some users with their lists.
    """

    epoch: int
    notes: list[str]
    quality: Quality | None
    item_map: ItemMap
    users: list[UserLists]


@dataclasses.dataclass(frozen=True)
class ReportData:
    """A run, as far as it got.

    Attributes:
      model: the encoder's name.
      status: 'completed', 'interrupted', 'failed', or 'unfinished' where the run has written no result.
      error: why it failed; empty where it did not.
      settings: all settings.
      environment: what environment.json holds, with flat names.
      interactions: the data set.
      rows: the lines of metrics.jsonl.
      result: what result.json holds; empty without one.
      findings: None where no checkpoint has been saved.
    """

    model: str
    status: str
    error: str
    settings: list[SettingRow]
    environment: dict[str, Any]
    interactions: Interactions
    rows: list[dict[str, Any]]
    result: dict[str, Any]
    findings: Findings | None
