"""The picture of a search: the importance of each setting, and what each trial reached."""

from collections.abc import Mapping
from typing import Any, BinaryIO

from lgcn_jax.system import extras

DARK, LIGHT = "0.2", "0.65"


def draw_search(
    file: BinaryIO,
    kind: str,
    importance: Mapping[str, float],
    values: Mapping[int, float],
    completed: set[int],
    metric: str,
) -> None:
    """Draws both panels into a file.

    Args:
      kind: 'svg', 'png' or 'pdf'.
      importance: of each setting, the largest first.
      values: of each trial, by number.
      completed: the numbers of trials that were not ended early, which are drawn dark.
      metric: what the values are of.
    """
    matplotlib = extras.import_extra("matplotlib")
    rows = max(len(importance), 3)
    with matplotlib.rc_context({"svg.hashsalt": "search", "svg.fonttype": "none", "font.size": 9}):
        figure = extras.import_extra("matplotlib.figure").Figure(figsize=(9, 1.6 + 0.3 * rows), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_bars(left, importance)
        _draw_points(right, values, completed, metric)
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _draw_bars(axes: Any, importance: Mapping[str, float]) -> None:
    names = list(importance)[::-1]
    axes.barh(names, [importance[name] for name in names], color=DARK, height=0.6)
    axes.set(xlim=(0, 1), title="importance of each setting" if names else "too few trials for importance")
    axes.set_xlabel("share (PED-ANOVA)")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_points(axes: Any, values: Mapping[int, float], completed: set[int], of: str) -> None:
    best: dict[int, float] = {}
    for label, color, chosen in (("pruned", LIGHT, values.keys() - completed), ("completed", DARK, completed)):
        numbers = sorted(chosen & values.keys())
        if numbers:
            axes.plot(numbers, [values[number] for number in numbers], "o", markersize=4, color=color, label=label)
    for number in sorted(completed & values.keys()):
        best[number] = max(values[number], *best.values()) if best else values[number]
    axes.step(list(best), list(best.values()), where="post", color=DARK, linewidth=1, label="best so far")
    axes.set(xlabel="trial", title=of)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
