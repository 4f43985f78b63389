"""What every fitted model can do, whatever made it: recommend and be evaluated, in raw ids."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from lgcn_jax.data.csr import CSR
from lgcn_jax.data.ids import positions
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import metrics as metrics_of_lists
from lgcn_jax.evaluation import results
from lgcn_jax.evaluation.results import EvaluationResult
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.serving import storage, topk
from lgcn_jax.serving.recommendations import Recommendations
from lgcn_jax.system import paths

UNKNOWN = ("raise", "skip")


class Recommender:
    """Base of all models; `fit` of a subclass sets these.

    Attributes:
      users, items: [num_users], [num_items], raw ids, ascending.
    """

    users: np.ndarray
    items: np.ndarray
    _seen: CSR  # the items that each user had when the model was fitted

    @property
    def scorer(self) -> Scorer:
        """What scores items for users, by their numbers."""
        raise NotImplementedError

    def recommend(
        self,
        users: Any,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Any = None,
        exclude: Any = None,
        on_unknown: str = "raise",
    ) -> Recommendations:
        """The best items of each user, exactly: all items are scored on the device.

        Args:
          users: a raw id, or a sequence of them.
          k: items of each list; at most the number of items.
          exclude_seen: whether items of the train and validation parts are left out.
          candidates: raw ids of the only items that may be recommended; None: all.
          exclude: raw ids of items that may not be.
          on_unknown: what happens to a user whom the model does not know: 'raise', or 'skip', which leaves them out.

        Raises:
          InputError: an id is unknown or of another type, or `k` is out of range.
        """
        self._require_fitted()
        (k,) = _list_lengths([k], len(self.items))
        if on_unknown not in UNKNOWN:
            raise InputError("on_unknown", repr(on_unknown), f"one of {', '.join(UNKNOWN)}")
        numbers = positions(users, self.users, "users", skip_unknown=on_unknown == "skip")
        allowed = np.full(len(self.items), candidates is None)
        if candidates is not None:
            allowed[positions(candidates, self.items, "candidates")] = True
        if exclude is not None:
            allowed[positions(exclude, self.items, "exclude")] = False
        found, scores = topk.best_items(self.scorer, numbers, self._seen if exclude_seen else None, allowed, k)
        return Recommendations(self.users[numbers], self.items[found], scores)

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
        ks = _list_lengths(k if isinstance(k, Iterable) and not isinstance(k, str) else [k], len(self.items))
        if split not in ("test", "valid"):
            raise InputError("split", repr(split), "one of test, valid")
        same = np.array_equal(interactions.user_ids, self.users) and np.array_equal(interactions.item_ids, self.items)
        if not same:
            found = f"{interactions.num_users} users and {interactions.num_items} items"
            raise InputError("interactions", found, f"the {len(self.users)} and {len(self.items)} of the model")
        if not interactions.part(split).nnz:
            raise InputError("split", f"{split}, which is empty", "a part with a pair")
        numbers = None if users is None else positions(users, self.users, "users")
        if per_user:
            return results.evaluate(self.scorer, interactions, split, ks, numbers, metrics)
        return results.means(self.scorer, interactions, split, ks, numbers, metrics)

    def save(self, folder: str | Path) -> None:
        """Writes the model into a folder that does not exist yet, or holds a model; see `load_model`.

        Raises:
          InputError: the folder holds something else.
        """
        self._require_fitted()
        storage.save(paths.stated(folder, "folder"), *self._state())

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What is saved: JSON values, and arrays."""
        seen = {f"seen_{name}": np.asarray(part) for name, part in self._seen._asdict().items()}
        return {"kind": type(self).__name__}, {"users": self.users, "items": self.items} | seen

    def _restore(self, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """The inverse of `_state`."""
        del facts
        self.users, self.items = arrays["users"], arrays["items"]
        self._seen = CSR(arrays["seen_indptr"], arrays["seen_indices"])

    def _remember(self, interactions: Interactions) -> None:
        self.users, self.items = interactions.user_ids, interactions.item_ids
        seen = interactions.seen("test")
        self._seen = CSR(np.asarray(seen.indptr), np.asarray(seen.indices))

    def _require_fitted(self) -> None:
        if not hasattr(self, "users"):
            raise InputError(type(self).__name__, "a model that was not fitted", "fit(interactions) before this")


def require_interactions(interactions: Any) -> None:
    """Raises an InputError where something else was passed."""
    if not isinstance(interactions, Interactions):
        found = f"a {type(interactions).__name__}"
        raise InputError("interactions", found, "what lgcn_jax.load or lgcn_jax.read returns")


def _list_lengths(ks: Iterable[Any], most: int) -> tuple[int, ...]:
    """The list lengths `k`, plain integers; NumPy's are taken as well."""
    stated = list(ks)
    for k in stated or [stated]:
        if not isinstance(k, int | np.integer) or isinstance(k, bool) or not 1 <= k <= most:
            raise InputError("k", repr(k), f"an integer from 1 to {most}, the number of items")
    return tuple(map(int, stated))
