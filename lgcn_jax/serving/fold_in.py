"""Users and items that a trained model has not seen, or has seen more of since: their vectors without training."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from lgcn_jax.config import Config
from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.devices.mesh import ONE_DEVICE
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation.scorers import DotProduct
from lgcn_jax.graph import fold_in, propagation
from lgcn_jax.graph.normalization import normalized_adjacency, weighted_degrees
from lgcn_jax.models import FoldIn
from lgcn_jax.serving import histories, lists, topk
from lgcn_jax.serving.histories import Edges, Histories
from lgcn_jax.serving.recommendations import Recommendations
from lgcn_jax.serving.recommender import mesh_of
from lgcn_jax.training.warm_start import WarmStart

ON_UNKNOWN = ("raise", "skip")
PARAMETER = "parameter."  # before the names of a saved model's parameters that belong to no node


@dataclasses.dataclass(frozen=True)
class TrainedGraph:
    """The graph and the table of a fitted model: all layers of all nodes follow from them, by K - 1 products.

    So they are what is kept for folding in: one more table of the size of the final embeddings. The sum of layers that
    new nodes are made of has the same size, but neither known users with new events nor a warm start could do with it.

    Attributes:
      config: the settings of the fit.
      table: float32[num_nodes, d], layer 0 of the users, then of the items.
      train: CSR of users over items, the pairs of the graph.
      weights: float32[train.nnz], None: all weigh 1.
      replicated: the parameters that belong to no node, by name.
    """

    config: Config
    table: np.ndarray
    train: CSR
    weights: np.ndarray | None = None
    replicated: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def num_items(self) -> int:
        return len(self.table) - self.train.num_rows

    @functools.cached_property
    def degrees(self) -> np.ndarray:
        """float64[num_nodes]: the sum of each node's weights."""
        return weighted_degrees(self.train, self.num_items, self.weights)

    @functools.cached_property
    def fold_in_rule(self) -> FoldIn:
        """How the encoder folds nodes in; an InputError where it does not."""
        weights = self.config.inference.stated_inference().weights
        if (found := self.config.model.fold_in(weights, self.replicated)) is None:  # type: ignore[arg-type]
            model, expected = self.config.to_dict()["model"], "one whose layers 1 to K have weights, such as lightgcn"
            raise InputError("fold_in", f"the model {model}, which embeds no new node", expected)
        return found

    @functools.cached_property
    def messages(self) -> jax.Array:
        """float32[num_nodes, width], on the device: what each node passes on to a neighbor."""
        adjacency = normalized_adjacency(self.train, self.num_items, self.weights)
        degree = self.degrees if self.config.model.NEEDS_DEGREES else None
        layout = propagation.make_layout(adjacency, dtype=self.config.graph.propagation_dtype, degree=degree)
        return jax.jit(self.fold_in_rule.messages)(layout, jnp.asarray(self.table))

    def node_slice(self, kind: str) -> slice:
        """The 'users' or the 'items' among the nodes."""
        count = self.train.num_rows
        return slice(0, count) if kind == "users" else slice(count, len(self.table))

    def pairs(self, side: str) -> tuple[CSR, np.ndarray | None]:
        """The pairs as a CSR of the 'users' over the items or of the 'items' over the users, and their weights."""
        if side == "users":
            return self.train, self.weights
        data = np.ones(self.train.nnz, np.float32) if self.weights is None else self.weights
        shape = self.train.num_rows, self.num_items
        turned = scipy.sparse.csr_matrix((data, self.train.indices, self.train.indptr), shape).T.tocsr()
        return CSR(turned.indptr, turned.indices), None if self.weights is None else turned.data

    def to_arrays(self, seen: CSR) -> dict[str, np.ndarray]:
        """What is saved of it; the pairs only where they are not `seen`, those that the model saves anyway."""
        found = {"table": self.table} | ({} if self.weights is None else {"weights": self.weights})
        found |= {f"{PARAMETER}{name}": value for name, value in self.replicated.items()}
        if self.train.nnz != seen.nnz:
            found |= {f"train_{name}": np.asarray(part) for name, part in self.train._asdict().items()}
        return found

    @classmethod
    def from_arrays(cls, config: Config, arrays: dict[str, np.ndarray], seen: CSR) -> "TrainedGraph | None":
        """The inverse of `to_arrays`; None where they are of a version that did not keep them."""
        if "table" not in arrays:
            return None
        whole = "train_indptr" not in arrays
        train = seen if whole else CSR(arrays["train_indptr"], arrays["train_indices"])
        replicated = {
            name.removeprefix(PARAMETER): value for name, value in arrays.items() if name.startswith(PARAMETER)
        }
        return cls(config, arrays["table"], train, arrays.get("weights"), replicated)


@dataclasses.dataclass(frozen=True)
class Folded:
    """Users or items that were folded in, and their vectors.

    Attributes:
      ids: [n], raw ids.
      vectors: float32[n, d], final embeddings: dot products with those of the model are scores.
      known: bool[n], whom the model knew before.
    """

    ids: np.ndarray
    vectors: np.ndarray
    known: np.ndarray


@dataclasses.dataclass(frozen=True)
class FoldedUsers(Folded):
    """Users that were folded in, their vectors, and `recommendations`, a list of items for each of them."""

    recommendations: Recommendations


def fold_in_users(
    model: Any,
    source: Any,
    k: int,
    exclude_seen: bool,
    candidates: Any,
    exclude: Any,
    on_unknown: str,
) -> FoldedUsers:
    """What `Model.fold_in` says."""
    lists.require_k(k, len(model.items))
    allowed = lists.allowed_items(model.items, candidates, exclude)
    found, edges, folded = _fold_in_histories(model, source, "users", on_unknown)
    masked = _seen_by_folded(model._seen, found, edges, len(model.items)) if exclude_seen else None
    scorer = DotProduct(folded.vectors, model.item_embeddings)  # type: ignore[arg-type]
    ranker = topk.Ranker(scorer, len(model.items), mesh_of(ONE_DEVICE))
    best, scores = ranker.top_items(np.arange(len(found.ids)), masked, allowed, k)
    titles = None if model.item_titles is None else model.item_titles[best]
    ranked = Recommendations(found.ids, model.items[best], scores, titles)
    return FoldedUsers(folded.ids, folded.vectors, folded.known, ranked)


def fold_in_items(model: Any, source: Any, on_unknown: str) -> Folded:
    """What `Model.fold_in_items` says."""
    _, edges, folded = _fold_in_histories(model, source, "items", on_unknown)
    pairs = np.bincount(csr.row_of_entry(edges.rows), edges.weight, edges.rows.num_rows)
    inference, popularity = (
        _require_graph(model).config.inference.stated_inference(),
        np.log1p(pairs).astype(np.float32),
    )
    scaled = inference.scale_items(jnp.asarray(folded.vectors), jnp.asarray(popularity))
    return dataclasses.replace(folded, vectors=np.asarray(scaled))


def _fold_in_histories(model: Any, source: Any, side: str, on_unknown: str) -> tuple[Histories, Edges, Folded]:
    """The histories of users or items, all their edges, and the vectors that follow."""
    if on_unknown not in ON_UNKNOWN:
        raise InputError("on_unknown", repr(on_unknown), f"one of {', '.join(ON_UNKNOWN)}")
    graph = _require_graph(model)
    how = graph.fold_in_rule
    kinds = ("users", "items") if side == "users" else ("items", "users")
    ids = {"users": model.users, "items": model.items}
    found = histories.parse_histories(source, ids[kinds[0]], ids[kinds[1]], kinds, on_unknown == "skip")
    edges = histories.merge_with_known(found, *graph.pairs(side), len(ids[kinds[1]]))
    own, neighbors = map(graph.node_slice, kinds)
    matrix = fold_in.adjacency_rows(*edges, graph.degrees[neighbors], exponents=how.exponents)
    vectors = fold_in.multiply(matrix, graph.messages[neighbors])
    if how.finish is not None:
        vectors = np.array(jax.jit(how.finish)(vectors))
    known = found.number >= 0
    vectors[~known] *= np.float32(how.scale)
    vectors[known] += np.float32(how.own) * graph.table[own][found.number[known]]
    return found, edges, Folded(found.ids, vectors, known)


def warm_start_from_model(model: Any) -> WarmStart:
    """What a fitted model hands on to a fit that begins with it."""
    graph = _require_graph(model)
    return WarmStart("a model", model.config, model.users, model.items, graph.table, graph.replicated)


def _require_graph(model: Any) -> TrainedGraph:
    if model._trained is None:
        expected = "one of this version, or fitted anew"
        raise InputError("fold_in", "a model that was saved without its layer-0 table", expected)
    return model._trained


def _seen_by_folded(seen: CSR, found: Histories, edges: Edges, num_items: int) -> CSR:
    """A row for each folded user: the history, and what the model had seen of the user."""
    known = np.flatnonzero(found.number >= 0)
    before = csr.take_rows(seen, found.number[known])
    rows = np.concatenate([csr.row_of_entry(edges.rows), known[csr.row_of_entry(before)]])
    columns = np.concatenate([edges.rows.indices, before.indices])
    return csr.from_pairs(rows, columns, (len(found.ids), num_items))
