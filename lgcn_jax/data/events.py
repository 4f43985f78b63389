"""What a source holds: events, each of a user and an item, by raw id."""

import dataclasses

import numpy as np

from lgcn_jax.data.ids import IdColumn

PARTS = ("train", "valid", "test")
# What a part is called, in the names of files and in columns.
PART_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PART_NAMES |= dict.fromkeys(("valid", "val", "validation", "dev"), "valid")


@dataclasses.dataclass(frozen=True)
class Events:
    """Events in the order of their source, one row each.

    Attributes:
      users, items: their raw ids; ids without a row are those of users or items that are listed without an event.
      values: other columns of n rows by what they hold: 'time' int64 or float64, 'weight' float64, 'rating' float64,
        'label' bool, 'split' int8, a place in PARTS.
      notes: counts of what was met and handled on the way (empty lines, Windows line ends, ...).
      remarks: sentences about how it was read.
      format: how it was read.
      times_are_dates: whether times are microseconds since 1970, made of dates; else they are numbers as the source has
        them.
    """

    users: IdColumn
    items: IdColumn
    values: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: dict[str, int] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    format: str = "pairs"
    times_are_dates: bool = False

    def __len__(self) -> int:
        return len(self.users.codes)

    @property
    def weight(self) -> np.ndarray | None:
        """The weight of each event, None where all weigh 1."""
        return self.values.get("weight")

    def take(self, rows: np.ndarray) -> "Events":
        """The given rows (a mask, or places); ids stay as they are."""
        users, items = (column._replace(codes=column.codes[rows]) for column in (self.users, self.items))
        return dataclasses.replace(self, users=users, items=items, values=_take_rows(self.values, rows))

    def with_notes(self, **counts: int) -> "Events":
        """With further notes; underscores of a name stand for spaces."""
        return dataclasses.replace(self, notes=self.notes | {k.replace("_", " "): v for k, v in counts.items()})


def no_events() -> Events:
    """No event."""
    none = IdColumn(np.zeros(0, np.int32), np.zeros(0, np.int32))
    return Events(none, none)


def concatenate_events(users: IdColumn, items: IdColumn, sources: list[Events]) -> Events:
    """Several sources one after the other, whose ids were brought together in `users` and `items`."""
    values = {name: np.concatenate([part.values[name] for part in sources]) for name in sources[0].values}
    notes: dict[str, int] = {}
    for part in sources:
        for note, count in part.notes.items():
            notes[note] = notes.get(note, 0) + count
    remarks = tuple(dict.fromkeys(remark for part in sources for remark in part.remarks))
    return Events(users, items, values, notes, remarks, sources[0].format, sources[0].times_are_dates)


def _take_rows(values: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: column[rows] for name, column in values.items()}
