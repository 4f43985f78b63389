"""What one setting may be in a search: one of some values, or a number of a range."""

import dataclasses
import difflib
import math
import types
import typing
from decimal import Decimal
from typing import Any

from lgcn_jax.errors import InputError
from lgcn_jax.settings import format_value

if typing.TYPE_CHECKING:
    import optuna

KEYS = {"low": None, "high": None, "log": False, "step": None}  # of a range, with what they are where they are missing
WHOLE_STEPS = 1e-9  # how far from a whole number of steps the width of a range may be


class Dimension:
    """Base of the two kinds: what a setting may be."""

    @property
    def values_to_check(self) -> tuple[Any, ...]:
        """The values that are checked before the first trial: all choices, or both ends."""
        raise NotImplementedError

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        """The value of a trial, of the type of the setting."""
        raise NotImplementedError

    def from_stored(self, stored: Any) -> Any:
        """The value of the setting, as a storage has it."""
        return stored

    def to_json(self) -> Any:
        """As a space file has it."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Choices(Dimension):
    """One of some values, between which there is no order."""

    values: tuple[Any, ...]

    @property
    def values_to_check(self) -> tuple[Any, ...]:
        return self.values

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        return self.from_stored(trial.suggest_categorical(name, [_to_storable(value) for value in self.values]))

    def from_stored(self, stored: Any) -> Any:
        return next(value for value in self.values if _to_storable(value) == stored)

    def to_json(self) -> list[Any]:
        return [list(value) if isinstance(value, tuple) else value for value in self.values]


@dataclasses.dataclass(frozen=True)
class Range(Dimension):
    """A number from `low` to `high`, both included; integers where both are.

    Attributes:
      log: whether equal ratios are equally likely at first, in place of equal differences.
      step: between neighboring values, from `low` on; None: any number, of integers each one.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def values_to_check(self) -> tuple[Any, ...]:
        return (self.low, self.high) if self.low != self.high else (self.low,)

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        if isinstance(self.low, int):
            return trial.suggest_int(name, self.low, int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in dataclasses.asdict(self).items() if value != KEYS[name]}


def parse_dimension(where: str, stated: Any, kind: Any) -> Dimension:
    """The dimension that a space states for a setting.

    Args:
      where: file and setting, for messages.
      stated: a list of values, or {"low": .., "high": .., "log": true, "step": ..}; log and step may be missing.
      kind: the type of the setting.

    Raises:
      InputError: it is neither, or of another type than the setting.
    """
    if isinstance(stated, list | tuple):
        return _parse_choices(where, stated, kind)
    if isinstance(stated, dict):
        return _parse_range(where, stated, kind)
    raise InputError(where, _shorten(stated), 'a list of values, or {"low": .., "high": ..}')


def _parse_choices(where: str, stated: list[Any] | tuple[Any, ...], kind: Any) -> Choices:
    if not stated:
        raise InputError(where, "an empty list", "at least one value")
    values = tuple(convert_value(where, value, kind) for value in stated)
    for value in values:
        if values.count(value) > 1:
            raise InputError(where, f"{format_value(value)} more than once", "each value once")
    return Choices(values)


def _parse_range(where: str, stated: dict[str, Any], kind: Any) -> Range:
    number = next((each for each in _union_members(kind) if each in (int, float)), None)
    if number is None:
        raise InputError(where, "a range", f"a list of values, since the setting is {_describe_type(kind)}")
    for key in stated:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            raise InputError(where, f"the key {_shorten(key)}", f"{near[0] if near else 'one of ' + ', '.join(KEYS)}")
    for key in ("low", "high"):
        if key not in stated:
            raise InputError(where, f"a range without {key}", '{"low": .., "high": ..}')
    log, step = stated.get("log", False), stated.get("step")
    if not isinstance(log, bool):
        raise InputError(f"{where}, log", _shorten(log), "true or false")
    low, high = (convert_value(f"{where}, {key}", stated[key], number) for key in ("low", "high"))
    step = None if step is None else convert_value(f"{where}, step", step, number)
    _require_range(where, low, high, log, step)
    return Range(low, high, log, step)


def _require_range(where: str, low: float, high: float, log: bool, step: float | None) -> None:
    """Raises an InputError where these do not make a range."""
    if low > high:
        raise InputError(where, f"low {low} above high {high}", "low of at most high")
    if log and low <= 0:
        raise InputError(where, f"log with low {low}", "low above 0, since its logarithm is taken")
    if step is None:
        return
    if log:
        raise InputError(where, "both log and step", "one of them")
    if step <= 0:
        raise InputError(f"{where}, step", step, "a number above 0")
    steps = (Decimal(str(high)) - Decimal(str(low))) / Decimal(str(step))
    if abs(steps - round(steps)) > WHOLE_STEPS:
        raise InputError(where, f"high {high}, which steps of {step} from {low} do not meet", "whole steps")


def convert_value(where: str, value: Any, kind: Any) -> Any:
    """The value as the setting of this type has it: lists are tuples, and integers may stand for numbers.

    Raises:
      InputError: it is of another type.
    """
    for member in _union_members(kind):
        if typing.get_origin(member) is tuple and isinstance(value, list | tuple):
            return tuple(convert_value(where, each, typing.get_args(member)[0]) for each in value)
        if member is float and type(value) is int and abs(value) < 2**53:
            return float(value)
        if type(value) is member and not (member is float and not math.isfinite(value)):
            return value
    raise InputError(where, _shorten(value), _describe_type(kind))


def _union_members(kind: Any) -> tuple[Any, ...]:
    union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    return typing.get_args(kind) if union else (kind,)


def _describe_type(kind: Any) -> str:
    """What a user calls a type."""
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a text", type(None): "null"}
    return " or ".join(names.get(each, "a list of numbers") for each in _union_members(kind))


def _to_storable(value: Any) -> Any:
    """A choice as Optuna's storages take it."""
    return format_value(value) if isinstance(value, tuple) else value


def _shorten(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
