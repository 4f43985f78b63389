"""What was put on devices, kept for the next call."""

from collections.abc import Callable, Hashable
from typing import Any

import jax


class Uploads:
    """Keeps what was made of arrays of the host, as long as it is asked for with these very arrays.

    >>> import numpy as np
    >>> uploads, array = Uploads(), np.arange(3)
    >>> uploads.get("twice", array, lambda made: made * 2) is uploads.get("twice", array, lambda made: made * 2)
    True
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[list[Any], Any]] = {}

    def get(self, name: Hashable, source: Any, make: Callable[[Any], Any]) -> Any:
        """`make(source)`, made at the first call and where the arrays of the pytree `source` are others than before.

        Numbers that were changed within an array are not noticed.
        """
        arrays = jax.tree.leaves(source)
        before, made = self._kept.get(name, ([], None))
        if len(before) != len(arrays) or any(old is not new for old, new in zip(before, arrays, strict=True)):
            self._kept.pop(name, None)  # its memory is free before it is needed again
            made = make(source)
            self._kept[name] = arrays, made
        return made
