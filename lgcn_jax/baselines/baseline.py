"""What a baseline is: settings, and a scorer that is made of the train pairs without a gradient step."""

import dataclasses

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline(Settings):
    """Base of all baselines; a subclass adds its settings as fields, and `fit`."""

    def fit(self, interactions: Interactions) -> Scorer:
        """The scorer of every user and item of the data set, made of its train part alone."""
        raise NotImplementedError
