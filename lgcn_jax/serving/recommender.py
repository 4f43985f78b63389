"""What every fitted model can do, whatever made it: recommend, predict and be evaluated, in raw ids."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import jax
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.data.ids import positions
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import ONE_DEVICE, Mesh, is_mesh
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import metrics as metrics_of_lists
from lgcn_jax.evaluation import results
from lgcn_jax.evaluation.results import EvaluationResult
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.runs.raw_ids import RawIds
from lgcn_jax.serving import lists, storage, topk
from lgcn_jax.serving.recommendations import Recommendations
from lgcn_jax.serving.uploads import Uploads
from lgcn_jax.system import paths


class Recommender:
    """Base of all models; `fit` of a subclass sets these.

    Attributes:
      users, items: [num_users], [num_items], raw ids, ascending.
      user_titles, item_titles: [num_users], [num_items], what they are called, where the data set says it, else None.
    """

    users: np.ndarray
    items: np.ndarray
    user_titles: np.ndarray | None
    item_titles: np.ndarray | None
    _seen: CSR  # the items that each user had when the model was fitted
    _counts: np.ndarray  # int64[num_items], train pairs of each item

    @property
    def scorer(self) -> Scorer:
        """What scores items for users, by their numbers, on the device; uploaded once."""
        self._require_fitted()
        return self._uploads.get("scorer", self._host_scorer(), jax.device_put)

    def _host_scorer(self) -> Scorer:
        """The scorer of arrays that the host has."""
        raise NotImplementedError

    @functools.cached_property
    def _uploads(self) -> Uploads:
        return Uploads()

    def __getstate__(self) -> dict[str, Any]:
        """Copies, to other processes too, have the arrays of the host alone."""
        return {name: value for name, value in vars(self).items() if name != "_uploads"}

    def _ranker(self, mesh: str) -> topk.Ranker:
        """What ranks all items on the devices that `mesh` names; uploaded once for each mesh."""
        place = mesh_of(mesh)
        return self._uploads.get(place, self._host_scorer(), lambda scorer: topk.Ranker(scorer, len(self.items), place))

    def recommend(
        self,
        users: Any,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Any = None,
        exclude: Any = None,
        on_unknown: str = "raise",
        mesh: str = ONE_DEVICE,
    ) -> Recommendations:
        """The best items of each user, exactly: all items are scored on the devices. Ties go to the lowest id.

        Args:
          users: a raw id, or a sequence of them.
          k: items of each list; at most the number of items. A list ends early where fewer are left.
          exclude_seen: whether items of the train and validation parts are left out.
          candidates: raw ids of the only items that may be recommended; None: all.
          exclude: raw ids of items that may not be.
          on_unknown: what happens to a user whom the model does not know: 'raise'; 'skip', which leaves them out; or
            'popular', by which they get the items of most train pairs, with these numbers as scores.
          mesh: devices, as data:D,nodes:M: users are cut over D, items over M of them.

        Raises:
          InputError: an id is unknown or of another type, or `k` is out of range.
        """
        self._require_fitted()
        return lists.recommend(self, users, k, exclude_seen, candidates, exclude, on_unknown, mesh)

    def predict(self, users: Any, items: Any) -> np.ndarray:
        """float32[n]: the score of each pair of a user and an item, which stand in the same place of both sequences.

        Scores are those of `recommend`, but for the rounding of sums in another order.

        Args:
          users, items: raw ids; one id beside a sequence is paired with all of it.

        Raises:
          InputError: an id is unknown or of another type, or the sequences are of different lengths.
        """
        self._require_fitted()
        pairs = positions(users, self.users, "users"), positions(items, self.items, "items")
        if len(pairs[0]) != len(pairs[1]) and 1 not in map(len, pairs):
            raise InputError("predict", f"{len(pairs[0])} users and {len(pairs[1])} items", "one item for each user")
        return topk.pair_scores(self.scorer, *np.broadcast_arrays(*pairs))

    @overload
    def evaluate(
        self,
        interactions: Interactions,
        split: str = ...,
        k: int | tuple[int, ...] = ...,
        *,
        metrics: Sequence[str] = ...,
        users: Any = ...,
        per_user: Literal[False] = ...,
    ) -> dict[str, float]: ...

    @overload
    def evaluate(
        self,
        interactions: Interactions,
        split: str = ...,
        k: int | tuple[int, ...] = ...,
        *,
        metrics: Sequence[str] = ...,
        users: Any = ...,
        per_user: Literal[True],
    ) -> EvaluationResult: ...

    def evaluate(
        self,
        interactions: Interactions,
        split: str = "test",
        k: int | tuple[int, ...] = 20,
        *,
        metrics: Sequence[str] = metrics_of_lists.NAMES,
        users: Any = None,
        per_user: bool = False,
    ) -> dict[str, float] | EvaluationResult:
        """{'precision@k': .., 'recall@k': .., 'ndcg@k': ..}, means over the users with an item in the part.

        All items are ranked but those of earlier parts.

        Args:
          interactions: a data set with the users and items that the model was fitted on.
          split: 'test' or 'valid'.
          k: one list length or several.
          metrics: of each user precision, recall, ndcg, mrr, hit_rate, map; of all lists together coverage, novelty,
            average_popularity, gini.
          users: raw ids of the only users that count; None: all.
          per_user: whether the answer is an `EvaluationResult`, which has the metrics of each user, and groups.

        Raises:
          InputError: other users or items, an empty part, a `k` out of range, an unknown metric, or unknown users.
        """
        self._require_fitted()
        require_interactions(interactions)
        ks = lists.require_ks(k, len(self.items))
        if split not in ("test", "valid"):
            raise InputError("split", repr(split), "one of test, valid")
        self.require_same(interactions)
        if not interactions.part(split).nnz:
            raise InputError("split", f"{split}, which is empty", "a part with a pair")
        numbers = None if users is None else positions(users, self.users, "users")
        if per_user:
            return results.evaluate(self.scorer, interactions, split, ks, numbers, metrics)
        return results.evaluate_means(self.scorer, interactions, split, ks, numbers, metrics)

    def require_same(self, interactions: Interactions) -> None:
        """Raises an InputError where a data set has other users or items than the one that the model was fitted on."""
        same = np.array_equal(interactions.user_ids, self.users) and np.array_equal(interactions.item_ids, self.items)
        if not same:
            found = f"{interactions.num_users} users and {interactions.num_items} items"
            raise InputError("interactions", found, f"the {len(self.users)} and {len(self.items)} of the model")

    def save(self, folder: str | Path) -> None:
        """Writes the model into a folder that does not exist yet, or holds a model; see `load_model`.

        Raises:
          InputError: the folder holds something else.
        """
        self._require_fitted()
        storage.save(paths.as_path(folder, "folder"), *self._state(), self._raw_ids())

    def _raw_ids(self) -> tuple[RawIds, RawIds]:
        return RawIds(self.users, self.user_titles), RawIds(self.items, self.item_titles)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What is saved beside raw ids: JSON values, and arrays."""
        seen = {f"seen_{name}": np.asarray(part) for name, part in self._seen._asdict().items()}
        return {"kind": type(self).__name__}, {"item_counts": self._counts} | seen

    def _restore(self, arrays: dict[str, np.ndarray], ids: tuple[RawIds, RawIds]) -> None:
        """The inverse of `_state` and `_raw_ids`."""
        (self.users, self.user_titles), (self.items, self.item_titles) = ids
        self._seen = CSR(arrays["seen_indptr"], arrays["seen_indices"])
        self._counts = arrays["item_counts"]

    def _remember(self, interactions: Interactions) -> None:
        self.users, self.items = interactions.user_ids, interactions.item_ids
        self.user_titles, self.item_titles = interactions.user_titles, interactions.item_titles
        seen = interactions.seen("test")
        self._seen = CSR(np.asarray(seen.indptr), np.asarray(seen.indices))
        self._counts = csr.column_counts(interactions.train, interactions.num_items)

    def _require_fitted(self) -> None:
        if not hasattr(self, "users"):
            raise InputError(type(self).__name__, "a model that was not fitted", "fit(interactions) before this")


def require_interactions(interactions: Any) -> None:
    """Raises an InputError where something else was passed."""
    if not isinstance(interactions, Interactions):
        found = f"a {type(interactions).__name__}"
        raise InputError("interactions", found, "what lgcn_jax.load or lgcn_jax.read returns")


def mesh_of(mesh: Any) -> Mesh:
    """The devices that a text like 'data:2,nodes:4' names; an InputError where it is none, or there are too few."""
    if not isinstance(mesh, str) or not is_mesh(mesh):
        raise InputError("--mesh", repr(mesh), "data:D,nodes:M")
    return Mesh.of(mesh)
