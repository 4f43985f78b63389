"""Baselines as users hold them: settings in the constructor, `fit`, then what every `Recommender` can do."""

from typing import Any, ClassVar

import numpy as np

from lgcn_jax.baselines import BASELINES, Baseline
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import require_devices
from lgcn_jax.errors import InputError, named_as_in_python
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.runs.raw_ids import RawIds
from lgcn_jax.serving.recommender import Recommender, require_interactions
from lgcn_jax.serving.vectors import VectorModel
from lgcn_jax.settings import fields, format_value


class SolvedModel(Recommender):
    """A baseline: a model that is solved for, without epochs.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> model = lg.SolvedModel("itemknn", neighbors=20).fit(interactions)
    >>> model.recommend([3, 4], k=5).ids.shape
    (2, 5)

    Args:
      model: the name of the baseline.
      **settings: its settings, as `lgcn-jax evaluate --help` lists them; others have their defaults.

    Attributes:
      baseline: the settings.
      solution: the arrays that the scores are made of, by name, once it was fitted.

    Raises:
      InputError: there is no such baseline, or a setting is unknown or out of range.
    """

    baseline: Baseline
    solution: dict[str, np.ndarray]
    _scorer: Scorer

    @named_as_in_python()
    def __init__(self, model: str, **settings: Any):
        chosen = BASELINES[model]
        for name in settings.keys() - fields(chosen).keys():
            known = ", ".join(fields(chosen)) or "nothing"
            raise InputError(f"--{name}", format_value(settings[name]), f"a setting of {model}: {known}")
        self.baseline = chosen(**settings)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All settings by name, those with their defaults included; `deep` is there for scikit-learn."""
        del deep
        return {name: getattr(self.baseline, name) for name in fields(type(self.baseline))}

    @named_as_in_python()
    def fit(self, interactions: Interactions) -> "SolvedModel":
        """Solves for the train part. Returns self.

        Raises:
          InputError: settings and data do not go together, or the memory would not do.
        """
        require_interactions(interactions)
        require_devices()
        if type(self.baseline).fit is Baseline.fit:
            solution = self.baseline.solve(interactions)
            self._take_solution(solution, self.baseline.scorer(solution))
        else:
            self._take_solution({}, self.baseline.fit(interactions))
        self._remember(interactions)
        return self

    def _take_solution(self, solution: dict[str, np.ndarray], scorer: Scorer) -> None:
        self.solution, self._scorer = solution, scorer

    def _host_scorer(self) -> Scorer:
        return self._scorer

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        name = BASELINES.name_of(self.baseline)
        if not self.solution:
            raise InputError(name, "a baseline with a fit of its own", "solve and scorer in its place, to be saved")
        facts, arrays = super()._state()
        facts |= {"model": name, "settings": self.get_params()}
        return facts, arrays | self.solution

    @classmethod
    def _loaded(cls, facts: dict[str, Any], arrays: dict[str, np.ndarray], ids: tuple[RawIds, RawIds]) -> "SolvedModel":
        made = cls.__new__(cls)
        SolvedModel.__init__(made, facts.get("model", "popularity"), **facts.get("settings", {}))  # older: no settings
        made._restore(arrays, ids)
        solution = {name: arrays[name] for name in arrays.keys() - made._state_names()}
        made._take_solution(solution, made.baseline.scorer(solution))
        return made

    def _state_names(self) -> set[str]:
        """The names of the arrays that every model has."""
        return set(Recommender._state(self)[1])


class _Named(SolvedModel):
    """Base of the baselines that have a class."""

    NAME: ClassVar[str]

    def __init__(self, **settings: Any):
        super().__init__(self.NAME, **settings)


class Popularity(_Named):
    """The most popular items for everybody, by the number of train pairs; ties go to the lowest id.

    >>> import lgcn_jax as lg
    >>> popular = lg.Popularity().fit(lg.read(([1, 2, 3, 3], [7, 7, 7, 8]), test_fraction=0.5))
    >>> popular.recommend(2, k=1, exclude_seen=False).ids.tolist()
    [[7]]
    """

    NAME = "popularity"


class ItemKNN(_Named):
    """Items that are like those that a user has, by who has both; see `lgcn_jax.baselines.itemknn`.

    >>> import lgcn_jax as lg
    >>> model = lg.ItemKNN(neighbors=1).fit(lg.read(([1, 1, 2, 2, 3, 4], [7, 8, 7, 8, 7, 9]), test=([3], [8])))
    >>> model.recommend(3, k=1).ids.tolist()
    [[8]]
    """

    NAME = "itemknn"


class UserKNN(_Named):
    """Items of the users who are like a user, by what both have; see `lgcn_jax.baselines.userknn`.

    >>> import lgcn_jax as lg
    >>> model = lg.UserKNN(neighbors=2).fit(lg.read(([1, 1, 2, 2, 3, 4], [7, 8, 7, 8, 7, 9]), test=([3], [8])))
    >>> model.recommend(3, k=1).ids.tolist()
    [[8]]
    """

    NAME = "userknn"


class EASE(_Named):
    """Each item by a linear model of all others, in closed form (Steck 2019); see `lgcn_jax.baselines.ease`.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> model = lg.EASE(l2=80).fit(interactions)
    >>> model.recommend(3, k=5).ids.shape
    (1, 5)
    """

    NAME = "ease"


class GFCF(_Named):
    """A linear and a low-pass filter of the graph of items (Shen et al. 2021); see `lgcn_jax.baselines.gfcf`.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> lg.GFCF(rank=8).fit(interactions).recommend(3, k=5).ids.shape
    (1, 5)
    """

    NAME = "gf-cf"


class ChebyCF(_Named):
    """A plateau of the graph's spectrum, by a polynomial (Kim et al. 2025); see `lgcn_jax.baselines.chebycf`.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> lg.ChebyCF(rank=8).fit(interactions).recommend(3, k=5).ids.shape
    (1, 5)
    """

    NAME = "chebycf"


class SLIM(_Named):
    """Each item by a sparse linear model of the nearest items (Ning and Karypis 2011); see `lgcn_jax.baselines.slim`.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> lg.SLIM(neighbors=20).fit(interactions).recommend(3, k=5).ids.shape
    (1, 5)
    """

    NAME = "slim"


class IALS(_Named, VectorModel):
    """Vectors by alternating least squares (Hu et al. 2008, Rendle et al. 2022); see `lgcn_jax.baselines.ials`.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> lg.IALS(width=8, sweeps=4).fit(interactions).similar_items(3, k=5).ids.shape
    (1, 5)
    """

    NAME = "ials"

    def _take_solution(self, solution: dict[str, np.ndarray], scorer: Scorer) -> None:
        super()._take_solution(solution, scorer)
        self.user_embeddings, self.item_embeddings = solution["user_embeddings"], solution["item_embeddings"]


class BSPM(_Named):
    """Interactions blurred by the graph of items and sharpened (Choi et al. 2023); see `lgcn_jax.baselines.bspm`.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> lg.BSPM(rank=8).fit(interactions).recommend(3, k=5).ids.shape
    (1, 5)
    """

    NAME = "bspm"


class SGFCF(_Named):
    """Singular vectors weighted for each user and item (Peng et al. 2024); see `lgcn_jax.baselines.sgfcf`.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> lg.SGFCF(rank=8).fit(interactions).recommend(3, k=5).ids.shape
    (1, 5)
    """

    NAME = "sgfcf"


def make_solved_model(model: str, **settings: Any) -> SolvedModel:
    """The baseline of this name and its settings, of its own class where it has one."""
    for cls in NAMED:
        if model == cls.NAME:
            return cls(**settings)
    return SolvedModel(model, **settings)


NAMED = (Popularity, ItemKNN, UserKNN, EASE, GFCF, ChebyCF, SLIM, IALS, BSPM, SGFCF)
KINDS: dict[str, type[SolvedModel]] = {cls.__name__: cls for cls in (SolvedModel, *NAMED)}
