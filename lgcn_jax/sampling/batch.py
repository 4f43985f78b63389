"""What a step trains on."""

from typing import NamedTuple, Protocol

import jax


class Batch(NamedTuple):
    """Examples (user, positive item, negative items); items are not offset.

    Attributes:
      user, positive: int32[B].
      negative: int32[B, n], n items of each example; int32[n], the same for all examples; None: the positive items of
        the other examples.
      weight: float32[B], of each example in the mean; 0 where it is padding.
      positive_probability: float32[B], how probable each positive item is to be that of an example; None where that
        is not known.
      negative_probability: likewise of each negative item to be drawn, of the negatives' shape.
    """

    user: jax.Array
    positive: jax.Array
    negative: jax.Array | None
    weight: jax.Array
    positive_probability: jax.Array | None = None
    negative_probability: jax.Array | None = None


class Sampler(Protocol):
    """A pytree that draws an epoch's batches on the device, a pure function of a key.

    Attributes:
      num_examples: examples of an epoch; static.
    """

    @property
    def num_examples(self) -> int: ...

    def draw(self, key: jax.Array, step: jax.Array, batch_size: int) -> Batch:
        """The `step`-th batch (from 0) of the epoch with this key; the same on all devices."""
