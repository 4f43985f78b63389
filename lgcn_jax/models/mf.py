"""Matrix factorization (Koren et al. 2009; with BPR, Rendle et al. 2009): a table of node embeddings, and no graph."""

import dataclasses

import jax

from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.propagation import gather_rows
from lgcn_jax.models.encoder import Encoder, EncoderSettings, Nodes


@dataclasses.dataclass(frozen=True, kw_only=True)
class MFSettings(EncoderSettings):
    """Matrix factorization has no settings of its own.

    >>> from lgcn_jax.config import Config
    >>> Config.of(model="mf", embedding_dim=32).model
    MFSettings(embedding_dim=32, init='normal', init_std=0.1)
    """

    def ignored_settings(self) -> dict[str, str]:
        products = dict.fromkeys(("propagation", "propagation_dtype"), "a model that multiplies by the graph")
        return super().ignored_settings() | products

    def create(self, key: jax.Array, nodes: Nodes) -> "MF":
        return MF(self.initial_table(key, nodes))


class MF(Encoder):
    """Scores are dot products of the table's rows: what LightGCN is with K = 0.

    The L2 penalty of the batch's rows is that of BPR-MF, which has one weight for users, positive and negative items.
    """

    def __call__(self, layout: Layout) -> jax.Array:
        """The table itself, [num_rows, d]."""
        return self.table[...]

    def embeddings_at(
        self, layout: Layout, nodes: jax.Array, shared: jax.Array | None = None, axis: str | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """As for `Encoder`; both are the same rows, which are taken out once."""
        rows = gather_rows(layout, self.table[...], nodes, shared, axis)
        return rows, rows
