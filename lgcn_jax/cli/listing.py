"""Results for the terminal: columns side by side, cut to its width."""

import os
import sys
import unicodedata
from collections.abc import Sequence

import numpy as np


def terminal_width() -> int | None:
    """The columns of the terminal that is written to; None where it is none, and nothing has to be cut."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def format_columns(columns: dict[str, np.ndarray], width: int | None, grouping: str = "") -> str:
    """A heading and a line for each row: numbers at the right, texts at the left, scores to four digits.

    Args:
      columns: by their headings, all equally long.
      width: where lines are cut; None: nowhere.
      grouping: what stands between thousands; of ids nothing.
    """
    shown = {
        name: [name, *(_format_cell(each, grouping) for each in column.tolist())] for name, column in columns.items()
    }
    aligned = [_align_column(cells, columns[name].dtype.kind in "iuf") for name, cells in shown.items()]
    return "\n".join(truncate_line("  ".join(row).rstrip(), width) for row in zip(*aligned, strict=True))


def truncate_line(line: str, width: int | None) -> str:
    """The line, or where it is wider than `width` its beginning and an ellipsis."""
    if width is None or display_width(line) <= width:
        return line
    kept, used = [], 1
    for letter in line:
        used += display_width(letter)
        if used > width:
            break
        kept.append(letter)
    return "".join(kept) + "…"


def display_width(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide letter, none for an accent of the one before."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF") for each in text)


def _format_cell(value, grouping: str) -> str:
    if isinstance(value, float):
        return f"{value:{grouping}.4f}"
    if isinstance(value, int):
        return f"{value:{grouping}d}"
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _align_column(cells: Sequence[str], right: bool) -> list[str]:
    width = max(map(display_width, cells))
    padding = [" " * (width - display_width(cell)) for cell in cells]
    return [space + cell if right else cell + space for cell, space in zip(cells, padding, strict=True)]
