"""Charts: lines, steps, bars and points. Each comes with a sentence and with the table of its values.

A chart is drawn for the width of a phone; wide windows show several in a row. Colors and type are those of the page's
style sheet, by class: `s0` is the accent, `s1`, `s2`, .. are what it is held against.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from markupsafe import Markup

from lgcn_jax.reporting import numerals
from lgcn_jax.reporting.scales import Scale, round_to_ticks, scale_covering
from lgcn_jax.reporting.svg import path_data, tag

WIDTH, HEIGHT = 380, 230
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 10, 40
FEW = 26  # points up to which each has a mark
KINDS = 5  # classes of series
ROWS = 400  # values of a line that are drawn and listed


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table: what it shows, its columns' names, and rows of texts, of which the first names the row."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: bool = True  # whether numbers stand at the right


@dataclasses.dataclass(frozen=True)
class Chart:
    """A picture of a table.

    Attributes:
      name: in the page's addresses.
      title: of a few words.
      sentence: what is to be seen.
      picture: an svg element.
      legend: the names of its series with their classes.
      grid: the values.
      kind: what the classes are those of: 'line', 'bar' or 'point'.
    """

    name: str
    title: str
    sentence: str
    picture: Markup
    legend: Sequence[tuple[str, str]]
    grid: Grid
    kind: str = "line"


@dataclasses.dataclass(frozen=True)
class Series:
    """A named line: values float[n] at x float[n], NaN where it has none; `low` and `high` are its band's edges."""

    name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """All its values that are numbers."""
        values = np.concatenate([each for each in (self.y, self.low, self.high) if each is not None])
        return values[np.isfinite(values)]


def thin_indices(count: int) -> np.ndarray:
    """Places of at most ROWS values, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, ROWS)).round().astype(int))


def line_chart(
    name: str,
    title: str,
    sentence: str,
    series: Sequence[Series],
    *,
    x_label: str,
    show: Callable[[float], str] = numerals.amount,
    show_axis: Callable[[float], str] = numerals.amount,
    log_x: bool = False,
    log_y: bool = False,
    zero: bool = False,
    mark: tuple[float, float, str] | None = None,
    x_ticks: Sequence[float] = (),
) -> Chart:
    """Lines over a common axis; `show` writes values, `show_axis` those of the axis, `mark` is a place (x, y, text)."""
    classes = [f"s{number % KINDS}" for number in range(len(series))]
    x = np.unique(np.concatenate([each.x for each in series]))
    x = x[thin_indices(len(x))]
    across = scale_covering(x, LEFT + 4, WIDTH - RIGHT - 4, log=log_x)
    known = np.concatenate([each.known for each in series])
    up = round_to_ticks(scale_covering(known, HEIGHT - BOTTOM, TOP + 4, log=log_y, zero=zero), 5)
    drawn = [_draw_line(each, x, across, up, kind) for each, kind in zip(series, classes, strict=True)]
    at = [dict(zip(each.x.tolist(), each.y.tolist(), strict=True)) for each in series]
    rows = [[numerals.amount(v), *(show(values.get(v, float("nan"))) for values in at)] for v in x.tolist()]
    grid = Grid(title, [x_label, *(each.name for each in series)], rows)
    inside = [
        *_draw_axes(across, up, x_label, x_ticks, show_axis),
        *(_draw_spread(each, x, across, up, kind) for each, kind in zip(series, classes, strict=True)),
        *drawn[::-1],
        *_draw_mark(mark, across, up),
        *_hover_bands(x, across, grid),
    ]
    legend = list(zip((each.name for each in series), classes, strict=True))
    return Chart(name, title, sentence, picture(name, title, sentence, inside), legend, grid)


def histogram_chart(
    name: str, title: str, sentence: str, edges: np.ndarray, shares: dict[str, np.ndarray], *, x_label: str
) -> Chart:
    """Outlines of histograms with common edges float[n + 1]: float[n], the share of each series in each bin."""
    across = scale_covering(edges, LEFT + 4, WIDTH - RIGHT - 4)
    up = round_to_ticks(scale_covering(np.concatenate(list(shares.values())), HEIGHT - BOTTOM, TOP + 4, zero=True), 5)
    drawn = []
    for number, values in enumerate(shares.values()):
        outline = _outline_path(edges, values, across, up)
        drawn += [tag("path", d=outline, class_=f"line s{number}")]
        drawn += [tag("path", d=outline, class_="area s0")] if number == 0 else []
    ranges = [f"{numerals.amount(a)} to {numerals.amount(b)}" for a, b in itertools.pairwise(edges.tolist())]
    rows = [[r, *(numerals.percent(v[n]) for v in shares.values())] for n, r in enumerate(ranges)]
    grid = Grid(title, [x_label, *shares], rows)
    bands = _hover_bands((edges[1:] + edges[:-1]) / 2, across, grid)
    inside = [*_draw_axes(across, up, x_label, show=numerals.share), *drawn[::-1], *bands]
    legend = [(label, f"s{number}") for number, label in enumerate(shares)]
    return Chart(name, title, sentence, picture(name, title, sentence, inside), legend, grid)


def bar_chart(
    name: str,
    title: str,
    sentence: str,
    labels: Sequence[str],
    values: dict[str, np.ndarray],
    *,
    row_label: str,
    show: Callable[[float], str] = numerals.metric,
    more: Mapping[str, Sequence[str]] | None = None,
) -> Chart:
    """Horizontal bars, those of a label below each other; `more` are columns of texts that only the table shows."""
    classes = [f"s{number % KINDS}" for number in range(len(values))]
    few = len(labels) <= 5
    thick = 15 if few else 9
    step, left = thick * len(values) + (16 if few else 8), 108
    height = len(labels) * step + 8
    known = np.nan_to_num(np.concatenate(list(values.values())))
    across = scale_covering(known, left, WIDTH - 60, zero=True)
    inside, figures = [tag("line", x1=left, x2=left, y1=2, y2=height - 4, class_="axis")], []
    for row, label in enumerate(labels):
        top = row * step + 6
        inside.append(tag("text", label, x=left - 8, y=top + thick * len(values) / 2 + 4, class_="name"))
        for place, ((series, column), kind) in enumerate(zip(values.items(), classes, strict=True)):
            y, value = top + place * thick, float(column[row])
            end = across(0 if np.isnan(value) else value)
            title_of = tag("title", f"{row_label} {label}, {series}: {show(value)}")
            size = {"width": max(end - left, 0.5), "height": thick - 2}
            inside.append(tag("rect", [title_of], x=left, y=y, class_=f"bar {kind}", **size))
            if place == 0 or few:
                figures.append(tag("text", show(value), x=end + 5, y=y + thick / 2 + 3, class_="value"))
    inside += figures  # over the bars
    columns = {**(more or {}), **{series: [show(float(v)) for v in column] for series, column in values.items()}}
    rows = [[label, *(column[row] for column in columns.values())] for row, label in enumerate(labels)]
    grid = Grid(title, [row_label, *columns], rows)
    legend = list(zip(values, classes, strict=True))
    return Chart(name, title, sentence, picture(name, title, sentence, inside, height), legend, grid, "bar")


def scatter_chart(
    name: str,
    title: str,
    sentence: str,
    xy: np.ndarray,
    kinds: Sequence[int],
    titles: Sequence[str],
    grid: Grid,
    legend: Sequence[tuple[str, str]],
) -> Chart:
    """Points in the plane, drawn in their order; `kinds` are their classes `p0`, `p1`, .."""
    width, height, edge = 720, 440, 10
    across, up = scale_covering(xy[:, 0], edge, width - edge), scale_covering(xy[:, 1], height - edge, edge)
    inside = [
        tag("circle", [tag("title", title)], cx=across(x), cy=up(y), r=2.5 + kind / 2, class_=f"p{kind}")
        for (x, y), kind, title in zip(xy.tolist(), kinds, titles, strict=True)
    ]
    return Chart(name, title, sentence, picture(name, title, sentence, inside, height, width), legend, grid, "point")


def picture(
    name: str, title: str, sentence: str, inside: Sequence[Markup], height: int = HEIGHT, width: int = WIDTH
) -> Markup:
    told = [tag("title", title, id=f"{name}-title"), tag("desc", sentence, id=f"{name}-desc")]
    box = {"viewBox": f"0 0 {width} {height}", "role": "img"}
    return tag("svg", [*told, *inside], aria_labelledby=f"{name}-title", aria_describedby=f"{name}-desc", **box)


def _draw_axes(
    across: Scale,
    up: Scale,
    x_label: str,
    x_ticks: Sequence[float] = (),
    show: Callable[[float], str] = numerals.amount,
) -> list[Markup]:
    bottom, drawn = HEIGHT - BOTTOM, []
    for tick in up.ticks(5):
        y = up(tick)
        drawn.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        drawn.append(tag("text", show(tick), x=LEFT - 6, y=y + 4, class_="y"))
    for tick in x_ticks or across.ticks(5):
        drawn.append(tag("text", numerals.amount(tick), x=across(tick), y=bottom + 17, class_="x"))
    drawn.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis"))
    return [*drawn, tag("text", x_label, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 4, class_="x label")]


def _draw_line(series: Series, x: np.ndarray, across: Scale, up: Scale, kind: str) -> Markup:
    """A line through what is known of the series at x, with marks where it is little."""
    kept = np.isin(series.x, x) & np.isfinite(series.y)
    at = [(across(a), up(b)) for a, b in zip(series.x[kept].tolist(), series.y[kept].tolist(), strict=True)]
    drawn = [tag("path", d=path_data(at), class_=f"line {kind}")] if at else []
    marks = at if len(at) <= FEW else []
    return Markup("").join([*drawn, *(tag("circle", cx=a, cy=b, r=2.5, class_=f"dot {kind}") for a, b in marks)])


def _draw_spread(series: Series, x: np.ndarray, across: Scale, up: Scale, kind: str) -> Markup:
    """The band between the edges of a series, where it has any."""
    if series.low is None or series.high is None:
        return Markup("")
    kept = np.isin(series.x, x) & np.isfinite(series.low) & np.isfinite(series.high)
    places = [across(value) for value in series.x[kept].tolist()]
    edges = [*zip(places, map(up, series.high[kept].tolist()), strict=True)]
    edges += [*zip(places, map(up, series.low[kept].tolist()), strict=True)][::-1]
    return tag("path", d=path_data(edges) + "Z", class_=f"area {kind}") if edges else Markup("")


def _outline_path(edges: np.ndarray, values: np.ndarray, across: Scale, up: Scale) -> str:
    """The way around a histogram, from the axis to the axis."""
    x, y = np.repeat(edges, 2), np.pad(np.repeat(values, 2), 1)
    return path_data([(across(a), up(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)])


def _draw_mark(mark: tuple[float, float, str] | None, across: Scale, up: Scale) -> list[Markup]:
    if mark is None:
        return []
    x, y = across(mark[0]), up(mark[1])
    side = {"x": x - 9, "class_": "note before"} if x > WIDTH / 2 else {"x": x + 9, "class_": "note"}
    return [tag("circle", cx=x, cy=y, r=5, class_="best"), tag("text", mark[2], y=y + 18, **side)]


def _hover_bands(x: np.ndarray, across: Scale, grid: Grid) -> list[Markup]:
    """An unseen band around each x, whose title tells the values of all series there."""
    places = [across(value) for value in x.tolist()]
    between = [LEFT, *((a + b) / 2 for a, b in itertools.pairwise(places)), WIDTH - RIGHT]
    drawn = []
    for row, (start, stop, place) in enumerate(zip(between[:-1], between[1:], places, strict=True)):
        values = zip(grid.head, grid.rows[row], strict=True)
        told = tag("title", ", ".join(f"{name} {value}" for name, value in values if value != numerals.NONE))
        size = {"x": start, "width": max(stop - start, 0.1), "y": TOP, "height": HEIGHT - BOTTOM - TOP}
        drawn.append(tag("rect", [told], class_="band", data_x=place, **size))
    return drawn
