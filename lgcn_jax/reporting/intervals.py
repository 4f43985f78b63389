"""Charts of differences: intervals below each other about a line at nothing, and a table of cells."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from lgcn_jax.reporting import numerals
from lgcn_jax.reporting.charts import WIDTH, Chart, Grid, picture
from lgcn_jax.reporting.scales import round_to_ticks, scale_covering
from lgcn_jax.reporting.svg import tag

ROW, EDGE, FOOT = 36, 26, 22  # of a row of intervals, beside them, and below them
STRONGEST = 0.42  # opacity of the cell farthest from nothing: text upon it can still be read


@dataclasses.dataclass(frozen=True)
class Interval:
    """A difference from `low` to `high` about `middle`; NaN where it has no ends.

    Attributes:
      label: what differs from what.
      note: how many pairs there are, or the like.
      pairs: the difference of each pair, drawn as a dot.
    """

    label: str
    middle: float
    low: float
    high: float
    note: str = ""
    pairs: Sequence[float] = ()


def interval_chart(
    name: str,
    title: str,
    sentence: str,
    rows: Sequence[Interval],
    *,
    row_label: str,
    show: Callable[[float], str] = numerals.difference,
) -> Chart:
    """A row for each interval, with a line at zero: a forest plot."""
    values = np.array([value for row in rows for value in (row.middle, row.low, row.high, *row.pairs)])
    across = round_to_ticks(scale_covering(values[np.isfinite(values)], EDGE, WIDTH - EDGE, zero=True), 4)
    bottom = len(rows) * ROW + 4
    inside = [tag("line", x1=across(t), x2=across(t), y1=2, y2=bottom, class_="grid") for t in across.ticks(4)]
    inside += [tag("text", show(t), x=across(t), y=bottom + 15, class_="x") for t in across.ticks(4)]
    inside.append(tag("line", x1=across(0), x2=across(0), y1=2, y2=bottom, class_="zero"))
    for number, row in enumerate(rows):
        top = number * ROW
        y = top + 25
        told = [tag("title", f"{row.label}: {format_interval(row, show)}")]
        inside.append(tag("text", row.label, x=4, y=top + 14, class_="says"))
        inside.append(tag("text", show(row.middle), x=WIDTH - 4, y=top + 14, class_="says end"))
        inside += [tag("circle", cx=across(value), cy=y, r=2.5, class_="pair") for value in row.pairs]
        if np.isfinite([row.low, row.high]).all():
            inside.append(tag("line", x1=across(row.low), x2=across(row.high), y1=y, y2=y, class_="range"))
        inside.append(tag("circle", told, cx=across(row.middle), cy=y, r=4.5, class_="middle"))
    head = [row_label, "difference", "from", "to", "of"]
    table = [[r.label, *map(show, (r.middle, r.low, r.high)), r.note] for r in rows]
    drawn = picture(name, title, sentence, inside, bottom + FOOT)
    return Chart(name, title, sentence, drawn, [], Grid(title, head, table))


def format_interval(row: Interval, show: Callable[[float], str] = numerals.difference) -> str:
    """+.0012 (from -.0003 to +.0027, 10 seeds), as far as it is known."""
    about = [f"from {show(row.low)} to {show(row.high)}"] if np.isfinite([row.low, row.high]).all() else []
    about += [row.note] if row.note else []
    return show(row.middle) + (f" ({', '.join(about)})" if about else "")


def heatmap(
    name: str,
    title: str,
    sentence: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    *,
    row_label: str,
    column_label: str,
    show: Callable[[float], str] = numerals.difference,
) -> Chart:
    """Cells float[rows, columns], the stronger the farther from zero, in another color below it; NaN: an empty cell."""
    left, top, high = 62, 24, 34
    wide = (WIDTH - left - 4) / len(columns)
    known = values[np.isfinite(values)]
    largest = max(float(np.abs(known).max()) if len(known) else 0.0, 1e-12)
    inside = [tag("text", column_label, x=(left + WIDTH - 4) / 2, y=10, class_="x label")]
    inside += [tag("text", c, x=left + (n + 0.5) * wide, y=top, class_="x") for n, c in enumerate(columns)]
    for place, row in enumerate(rows):
        y = top + 6 + place * high
        inside.append(tag("text", row, x=left - 8, y=y + high / 2 + 4, class_="name"))
        for number, value in enumerate(values[place].tolist()):
            finite = np.isfinite(value)
            said = tag("title", f"{row_label} {row}, {column_label} {columns[number]}: {show(value)}")
            kind = "cell below" if finite and value < 0 else "cell"
            strength = round(STRONGEST * abs(value) / largest, 3) if finite else 0.0
            box = {"x": left + number * wide, "y": y, "width": wide, "height": high}
            inside.append(tag("rect", [said], class_=kind, fill_opacity=f"{strength:g}", **box))
            middle = {"x": left + (number + 0.5) * wide, "y": y + high / 2 + 4}
            inside.append(tag("text", show(value), class_="inside", **middle))
    inside.append(tag("text", row_label, x=left - 8, y=top, class_="name"))
    table = [[row, *map(show, values[place].tolist())] for place, row in enumerate(rows)]
    grid = Grid(title, [f"{row_label} \\ {column_label}", *columns], table)
    drawn = picture(name, title, sentence, inside, top + 10 + len(rows) * high)
    return Chart(name, title, sentence, drawn, [], grid)
