"""What an evaluation found, user by user and item by item, in the raw ids of the data set."""

import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.evaluation import details, exposure, groups, metrics, ranking
from lgcn_jax.evaluation.details import Details
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.evaluation.task import EvaluationTask, evaluated_users
from lgcn_jax.system import extras, files

METRICS = (*metrics.PER_USER, *exposure.NAMES)


@dataclasses.dataclass(frozen=True)
class ItemCounts:
    """What the lists of the evaluated users hold of each item.

    Attributes:
      ids: [num_items], raw ids.
      degrees: int32[num_items], users who have the item in the train part.
      relevant: int32[num_items], evaluated users for whom it is relevant.
      exposure: int32[num_items] for each k, the users in whose first k items it is.
      hits: int32[num_items] for each k, those of them for whom it is relevant.
      recall: float32[num_items] for each k, its contribution to recall@k, which they sum to.
    """

    ids: np.ndarray
    degrees: np.ndarray
    relevant: np.ndarray
    exposure: dict[int, np.ndarray]
    hits: dict[int, np.ndarray]
    recall: dict[int, np.ndarray]


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """The metrics of each evaluated user, their means, and metrics of all lists together.

    >>> import lgcn_jax as lg
    >>> interactions = lg.read(([1, 2, 3, 3], [7, 7, 7, 8]), test=([1, 2], [8, 8]))
    >>> found = lg.Popularity().fit(interactions).evaluate(interactions, k=1, metrics=("mrr", "gini"), per_user=True)
    >>> found.means()
    {'mrr@1': 1.0, 'gini@1': 0.5}
    >>> {name: column.tolist() for name, column in found.columns().items()}
    {'user': [1, 2], 'degree': [1, 1], 'relevant': [1, 1], 'mrr@1': [1.0, 1.0]}

    Attributes:
      split: the part that was evaluated.
      k: the list lengths.
      metrics: the metrics that were asked for, of METRICS.
      users: [n], raw ids of the users with a relevant item, ascending; only they are evaluated.
      degrees: int32[n], their items in the train part.
      interactions: int32[n], their items in all parts.
      relevant: int32[n], their items in the part evaluated.
      values: float32[n] of every metric of each user, whichever were asked for, as 'recall@20'.
      items: what the lists hold of each item.
      num_users: users of the data set.
      left_out: users asked for who have no item in the part, and are not evaluated.
    """

    split: str
    k: tuple[int, ...]
    metrics: tuple[str, ...]
    users: np.ndarray
    degrees: np.ndarray
    interactions: np.ndarray
    relevant: np.ndarray
    values: dict[str, np.ndarray]
    items: ItemCounts
    num_users: int
    left_out: int

    @property
    def per_user(self) -> dict[str, np.ndarray]:
        """float32[n] of each metric asked for that a single user has."""
        wanted = [f"{name}@{k}" for k in self.k for name in self.metrics]
        return {name: self.values[name] for name in wanted if name in self.values}

    def means(self) -> dict[str, float]:
        """The metrics asked for: means over the users, and metrics of all lists; NaN where it is one of nothing."""
        found: dict[str, float] = {}
        for k in self.k:
            lists = exposure.exposure_metrics(self.items.exposure[k], self.items.degrees, self.num_users)
            for name in self.metrics:
                of_users = self.values.get(f"{name}@{k}")
                found[f"{name}@{k}"] = lists[name] if of_users is None else float(of_users.mean(dtype=np.float64))
        return found

    def columns(self) -> dict[str, np.ndarray]:
        """A row for each user: user, degree (train items), relevant (items to be found), and each metric."""
        return {"user": self.users, "degree": self.degrees, "relevant": self.relevant} | self.per_user

    def to_arrow(self) -> Any:
        """A pyarrow.Table of `columns`."""
        return extras.import_extra("pyarrow").table(self.columns())

    def to_pandas(self) -> Any:
        """A pandas.DataFrame of `columns`."""
        return extras.import_extra("pandas").DataFrame(self.columns())

    def to_polars(self) -> Any:
        """A polars.DataFrame of `columns`."""
        return extras.import_extra("polars").from_arrow(self.to_arrow())

    def save(self, path: str | Path) -> None:
        """Writes `columns` as a parquet file, whole or not at all.

        Raises:
          InputError: the file's name does not end in .parquet, or pyarrow is missing.
          WriteError: the file could not be written.
        """
        path = require_parquet(path, "path")
        content = io.BytesIO()
        extras.import_extra("pyarrow.parquet").write_table(self.to_arrow(), content)
        try:
            files.write(path, content.getvalue())
        except OSError as error:
            raise WriteError(path, error.strerror or error) from None

    def user_groups(self, count: int | Sequence[int] = groups.USER_GROUPS) -> groups.Table:
        """Means by groups of users of about equal interactions in all parts; see `groups.user_group_table`."""
        return groups.user_group_table(self.interactions, self.per_user, count)

    def item_groups(self, count: int | Sequence[int] = groups.ITEM_GROUPS) -> groups.Table:
        """Exposure and recall by groups of items of about equal train interactions; see `groups.item_group_table`."""
        items = self.items
        lists = {k: (items.exposure[k], items.hits[k], items.recall[k]) for k in self.k}
        return groups.item_group_table(items.degrees, items.relevant, lists, count)


def evaluate(
    scorer: Scorer,
    interactions: Interactions,
    split: str,
    ks: tuple[int, ...],
    users: np.ndarray | None = None,
    wanted: Sequence[str] = metrics.NAMES,
) -> EvaluationResult:
    """Ranks all items for the users with an item in the part, on one device.

    Args:
      scorer: the model.
      interactions: the data set.
      split: 'valid' or 'test'.
      ks: list lengths, none above the number of items.
      users: int[m], numbers of the only users that count; None: all.
      wanted: the metrics asked for, of METRICS.
    """
    require_metrics(wanted, "metrics")
    require_evaluated_users(interactions, split, users, "users")
    found = details.evaluate(scorer, EvaluationTask.of(interactions, split, users=users), ks)
    return result_from_details(found, interactions, split, ks, users, wanted)


def evaluate_means(
    scorer: Scorer,
    interactions: Interactions,
    split: str,
    ks: tuple[int, ...],
    users: np.ndarray | None = None,
    wanted: Sequence[str] = metrics.NAMES,
) -> dict[str, float]:
    """`evaluate(..).means()`; where it is enough, by the pass that training makes, and with its very numbers."""
    require_metrics(wanted, "metrics")
    if users is not None or not set(wanted) <= set(metrics.NAMES):
        return evaluate(scorer, interactions, split, ks, users, wanted).means()
    found = ranking.evaluate(scorer, EvaluationTask.of(interactions, split), ks)
    return {f"{name}@{k}": found[f"{name}@{k}"] for k in ks for name in wanted}


def result_from_details(
    details: Details,
    interactions: Interactions,
    split: str,
    ks: tuple[int, ...],
    users: np.ndarray | None,
    wanted: Sequence[str],
) -> EvaluationResult:
    """Host: the result that `details` found; arguments as of `evaluate`."""
    here = jax.device_get(details)
    numbers = evaluated_users(interactions, split, users)
    degrees, valid, test = (csr.degrees(interactions.part(name))[numbers] for name in ("train", "valid", "test"))
    values = np.ascontiguousarray(np.moveaxis(here.values[: len(numbers)], 0, -1))
    relevant = csr.take_rows(interactions.part(split), numbers)
    counts = {name: dict(zip(ks, getattr(here, name), strict=True)) for name in ("exposure", "hits")}
    return EvaluationResult(
        split=split,
        k=ks,
        metrics=tuple(wanted),
        users=interactions.user_ids[numbers],
        degrees=degrees,
        interactions=degrees + valid + test,
        relevant=csr.degrees(relevant),
        values={f"{name}@{k}": values[n, m] for n, k in enumerate(ks) for m, name in enumerate(metrics.PER_USER)},
        items=ItemCounts(
            ids=interactions.item_ids,
            degrees=csr.column_counts(interactions.train, interactions.num_items).astype(np.int32),
            relevant=csr.column_counts(relevant, interactions.num_items).astype(np.int32),
            recall=dict(zip(ks, here.recall / np.float32(max(len(numbers), 1)), strict=True)),
            **counts,
        ),
        num_users=interactions.num_users,
        left_out=(interactions.num_users if users is None else len(np.unique(users))) - len(numbers),
    )


def require_metrics(wanted: Sequence[str], where: str) -> None:
    """Raises an InputError where these are not some distinct METRICS."""
    listed = list(wanted) if isinstance(wanted, Iterable) and not isinstance(wanted, str) else []
    unknown = [name for name in listed if name not in METRICS]
    if unknown or not listed or len(set(listed)) != len(listed):
        raise InputError(where, repr(unknown[0] if unknown else wanted), f"some of {', '.join(METRICS)}, each once")


def require_evaluated_users(interactions: Interactions, split: str, users: np.ndarray | None, where: str) -> None:
    """Raises an InputError where none of the users is evaluated."""
    if users is not None and not len(evaluated_users(interactions, split, users)):
        raise InputError(where, f"{len(np.unique(users))} users without an item in the {split} part", "one with some")


def require_parquet(path: str | Path, where: str) -> Path:
    """The path, if its name ends in .parquet.

    Raises:
      InputError: it does not.
    """
    path = Path(path).expanduser()
    if path.suffix != ".parquet":
        raise InputError(where, repr(path.name), "a file name that ends in .parquet")
    return path
