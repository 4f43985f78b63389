"""Two models as one, with a weight that may be chosen on the validation part."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.baselines import BASELINES
from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import require_devices
from lgcn_jax.errors import InputError, named_as_in_python
from lgcn_jax.evaluation import mixture
from lgcn_jax.evaluation.mixture import MixtureScorer
from lgcn_jax.evaluation.scorers import DotProduct, Scorer
from lgcn_jax.evaluation.task import EvaluationTask
from lgcn_jax.runs.raw_ids import RawIds
from lgcn_jax.serving import lists, loading, solved, storage
from lgcn_jax.serving.models import Model
from lgcn_jax.serving.recommender import Recommender, require_interactions
from lgcn_jax.serving.solved import SolvedModel
from lgcn_jax.serving.vectors import VectorModel

AUTO = "auto"
WEIGHTS = tuple(round(0.1 * tenths, 1) for tenths in range(11))  # of which auto chooses


class Mixture(VectorModel):
    """weight * z(first) + (1 - weight) * z(second), z: each user's scores brought to mean 0 and deviation 1.

    Where both models have vectors, so has the mixture, as wide as both together: they rank as the mixture does, and
    their dot products are its scores but for a number that all items of a user share. Otherwise asking for vectors,
    neighbors or an export is an InputError.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500, validation_fraction=0.1)
    >>> model = lg.Mixture("ease", lg.IALS(width=8), weight="auto", top_k=5).fit(interactions)
    >>> 0 <= model.weight <= 1, model.recommend([3, 4], k=5).ids.shape
    (True, (2, 5))

    Args:
      first, second: each a model, which is fitted where it was not; the folder of a run or of a saved model; or the
        name of a baseline, with its default settings.
      weight: of the first one, from 0 to 1; or 'auto': the one of 0, .1, ..., 1 with the highest recall@top_k on the
        validation part, the lowest of equals.
      top_k: of that recall.

    Attributes:
      first, second: the models, once it was fitted.
      weight: the number, once it was fitted.
      tried: for each weight that was tried, its metrics on the validation part.

    Raises:
      InputError: a weight or a model is none.
    """

    first: Any
    second: Any

    @named_as_in_python()
    def __init__(self, first: Any, second: Any, weight: float | str = AUTO, top_k: int = 20):
        self.first, self.second, self.weight, self.top_k = first, second, weight, top_k
        self._given = {"first": first, "second": second}
        self.tried: list[dict[str, float]] = []
        number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool) and 0 <= weight <= 1
        if not number and not (isinstance(weight, str) and weight == AUTO):
            raise InputError("--weight", repr(weight), "a number from 0 to 1, or auto")
        self._stated = weight if isinstance(weight, str) else float(weight)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What the constructor was given; `deep` is there for scikit-learn."""
        del deep
        return self._given | {"weight": self._stated, "top_k": self.top_k}

    @named_as_in_python()
    def fit(self, interactions: Interactions) -> "Mixture":
        """Takes both models, fitted on these data, and chooses the weight where that is to be. Returns self.

        Raises:
          InputError: a model was fitted on other data or is none, or there is no validation part to choose on.
        """
        require_interactions(interactions)
        require_devices()
        if self._stated == AUTO and not interactions.valid.nnz:
            expected = "a number, or data with a validation part, on which it is chosen (--validation_fraction)"
            raise InputError("--weight", AUTO, expected)
        ks = lists.require_ks(self.top_k, interactions.num_items)
        first, second = (_fitted_component(name, given, interactions) for name, given in self._given.items())
        weight, self.tried = self._stated, []
        if weight == AUTO:
            self.tried = evaluate_weights(first, second, interactions, "valid", WEIGHTS, ks)
            weight = max(self.tried, key=lambda row: row[f"recall@{self.top_k}"])["weight"]
        self._take(first, second, float(weight))
        self._remember(interactions)
        return self

    def _take(self, first: Recommender, second: Recommender, weight: float) -> None:
        self.first, self.second, self.weight = first, second, weight
        one, two = (each._host_scorer() for each in (first, second))
        if isinstance(one, DotProduct) and isinstance(two, DotProduct):
            self._scorer: Scorer = mixture.concatenate_vectors(one, two, weight)
        else:
            self._scorer = MixtureScorer(one, two, np.float32(weight))  # type: ignore[arg-type]

    def _host_scorer(self) -> Scorer:
        return self._scorer

    @property
    def user_embeddings(self) -> np.ndarray:  # type: ignore[override]
        """float32[num_users, d1 + d2], where both models have vectors."""
        return self._vectors().user_vectors  # type: ignore[return-value]

    @property
    def item_embeddings(self) -> np.ndarray:  # type: ignore[override]
        """float32[num_items, d1 + d2], where both models have vectors."""
        return self._vectors().item_vectors  # type: ignore[return-value]

    @property
    def vector_width(self) -> int | None:
        return self._scorer.item_vectors.shape[1] if isinstance(self._scorer, DotProduct) else None

    def _vectors(self) -> DotProduct:
        self._require_fitted()
        if not isinstance(self._scorer, DotProduct):
            both = self.first, self.second
            lacking = next(each for each in both if not isinstance(each._host_scorer(), DotProduct))
            raise InputError("Mixture", f"one with {_model_kind(lacking)}, without vectors", "two models with vectors")
        return self._scorer

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        facts, arrays = super()._state()
        common = arrays.keys()
        facts |= {"weight": self.weight, "top_k": self.top_k, "tried": self.tried}
        for name in ("first", "second"):
            facts[name], of_part = getattr(self, name)._state()
            arrays = arrays | {f"{name}.{key}": value for key, value in of_part.items() if key not in common}
        return facts, arrays

    @classmethod
    def _loaded(cls, facts: dict[str, Any], arrays: dict[str, np.ndarray], ids: tuple[RawIds, RawIds]) -> "Mixture":
        common = {key: value for key, value in arrays.items() if "." not in key}

        def part(name: str) -> Recommender:
            own = {key.removeprefix(f"{name}."): value for key, value in arrays.items() if key.startswith(f"{name}.")}
            return loading.restore_model(facts[name], common | own, ids)

        first, second = part("first"), part("second")
        made = cls(first, second, facts["weight"], facts["top_k"])
        made._restore(common, ids)
        made._take(first, second, facts["weight"])
        made.tried = facts["tried"]
        return made


def evaluate_weights(
    first: Recommender,
    second: Recommender,
    interactions: Interactions,
    split: str,
    weights: Sequence[float],
    ks: tuple[int, ...],
) -> list[dict[str, float]]:
    """For each weight of the first model itself, and the metrics of the mixture on a part of the data."""
    task = EvaluationTask.of(interactions, split)
    found = mixture.evaluate_weights(first.scorer, second.scorer, task, np.asarray(weights), ks)
    return [{"weight": weight} | row for weight, row in zip(weights, found, strict=True)]


def _fitted_component(name: str, given: Any, interactions: Interactions) -> Recommender:
    """A fitted model, which has the train part of these data and nothing else."""
    made = _make_component(name, given, interactions)
    if not hasattr(made, "users"):
        _fit_component(name, made, interactions)
    pairs = csr.column_counts(interactions.train, interactions.num_items)
    seen = interactions.seen("test")
    same = np.array_equal(made.users, interactions.user_ids) and np.array_equal(made.items, interactions.item_ids)
    same = same and np.array_equal(made._counts, pairs) and np.array_equal(made._seen.indices, seen.indices)
    if not same:
        found = f"{_model_kind(made)} of other data"
        raise InputError(f"--{name}", found, f"one of {interactions.name}, read and split as here")
    return made


def _fit_component(name: str, made: Any, interactions: Interactions) -> None:
    """Fits one of the models; an InputError says which one it is of."""
    try:
        made.fit(interactions)
    except InputError as error:
        where, found, expected = error.parts
        advice = "(a model with other settings is fitted first)"
        raise InputError(f"--{name}", f"{_model_kind(made)} with {where} {found}", f"{expected} {advice}") from None


def _make_component(name: str, given: Any, interactions: Interactions) -> Any:
    """A model that may be not fitted yet."""
    if isinstance(given, Model | SolvedModel | Mixture):
        return given
    if isinstance(given, str) and given in BASELINES:
        return solved.make_solved_model(given)
    if isinstance(given, str | Path) and (path := Path(given).expanduser()).is_dir():
        is_run = not storage.is_model(path)
        return loading.load_model(path, interactions if is_run else None)
    found = repr(str(given)) if isinstance(given, str | Path) else f"a {type(given).__name__}"
    raise InputError(f"--{name}", found, f"the folder of a run or model, or one of {', '.join(BASELINES)}")


def _model_kind(model: Any) -> str:
    """What to call a model."""
    return f"a {type(model).__name__} model"
