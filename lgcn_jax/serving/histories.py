"""Histories of users or items, in whatever form they come -> edges to what a model knows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lgcn_jax.data import csr, ids
from lgcn_jax.data.csr import CSR
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.graph.normalization import require_weights

FORMS = "a mapping of ids to ids, a tuple of arrays (ids, ids) or (ids, ids, weights), or Interactions"


class Histories(NamedTuple):
    """The edges of some nodes, users or items, to neighbors that the model knows.

    Attributes:
      ids: [n], raw ids of the nodes.
      number: int64[n], the number of each node in the model; -1: it is new.
      row: int64[m], the node of each edge.
      neighbor: int64[m], the number of each edge's neighbor.
      weight: float64[m], what each edge weighs; None: it was not said.
    """

    ids: np.ndarray
    number: np.ndarray
    row: np.ndarray
    neighbor: np.ndarray
    weight: np.ndarray | None


class Edges(NamedTuple):
    """All edges of some nodes: `rows`, and for each entry its weight and what of that the model has not seen."""

    rows: CSR
    weight: np.ndarray
    new_weights: np.ndarray


def parse_histories(
    source: Any, nodes: np.ndarray, neighbors: np.ndarray, kinds: tuple[str, str], skip_unknown: bool
) -> Histories:
    """Histories from what a user has.

    Args:
      source: what FORMS says.
      nodes, neighbors: raw ids of those that the model knows, ascending.
      kinds: what both are called, ('users', 'items') or the other way round.
      skip_unknown: whether neighbors that the model does not know are left out, and new nodes whom that leaves without
        any; else they are refused.

    Raises:
      InputError: another form or type of ids, an unknown neighbor, a new node without one, or a weight that is not a
        finite number above 0.
    """
    names, row, listed, weight = _read_columns(source, nodes, neighbors, kinds)
    place, found = ids.locate(listed, neighbors)
    if not found.all() and not skip_unknown:
        unknown = listed[~found]
        expected = f"{kinds[1]} that the model knows, or on_unknown='skip'"
        raise InputError(kinds[1], f"{len(unknown)} unknown ids, such as {unknown[0]}", expected)
    if weight is not None:
        require_weights(weight, len(row), "weights")
    number, known = ids.locate(names, nodes)
    kept = known | (np.bincount(row[found], minlength=len(names)) > 0)
    if not kept.all() and not skip_unknown:
        expected = f"at least one of the {kinds[1]} that the model knows"
        raise InputError(kinds[0], f"{names[~kept][0]}, who is new and has an empty history", expected)
    renumbered = np.cumsum(kept) - 1
    edges = renumbered[row[found]], place[found], None if weight is None else weight[found]
    return Histories(names[kept], np.where(known, number, -1)[kept], *edges)


def _read_columns(
    source: Any, nodes: np.ndarray, neighbors: np.ndarray, kinds: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Raw ids of the nodes; of each event the place of its node in them, the neighbor's raw id, and the weight."""
    if isinstance(source, Mapping):
        lists = [ids.as_array(each, neighbors, kinds[1]) for each in source.values()]
        names = ids.as_array(list(source), nodes, kinds[0])
        listed = np.concatenate([neighbors[:0], *(each for each in lists if len(each))])
        return names, np.repeat(np.arange(len(lists)), [len(each) for each in lists]), listed, None
    if isinstance(source, Interactions):
        source = _edges_of_interactions(source, kinds)
    if not isinstance(source, tuple) or len(source) not in (2, 3):
        raise InputError("histories", f"a {type(source).__name__}", FORMS)
    who, listed = (ids.as_array(*each) for each in zip(source, (nodes, neighbors), kinds, strict=False))
    if len(who) != len(listed):
        raise InputError("histories", f"{len(who)} {kinds[0]} and {len(listed)} {kinds[1]}", "one for each")
    names, row = np.unique(who, return_inverse=True)
    return names, row, listed, None if len(source) == 2 or source[2] is None else _weights_array(source[2])


def _weights_array(source: Any) -> np.ndarray:
    """float64, or an InputError where they are no numbers."""
    try:
        return np.asarray(source, np.float64)
    except (TypeError, ValueError):
        raise InputError(
            "weights", f"a {type(source).__name__} of what is no number", "a number for each event"
        ) from None


def _edges_of_interactions(source: Interactions, kinds: tuple[str, str]) -> tuple[np.ndarray, np.ndarray, Any]:
    """The train part as arrays."""
    columns = {
        "users": source.user_ids[csr.row_of_entry(source.train)],
        "items": source.item_ids[source.train.indices],
    }
    return columns[kinds[0]], columns[kinds[1]], source.weights


def merge_with_known(histories: Histories, known: CSR, known_weight: np.ndarray | None, num_neighbors: int) -> Edges:
    """The edges of the histories together with those that the model was trained on.

    Where the model's graph is weighted, or weights are given, an event adds its weight (1 where none is given) to that
    of the pair; else each pair counts once.

    Args:
      histories: of `parse_histories`.
      known: CSR over all nodes that the model knows, its train pairs.
      known_weight: float[known.nnz], None: all weigh 1.
      num_neighbors: columns of `known`.
    """
    adds = known_weight is not None or histories.weight is not None
    old, entry = _known_entries(known, histories.number, num_neighbors)
    weight = np.ones(len(old)) if known_weight is None else known_weight[entry].astype(np.float64)
    new, event = np.unique(histories.row * num_neighbors + histories.neighbor, return_inverse=True)
    amount = np.bincount(event, histories.weight, len(new)) if adds else (~np.isin(new, old)).astype(np.float64)
    keys, place = np.unique(np.concatenate([old, new]), return_inverse=True)
    rows = csr.from_pairs(*np.divmod(keys, num_neighbors), (len(histories.ids), num_neighbors))
    total = np.bincount(place, np.concatenate([weight, amount]), len(keys))
    return Edges(rows, total, np.bincount(place[len(old) :], amount, len(keys)))


def _known_entries(known: CSR, number: np.ndarray, num_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the nodes that are known: int64 keys row * num_neighbors + neighbor, and each one's entry in `known`."""
    rows = np.flatnonzero(number >= 0)
    start, count = known.indptr[number[rows]], np.diff(known.indptr)[number[rows]]
    entry = np.repeat(start - (np.cumsum(count) - count), count) + np.arange(count.sum())
    return np.repeat(rows, count) * num_neighbors + known.indices[entry], entry
