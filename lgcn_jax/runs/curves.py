"""Pictures of a run: metrics and loss over epochs."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_comparison(panels: dict[str, dict[str, dict[int, float]]], path: Path) -> None:
    """Writes panels side by side to `path` (PNG): {title: {label: {epoch: value}}}."""
    path.write_bytes(_png_bytes(plot_comparison(panels)))


def plot_comparison(panels: dict[str, dict[str, dict[int, float]]]) -> "Figure":
    """The panels of `compare`; the first series of each is what the others are held against: open circles."""
    figure = _make_figure(7 * len(panels), 5)
    row = figure.subplots(1, len(panels), squeeze=False)
    for axes, (title, lines) in zip(row[0], panels.items(), strict=True):
        (label, series), *others = lines.items()
        axes.plot(list(series), list(series.values()), "o", markersize=4, markerfacecolor="none", label=label)
        _draw_lines(axes, dict(others), title)
    return figure


def plot_log_log(panels: dict[str, dict[str, dict[float, float]]], xlabels: list[str]) -> bytes:
    """Panels side by side (PNG), both axes logarithmic: {title: {label: {x: value}}}, with what x is in each.

    Series of one measured and one expected thing, `label` and `label, formula`, have one color; the latter is dashed.
    """
    figure = _make_figure(6 * len(panels), 5)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, lines), xlabel in zip(row, panels.items(), xlabels, strict=True):
        _draw_lines(axes, lines, title)
        drawn = {line.get_label(): line for line in axes.get_lines()}
        for label, line in drawn.items():
            measured = drawn.get(label.removesuffix(", formula"), line)
            line.set(color=measured.get_color(), linestyle="-" if measured is line else "--")
        axes.set(xscale="log", yscale="log", xlabel=xlabel)
        axes.legend()
    return _png_bytes(figure)


def plot_run(rows: list[dict]) -> bytes:
    """The curves of a run (PNG) from the lines of its metrics.jsonl."""
    return _png_bytes(plot_progress(rows))


def plot_progress(rows: list[dict]) -> "Figure":
    """Recall, ndcg and the loss's terms over epochs, from the lines of a run's metrics.jsonl."""
    train = [row for row in rows if row["split"] == "train"]
    evaluated = [row for row in rows if row["split"] != "train"]
    names = [name for name in evaluated[0] if "@" in name]
    figure = _make_figure(15, 4.5)
    panels = figure.subplots(1, 3)
    for axes, metric in zip(panels, ("recall", "ndcg"), strict=False):
        lines = {n: {r["epoch"]: r[n] for r in evaluated} for n in names if n.startswith(metric)}
        _draw_lines(axes, lines, f"{metric} ({evaluated[0]['split']} part)")
    # The penalty, whose weight is tiny, would dwarf the other terms.
    terms = [name for name in train[0] if name.startswith("loss_") and name != "loss_l2"]
    terms = {"loss": "total"} | {name: name.removeprefix("loss_") for name in terms}
    _draw_lines(panels[2], {label: {r["epoch"]: r[key] for r in train} for key, label in terms.items()}, "train loss")
    panels[2].set_yscale("log")
    return figure


def _make_figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # when a picture is due; without pyplot, whose backend is the user's

    return Figure(figsize=(width, height), layout="constrained")


def _draw_lines(axes, lines: dict[str, dict[int, float]], title: str) -> None:
    for label, series in lines.items():
        marker = "o" if len(series) <= 25 else None
        axes.plot(list(series), list(series.values()), label=label, marker=marker, markersize=3)
    axes.set(title=title, xlabel="epoch")
    axes.grid(alpha=0.3)
    axes.legend()


def _png_bytes(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    return buffer.getvalue()
