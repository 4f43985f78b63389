"""Lists of recommended items for users by their raw ids, those whom the model does not know included."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from lgcn_jax.data.ids import as_array, locate, positions
from lgcn_jax.errors import InputError
from lgcn_jax.serving.recommendations import Recommendations

if TYPE_CHECKING:
    from lgcn_jax.serving.recommender import Recommender

UNKNOWN = ("raise", "skip", "popular")


def recommend(
    model: "Recommender",
    users: Any,
    k: int,
    exclude_seen: bool,
    candidates: Any,
    exclude: Any,
    on_unknown: str,
    mesh: str,
) -> Recommendations:
    """What `Recommender.recommend` says."""
    require_k(k, len(model.items))
    if on_unknown not in UNKNOWN:
        raise InputError("on_unknown", repr(on_unknown), f"one of {', '.join(UNKNOWN)}")
    allowed = allowed_items(model.items, candidates, exclude)
    asked, numbers, known = _known_users(users, model.users, on_unknown)
    found, scores = np.zeros((len(asked), k), np.int32), np.full((len(asked), k), -np.inf, np.float32)
    masked = model._seen if exclude_seen else None
    found[known], scores[known] = model._ranker(mesh).top_items(numbers, masked, allowed, k)
    if not known.all():
        found[~known], scores[~known] = most_popular(model._counts, allowed, k)
    titles = None if model.item_titles is None else model.item_titles[found]
    return Recommendations(asked, model.items[found], scores, titles, known)


def require_k(k: Any, most: int, what: str = "items") -> None:
    """Raises an InputError where `k` is no length of a list."""
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or not 1 <= k <= most:
        raise InputError("k", repr(k), f"an integer from 1 to {most}, the number of {what}")


def require_ks(k: Any, most: int) -> tuple[int, ...]:
    """One list length or several as plain integers; raises an InputError where one of them is none."""
    stated = list(k) if isinstance(k, Iterable) and not isinstance(k, str) else [k]
    for each in stated or [stated]:
        require_k(each, most)
    return tuple(map(int, stated))


def allowed_items(items: np.ndarray, candidates: Any = None, exclude: Any = None) -> np.ndarray:
    """bool[num_items]: the items among the candidates (None: all) that are not excluded; ids are raw."""
    allowed = np.full(len(items), candidates is None)
    if candidates is not None:
        allowed[positions(candidates, items, "candidates")] = True
    if exclude is not None:
        allowed[positions(exclude, items, "exclude")] = False
    return allowed


def _known_users(users: Any, all_users: np.ndarray, on_unknown: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw ids of the users that get a list, the numbers of those who are known, and bool[n], who they are."""
    if on_unknown != "popular":
        numbers = positions(users, all_users, "users", skip_unknown=on_unknown == "skip")
        return all_users[numbers], numbers, np.ones(len(numbers), bool)
    asked = as_array(users, all_users, "users")
    numbers, known = locate(asked, all_users)
    return all_users[numbers] if known.all() else asked, numbers[known], known


def most_popular(counts: np.ndarray, allowed: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """int32[k] and float32[k]: the allowed items of most train pairs, the lowest of equals first, and these numbers."""
    found, scores = np.zeros(k, np.int32), np.full(k, -np.inf, np.float32)
    items = np.flatnonzero(allowed)
    best = items[np.argsort(-counts[items], kind="stable")][:k]
    found[: len(best)], scores[: len(best)] = best, counts[best]
    return found, scores
