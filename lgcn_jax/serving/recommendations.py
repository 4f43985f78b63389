"""Ranked lists in the raw ids of the data set: recommended items of users, and neighbors of items or users."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.runs import raw_ids
from lgcn_jax.serving import tables
from lgcn_jax.system import extras


class RankedLists:
    """Base of what is made of lists, one for each query, best first.

    Where fewer are left than were asked for, a list ends with scores of -inf, whose ids mean nothing; tables leave them
    out, and `lengths` counts the others.
    """

    ids: np.ndarray
    scores: np.ndarray
    titles: np.ndarray | None

    def _queries(self) -> tuple[str, np.ndarray, str]:
        """The name of the column of the queries, the queries, and the name of the column of what was found."""
        raise NotImplementedError

    @property
    def lengths(self) -> np.ndarray:
        """int64[n]: how long each list is; shorter than the k asked for where no more was left."""
        return np.isfinite(self.scores).sum(1)

    def columns(self) -> dict[str, np.ndarray]:
        """The lists below each other: query, what was found, score, rank from 1, and title, where titles are known."""
        name, queries, found = self._queries()
        k, kept = self.ids.shape[1], np.isfinite(self.scores).ravel()
        rank = np.tile(np.arange(1, k + 1, dtype=np.int32), len(queries))
        columns = {name: np.repeat(queries, k), found: self.ids.ravel(), "score": self.scores.ravel(), "rank": rank}
        columns |= {} if self.titles is None else {"title": self.titles.ravel()}
        return {name: column[kept] for name, column in columns.items()}

    def to_arrow(self) -> Any:
        """A pyarrow.Table of `columns`."""
        import pyarrow

        return pyarrow.table({name: raw_ids.arrow_column(column) for name, column in self.columns().items()})

    def to_pandas(self) -> Any:
        """A pandas.DataFrame of `columns`; an InputError where pandas is not installed."""
        extras.import_extra("pandas", "frames")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """A polars.DataFrame of `columns`; an InputError where polars is not installed."""
        return extras.import_extra("polars", "frames").from_arrow(self.to_arrow())

    def write(self, path: str | Path) -> None:
        """Writes `columns` into a file .csv, .jsonl or .parquet, whole or not at all.

        Raises:
          InputError: another ending, or a place where no file can be written.
          WriteError: the disk does not take it.
        """
        tables.write_table(self.to_arrow(), Path(path))


@dataclasses.dataclass(frozen=True)
class Recommendations(RankedLists):
    """A list of items for each user, best first.

    Where a user has fewer items left than were asked for, the list ends with scores of -inf, whose ids mean nothing;
    tables leave them out, and `lengths` counts the others.

    >>> import numpy as np
    >>> found = Recommendations(np.array([7]), np.array([[3, 1]]), np.array([[0.9, -np.inf]], np.float32))
    >>> {name: column.tolist() for name, column in found.columns().items() if name != "score"}
    {'user': [7], 'item': [3], 'rank': [1]}

    Attributes:
      users: [n], the users' raw ids.
      ids: [n, k], the items' raw ids.
      scores: float32[n, k].
      titles: [n, k], what the items are called, None where that is unknown; None: of no item it is known.
      known: bool[n], whether the model knows the user; the others have the most popular items, whose scores are numbers
        of train pairs. None: it knows all.
    """

    users: np.ndarray
    ids: np.ndarray
    scores: np.ndarray
    titles: np.ndarray | None = None
    known: np.ndarray | None = None

    def _queries(self) -> tuple[str, np.ndarray, str]:
        return "user", self.users, "item"


@dataclasses.dataclass(frozen=True)
class Neighbors(RankedLists):
    """The nearest items of each item, or the nearest users of each user; itself is none of them.

    >>> import numpy as np
    >>> found = Neighbors("item", np.array([7]), np.array([[3]]), np.array([[0.9]], np.float32))
    >>> found.to_arrow().column_names, found.ids.tolist()
    (['item', 'neighbor', 'score', 'rank'], [[3]])

    Attributes:
      kind: 'item' or 'user'.
      queries: [n], raw ids of the items, or users, whose neighbors they are.
      ids: [n, k], raw ids of the neighbors.
      scores: float32[n, k], the similarities.
      titles: [n, k], what the neighbors are called, None where that is unknown; None: of none it is known.
    """

    kind: str
    queries: np.ndarray
    ids: np.ndarray
    scores: np.ndarray
    titles: np.ndarray | None = None

    def _queries(self) -> tuple[str, np.ndarray, str]:
        return self.kind, self.queries, "neighbor"
