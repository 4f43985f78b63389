"""Tables as text: metrics, and groups of users and items."""

from collections.abc import Mapping, Sequence

import numpy as np

from lgcn_jax.cli import listing


def format_groups(columns: Mapping[str, Sequence | np.ndarray]) -> str:
    """Columns under their names: texts to the left, integers with commas, other numbers to four digits."""
    return listing.format_columns({name: np.asarray(column) for name, column in columns.items()}, None, ",")


def format_metrics(title: str, means: Mapping[str, float]) -> str:
    """{'recall@20': ..} with a line for each metric and a column for each list length."""
    names, ks = (list(dict.fromkeys(name.split("@")[n] for name in means)) for n in (0, 1))
    columns = {f"@{k}": np.array([means[f"{name}@{k}"] for name in names], float) for k in ks}
    return format_groups({title: names} | columns)
