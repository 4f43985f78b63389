"""Tables as text, for a terminal."""

from collections.abc import Mapping, Sequence

import numpy as np


def format_columns(columns: Mapping[str, Sequence | np.ndarray]) -> str:
    """Columns as aligned text under their names: texts to the left, integers with commas, other numbers to four
    digits."""
    cells = {name: [name, *map(_cell, np.asarray(column).tolist())] for name, column in columns.items()}
    width = {name: max(map(len, column)) for name, column in cells.items()}
    text = {name: np.asarray(column).dtype.kind not in "iuf" for name, column in columns.items()}
    aligned = [
        [cell.ljust(width[name]) if text[name] else cell.rjust(width[name]) for cell in column]
        for name, column in cells.items()
    ]
    return "\n".join("  ".join(row).rstrip() for row in zip(*aligned, strict=True))


def format_metrics(title: str, means: Mapping[str, float]) -> str:
    """{'recall@20': ..} with a line for each metric and a column for each list length."""
    names, ks = (list(dict.fromkeys(name.split("@")[n] for name in means)) for n in (0, 1))
    columns = {f"@{k}": np.array([means[f"{name}@{k}"] for name in names], float) for k in ks}
    return format_columns({title: names} | columns)


def _cell(value: str | int | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"
