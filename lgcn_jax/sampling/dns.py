"""Dynamic negative sampling: of several uniform candidates, the ones that the model ranks highest."""

import dataclasses

from lgcn_jax.errors import InputError
from lgcn_jax.sampling.negatives import KnownPairs, NegativeSettings
from lgcn_jax.sampling.pairs import Ownership
from lgcn_jax.sampling.uniform import UniformNegatives
from lgcn_jax.settings import integer


@dataclasses.dataclass(frozen=True, kw_only=True)
class DNSSettings(NegativeSettings):
    """DNS(M, N): the M best-scored of N candidates, uniform among the items that the user does not have.

    From Zhang et al. 2013 (M = 1, the hardest) and Shi et al. 2023, "On the Theories Behind Hard Negative Sampling for
    Recommendation", where one of the M is drawn; here a loss sees all of them, and its mean is the draw's expectation.
    """

    num_candidates: int = integer(32, "candidates N of each example")
    num_hardest: int = integer(1, "the best-scored M of them, which are trained on")

    def __post_init__(self):
        super().__post_init__()
        if self.num_hardest > self.num_candidates:
            expected = f"at most --num_candidates={self.num_candidates}"
            raise InputError("--num_hardest", self.num_hardest, expected)

    @property
    def per_example(self) -> int:
        return self.num_candidates

    @property
    def hardest(self) -> int:
        return self.num_hardest

    def build(self, known: KnownPairs, owned: Ownership) -> UniformNegatives:
        del known, owned
        return UniformNegatives(self.num_candidates)
