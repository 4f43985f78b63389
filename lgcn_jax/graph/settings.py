"""How the adjacency matrix is multiplied."""

import dataclasses

from lgcn_jax.graph.order import ORDERS
from lgcn_jax.graph.propagation import DTYPES, LAYOUTS
from lgcn_jax.settings import Settings, choice


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphSettings(Settings):
    """The order of rows, the layout, and the dtype of what products read."""

    node_order: str = choice("auto", ORDERS, "order of the table's rows; auto is what was fastest")
    propagation: str = choice(
        "auto",
        ("auto", *LAYOUTS),
        "layout of the adjacency matrix; auto is what was fastest on the platform",
    )
    propagation_dtype: str = choice(
        "float32",
        DTYPES,
        "what products read embeddings rounded to; sums, the trained table and Adam stay float32",
    )
