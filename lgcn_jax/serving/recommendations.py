"""Lists of recommended items, in the raw ids of the data set."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Recommendations:
    """A list of items for each user, best first.

    Where a user has fewer items left than were asked for, the list ends with scores of -inf, whose ids mean nothing;
    tables leave them out.

    >>> import numpy as np
    >>> found = Recommendations(np.array([7]), np.array([[3, 1]]), np.array([[0.9, -np.inf]], np.float32))
    >>> {name: column.tolist() for name, column in found.columns().items() if name != "score"}
    {'user': [7], 'item': [3], 'rank': [1]}

    Attributes:
      users: [n], the users' raw ids.
      ids: [n, k], the items' raw ids.
      scores: float32[n, k].
    """

    users: np.ndarray
    ids: np.ndarray
    scores: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """The lists below each other: user, item, score, and rank from 1."""
        users, k = np.repeat(self.users, self.ids.shape[1]), self.ids.shape[1]
        rank = np.tile(np.arange(1, k + 1, dtype=np.int32), len(self.users))
        kept = np.isfinite(self.scores).ravel()
        columns = {"user": users, "item": self.ids.ravel(), "score": self.scores.ravel(), "rank": rank}
        return {name: column[kept] for name, column in columns.items()}

    def to_pandas(self) -> Any:
        """A pandas.DataFrame of `columns`."""
        import pandas

        return pandas.DataFrame(self.columns())

    def to_polars(self) -> Any:
        """A polars.DataFrame of `columns`."""
        import polars

        return polars.DataFrame(self.columns())

    def to_arrow(self) -> Any:
        """A pyarrow.Table of `columns`."""
        import pyarrow

        return pyarrow.table(self.columns())
