"""What a source holds: events, each of a user and an item, by raw id."""

import dataclasses

import numpy as np

from lgcn_jax.data.ids import IdColumn


@dataclasses.dataclass(frozen=True)
class Events:
    """Events in the order of their source, one row each.

    Attributes:
      users, items: their raw ids; ids without a row are those of users or items that are listed without an event.
      time: float64 or int64[n], None where there is none.
      weight: float32[n], None where all weigh 1.
      notes: counts of what was met and handled on the way (empty lines, Windows line ends, ...).
      remarks: sentences about how it was read.
      format: how it was read, 'adjacency' or 'pairs'.
    """

    users: IdColumn
    items: IdColumn
    time: np.ndarray | None = None
    weight: np.ndarray | None = None
    notes: dict[str, int] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    format: str = "pairs"

    def __len__(self) -> int:
        return len(self.users.codes)

    def take(self, rows: np.ndarray) -> "Events":
        """The given rows (a mask or places); ids stay as they are."""

        def of(column: np.ndarray | None) -> np.ndarray | None:
            return None if column is None else column[rows]

        users, items = (column._replace(codes=column.codes[rows]) for column in (self.users, self.items))
        return dataclasses.replace(self, users=users, items=items, time=of(self.time), weight=of(self.weight))


def nothing() -> Events:
    """No event."""
    none = IdColumn(np.zeros(0, np.int32), np.zeros(0, np.int32))
    return Events(none, none)
