"""The figure of the table: recall@20 of all models against the seconds of the command, on a logarithmic axis."""

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import leaderboard_tables as tables
import numpy as np
from leaderboard_facts import Row
from leaderboard_tables import GOALS
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lgcn_jax.system import files

# Told apart without colors, too: by their darkness, their strokes and their names at the ends.
STYLES = (
    ("#000000", "-"),
    ("#0072b2", "--"),
    ("#b34700", "-."),
    ("#00775a", ":"),
    ("#7a3e8e", (0, (5, 1, 1, 1, 1, 1))),
    ("#8a6d00", (0, (7, 2))),
)
TICKS = {1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36000: "10 h"}
POINT, LEVEL = "#303030", "#707070"
LOWEST = 0.8  # of the goal: what is below is told in words
HEIGHT = 10.5  # points from one line of text to the next
GLYPH = 4.4  # points, about the width of a letter
LONGEST = 40  # letters of a label
MOVES = tuple(3 * step for step in range(-20, 21))  # points by which a text may move


@dataclasses.dataclass
class Label:
    """A text beside a place, both in points from the corner of the axes; it may move up or down."""

    text: str
    x: float
    y: float
    color: str
    at: tuple[float, float]

    @property
    def width(self) -> float:
        return GLYPH * len(self.text)

    def overlaps(self, other: "Label") -> bool:
        """Whether one would cover the other."""
        apart = max(self.x, other.x) >= min(self.x + self.width, other.x + other.width)
        return not apart and abs(self.y - other.y) < HEIGHT


def write(rows: Sequence[Row], published: dict[str, Any], path: Path) -> None:
    """Writes the figure in the format that the name of the file says, with the same bytes each time."""
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "leaderboard", "svg.fonttype": "none", "font.size": 8.5}):
        figure = draw(rows, published)
        dated = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(content, format=path.suffix[1:], dpi=130, metadata=dated)
    files.write(path, content.getvalue())


def draw(rows: Sequence[Row], published: dict[str, Any]) -> Figure:
    """A panel for each data set, one below the other, with the same axis of time."""
    names = tables.datasets(rows)
    tall = 4.4 * len(names)
    figure = Figure(figsize=(8.6, tall))
    figure.subplots_adjust(left=0.08, right=0.83, top=1 - 0.35 / tall, bottom=0.5 / tall, hspace=0.3)
    panels = figure.subplots(len(names), 1, squeeze=False)[:, 0]
    times = [run.before + at for row in rows for run in row.runs for at in run.at]
    span = 0.6 * min(times), 5 * max(times)
    for axes, name in zip(panels, names, strict=True):
        _panel(axes, tables.ordered(rows, name), published["levels"].get(name, {}), name, span)
    return figure


def _panel(axes: Axes, rows: Sequence[Row], levels: dict[str, float], dataset: str, span: tuple[float, float]) -> None:
    named = list(zip(rows, tables.labels(rows), strict=True))
    lowest = LOWEST * GOALS.get(dataset, 0)
    shown = [(row, label) for row, label in named if max(max(run.recalls) for run in row.runs) >= lowest]
    below = [f"{label} {tables.decimal(row.mean('recall'))}" for row, label in named if (row, label) not in shown]
    heights = [value for row, _ in shown for run in row.runs for value in run.recalls if value >= lowest]
    _frame(axes, heights + list(levels.values()) or [lowest], span, dataset)
    curves = iter(STYLES * len(rows))
    found = [_series(axes, row, label, curves) for row, label in shown] + _levels(axes, levels)
    _write_labels(axes, found)
    told = [f"below the picture: {', '.join(below)}"] if below else []
    if any(run.chosen == "valid" for row, _ in shown for run in row.runs):
        told.append("open: solved; filled: the end of a training whose epoch was chosen on the validation part")
    axes.text(0.995, 0.015, "\n".join(told), ha="right", color=LEVEL, transform=axes.transAxes)


def _frame(axes: Axes, heights: Sequence[float], span: tuple[float, float], dataset: str) -> None:
    """Axes with their limits, so that places in points are known before anything is drawn."""
    margin = 0.06 * (max(heights) - min(heights)) + 1e-4
    axes.set(xscale="log", xlim=span, ylim=(min(heights) - margin, max(heights) + margin))
    axes.set_title(f"{dataset}, test part", loc="left", fontsize=9.5)
    axes.set(xlabel="time since the command was started", ylabel="recall@20")
    ticks = [tick for tick in TICKS if span[0] <= tick <= span[1]]
    axes.set_xticks(ticks, [TICKS[tick] for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _series(axes: Axes, row: Row, label: str, styles: Iterator[tuple]) -> Label:
    """A curve for each run of a row, or a point where there is but one evaluation: an open one of a solved model."""
    trained = any(run.chosen for run in row.runs)
    curved = any(len(run.at) > 1 for run in row.runs)
    color, stroke = next(styles) if curved else (POINT, "-")
    for run in row.runs:
        x = [run.before + at for at in run.at]
        if len(x) > 1:
            axes.plot(x, run.recalls, color=color, linestyle=stroke, linewidth=1.4, zorder=3)
        else:
            inside = color if trained else "white"
            axes.plot(x, run.recalls, "o", color=color, markerfacecolor=inside, markersize=5, zorder=3)
    last = max(row.runs, key=lambda run: run.before + run.at[-1])
    x, y = _points(axes, last.before + last.at[-1], last.recalls[-1])
    return Label(_called(row, label), x + 6, y, color, (x, y))


def _called(row: Row, label: str) -> str:
    """The label with its loss; where all that tells it apart is long, the name of the row does."""
    name, bracket, differs = label.partition(" (")
    kind = f"{name}, {row.loss}" if row.loss and not row.label else name
    return f"{kind}{bracket}{differs}" if len(label) <= LONGEST else f"{kind} ({row.name})"


def _levels(axes: Axes, levels: dict[str, float]) -> list[Label]:
    """Thin lines at what others have published, named at the right."""
    right = _points(axes, axes.get_xlim()[1], 1)[0]
    ends = []
    for name, value in levels.items():
        axes.axhline(value, color=LEVEL, linewidth=0.6, linestyle=(0, (1, 3)), zorder=1)
        y = _points(axes, 1, value)[1]
        ends.append(Label(f"{name} {tables.decimal(value)}", right + 5, y, LEVEL, (right, y)))
    axes.text(1.012, 1.03, "published" if levels else "", color=LEVEL, transform=axes.transAxes)
    return ends


def _write_labels(axes: Axes, found: list[Label]) -> None:
    """Texts that cover neither each other nor a curve, each with a thin line to its place where it had to move."""
    curves = [_along(axes, *line.get_xydata().T) for line in axes.get_lines() if line.get_zorder() == 3]
    drawn = np.concatenate([np.zeros((0, 2)), *curves])
    placed: list[Label] = []
    for label in sorted(found, key=lambda label: -label.y):
        moved = [dataclasses.replace(label, y=label.y + by) for by in MOVES]
        placed.append(min(moved, key=lambda each: _cost(each, placed, drawn)))
    inches, behind = axes.figure.dpi_scale_trans, {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6}
    for label in placed:
        where = {"va": "center", "transform": inches, "clip_on": False, "zorder": 4, "bbox": behind}
        axes.text(label.x / 72, label.y / 72, label.text, color=label.color, **where)
        if abs(label.y - label.at[1]) > HEIGHT:
            x, y = ([a / 72, b / 72] for a, b in zip(label.at, (label.x - 1, label.y), strict=True))
            quiet = {"linewidth": 0.4, "clip_on": False, "scalex": False, "scaley": False}
            axes.plot(x, y, color=label.color, transform=inches, **quiet)


def _cost(label: Label, placed: list[Label], drawn: np.ndarray) -> float:
    """What speaks against a place: other texts above all, then curves, then how far it has moved."""
    beside = (drawn[:, 0] > label.x - 1) & (drawn[:, 0] < label.x + label.width)
    covered = (beside & (abs(drawn[:, 1] - label.y) < HEIGHT / 2)).sum()
    return 1000 * sum(map(label.overlaps, placed)) + 8 * covered + abs(label.y - label.at[1])


def _along(axes: Axes, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float[n, 2]: places about three points apart along a curve, from the corner of the figure."""
    corners = np.array([_points(axes, *place) for place in zip(x, y, strict=True)])
    passed = np.append(0, np.hypot(*np.diff(corners, axis=0).T).cumsum())
    at = np.linspace(0, passed[-1], max(2, int(passed[-1] / 3)))
    return np.column_stack([np.interp(at, passed, column) for column in corners.T])


def _points(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """A place of the data in points from the lower left corner of the figure."""
    inches = axes.figure.dpi_scale_trans.inverted().transform(axes.transData.transform((x, y)))
    return 72 * inches[0], 72 * inches[1]
