"""Values -> places in a picture, and the round values that an axis names."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scale:
    """Maps `low` to `start` and `high` to `stop`, between them linearly or by logarithms.

    >>> Scale(0, 10, 100, 200)(5)
    150.0
    >>> Scale(1, 100, 0, 1, log=True)(10)
    0.5
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (
            (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.stop - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """About so many round values within the scale."""
        return _log_ticks(self.low, self.high, wanted) if self.log else _linear_ticks(self.low, self.high, wanted)


def scale_covering(values: np.ndarray, start: float, stop: float, *, log: bool = False, zero: bool = False) -> Scale:
    """A scale from the least to the largest of the values, or from `zero`; a little wider where they are all alike."""
    low, high = float(np.min(values)), float(np.max(values))
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1))
    return Scale(low, high, start, stop, log)


def round_to_ticks(scale: Scale, wanted: int = 5) -> Scale:
    """The scale widened to round values at both ends."""
    if scale.log:
        return scale
    step = _nice_step(scale.high - scale.low, wanted)
    low, high = math.floor(scale.low / step + 1e-9) * step, math.ceil(scale.high / step - 1e-9) * step
    return dataclasses.replace(scale, low=low, high=high)


def _nice_step(span: float, wanted: int) -> float:
    """1, 2 or 5 times a power of ten, such that about so many steps make the span."""
    rough = span / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _linear_ticks(low: float, high: float, wanted: int) -> list[float]:
    step = _nice_step(high - low, wanted)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)) + 1)
    return [round(number * step, digits) for number in range(first, last + 1)]


def _log_ticks(low: float, high: float, wanted: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [f * 10.0**p for p in powers for f in factors]
        found = [float(f"{tick:.3g}") for tick in found if low * 0.999 <= tick <= high * 1.001]
        if len(found) <= wanted + 1:
            break
    return found if len(found) >= 2 else _linear_ticks(low, high, wanted)
