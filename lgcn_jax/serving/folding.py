"""What a fitted model offers of folding in, and hands on to a warm start."""

from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.config import Config
from lgcn_jax.data.csr import CSR
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.serving import fold_in
from lgcn_jax.serving.fold_in import Folded, FoldedUsers, TrainedGraph
from lgcn_jax.training.state import HostParameters
from lgcn_jax.training.warm_start import WarmStart


class FoldsIn:
    """Base of models that keep the table and the graph that they were trained with."""

    _trained: TrainedGraph | None = None

    def _remember_graph(self, config: Config, trained: HostParameters, interactions: Interactions) -> None:
        self._trained = TrainedGraph(
            config, trained.table, interactions.train, interactions.weights, trained.replicated
        )

    def _graph_arrays(self, seen: CSR) -> dict[str, np.ndarray]:
        """What is saved of them."""
        return {} if self._trained is None else self._trained.to_arrays(seen)

    def _restore_graph(self, config: Config, arrays: dict[str, np.ndarray], seen: CSR) -> None:
        """The inverse of `_graph_arrays`."""
        self._trained = TrainedGraph.from_arrays(config, arrays, seen)

    def fold_in(
        self,
        histories: Any,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Any = None,
        exclude: Any = None,
        on_unknown: str = "raise",
    ) -> FoldedUsers:
        """Vectors and recommendations for new users, and for known ones with new events, without training.

        A vector is made of the trained embeddings of the items in the history, as if the user were in the graph; see
        `lgcn_jax.graph.fold_in`. Each user is folded in alone. What a known user had is part of the history.

        >>> import lgcn_jax as lg
        >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
        >>> model = lg.LightGCN(embedding_dim=8, epochs=2, top_k=(5,)).fit(interactions, quiet=True)
        >>> found = model.fold_in({1001: [3, 4, 5], 7: [4]}, k=5)
        >>> found.vectors.shape, found.recommendations.ids.shape, found.known.tolist()
        ((2, 8), (2, 5), [False, True])

        Args:
          histories: {user: items}, a tuple of arrays (users, items) or (users, items, weights), or `Interactions`, of
            which the train part is taken; all raw ids, of the type of the model's. Weights of a pair are added up;
            without weights, and in a model without them, a pair counts once.
          k: items of each list; at most the number of items.
          exclude_seen: whether the items of the history, and what a known user had, are left out.
          candidates: raw ids of the only items that may be recommended; None: all.
          exclude: raw ids of items that may not be.
          on_unknown: what happens to an item that the model does not know, and to a new user without any other:
            'raise', or 'skip', which leaves them out.

        Raises:
          InputError: histories of another form, an unknown item, a new user without an item, a weight that is not above
            0, `k` out of range, or a model that cannot fold in.
        """
        _require_fitted(self)
        return fold_in.fold_in_users(self, histories, k, exclude_seen, candidates, exclude, on_unknown)

    def fold_in_items(self, histories: Any, *, on_unknown: str = "raise") -> Folded:
        """Vectors of new items, and of known ones with new events, from the users who have them; as `fold_in`.

        Args:
          histories: {item: users}, (items, users), (items, users, weights), or `Interactions`.
          on_unknown: what happens to unknown users, as to items in `fold_in`.

        Raises:
          InputError: as for `fold_in`.
        """
        _require_fitted(self)
        return fold_in.fold_in_items(self, histories, on_unknown)


def warm_start_setting(source: Any) -> dict[str, str]:
    """The setting that a fit's `warm_start` stands for, where it is the folder of a run."""
    return {"warm_start": str(Path(source).expanduser().absolute())} if isinstance(source, str | Path) else {}


def warm_start_from_fitted(source: Any) -> WarmStart | None:
    """What a fitted model that is a fit's `warm_start` hands on; None where it is the folder of a run, or nothing."""
    if source is None or isinstance(source, str | Path):
        return None
    if not isinstance(source, FoldsIn):
        raise InputError("warm_start", f"a {type(source).__name__}", "a fitted model, or the folder of a run")
    _require_fitted(source)
    return fold_in.warm_start_from_model(source)


def _require_fitted(model: Any) -> None:
    model._require_fitted()
