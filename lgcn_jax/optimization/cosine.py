"""The cosine schedule: the learning rate falls along half a cosine, whatever the evaluations say."""

import dataclasses
import math

from lgcn_jax.optimization.optimizer import Schedule
from lgcn_jax.settings import integer, real


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Up from 0 in a straight line, down to a fraction along half a cosine (Loshchilov and Hutter 2017), then constant.

    The rate changes between epochs, and in each is that of the epoch's middle. It depends on the number of the epoch
    alone, not on --epochs: a run that is continued goes on as a longer one would have.

    >>> [round(Cosine(decay_epochs=4, final_fraction=0.1).scale_in(epoch), 3) for epoch in (1, 2, 3, 4, 5)]
    [0.966, 0.722, 0.378, 0.134, 0.1]
    """

    decay_epochs: int = integer(100, "epochs, from the end of the warm-up on, in which the learning rate falls")
    final_fraction: float = real(
        0.01, "what the learning rate is multiplied with in the end", lambda v: 0 <= v <= 1, "a number from 0 to 1"
    )
    warmup_epochs: int = integer(0, "epochs at the beginning in which the learning rate rises from 0", least=0)

    def scale_in(self, epoch: int) -> float:
        middle = epoch - 0.5
        if middle < self.warmup_epochs:
            return middle / self.warmup_epochs
        done = min(1.0, (middle - self.warmup_epochs) / self.decay_epochs)
        return self.final_fraction + (1 - self.final_fraction) * (1 + math.cos(math.pi * done)) / 2
