"""A section of the page, and the cards that it may hold."""

import dataclasses
from collections.abc import Sequence

from lgcn_jax.reporting.charts import Chart, Grid


@dataclasses.dataclass(frozen=True)
class Label:
    """A user or an item: a title, and a raw id where that says more."""

    title: str
    id: str = ""


@dataclasses.dataclass(frozen=True)
class RecommendedItem:
    """An item of a list: its score, and whether it was held out, and so found."""

    item: Label
    score: str
    hit: bool


@dataclasses.dataclass(frozen=True)
class UserCard:
    """A user's history beside their recommendations; `more` are items that are only counted, `missed` held-out items
    that are not in the list. `opened`: whether it is seen without a click."""

    name: str
    user: Label
    summary: str
    history: Sequence[Label]
    more: int
    recommended: Sequence[RecommendedItem]
    missed: Sequence[Label]
    missed_more: int
    opened: bool


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with what stands below it, in this order.

    Attributes:
      name: in the page's addresses.
      title: the heading.
      sentences, remarks: texts.
      charts, beside: charts, several in a row, with tables among them.
      wide: charts as wide as the page.
      tables, folded: tables below them, open or to be opened.
      cards: users with their lists.
      language: of its texts, where it is not that of the page: 'zh-Hans'.
    """

    name: str
    title: str
    sentences: Sequence[str] = ()
    remarks: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    beside: Sequence[Grid] = ()
    wide: Sequence[Chart] = ()
    tables: Sequence[Grid] = ()
    folded: Sequence[Grid] = ()
    cards: Sequence[UserCard] = ()
    language: str = ""
