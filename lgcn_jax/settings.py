"""Settings as fields of small frozen dataclasses, each in the part that it sets: written once, with range and help.

A part that can be exchanged for another (a loss, a model, a sampler) stands in the `Registry` of its kind.
"""

import dataclasses
import difflib
import functools
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lgcn_jax.errors import InputError


def setting(default: Any, help_text: str, accepts: Callable[[Any], bool] = lambda _: True, expected: str = "") -> Any:
    """A field with a help text, a range and its description."""
    return dataclasses.field(default=default, metadata={"help": help_text, "accepts": accepts, "expected": expected})


def choice(default: str, choices: tuple[str, ...], help_text: str) -> Any:
    """A field that takes one of some texts."""
    listed = ", ".join(choices)
    return setting(default, f"{help_text}: {listed}", lambda value: value in choices, f"one of {listed}")


def integer(default: int, help_text: str, least: int = 1, most: int = 2**31 - 1) -> Any:
    """A field that takes the integers from `least` to `most`."""

    def accepts(value) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return setting(default, help_text, accepts, f"an integer from {least} to {most}")


def real(default: float, help_text: str, accepts: Callable[[float], bool], expected: str) -> Any:
    """A field that takes the numbers that `accepts` holds for, as far as float32 has them."""
    return setting(default, help_text, lambda v: representable(v) and accepts(v), f"{expected} (in float32)")


def representable(value: float) -> bool:
    """Whether the value is a number in float32, neither infinite nor flushed to zero."""
    return value == 0 or 1e-37 <= abs(value) <= 1e38


def format_value(value: Any) -> str:
    """A setting's value as the command line takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else repr(value) if value == "" else str(value)


def _plain_value(value: Any) -> Any:
    """A value as JSON and flags have it: NumPy's numbers, lists and paths are made plain."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return tuple(map(_plain_value, value))
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of a part's settings: a frozen dataclass whose values are checked at construction.

    Raises:
      InputError: a value is outside its range; the message names the flag, the value and the range.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = _plain_value(getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            require_accepted(field, value, f"--{field.name}")


def require_accepted(field: dataclasses.Field, value: Any, where: object) -> None:
    """Raises an InputError, which says `where` the value stands, where it is outside the range of its setting."""
    try:
        accepted = field.metadata["accepts"](value)
    except TypeError:  # a value of a type that has no such range
        accepted = False
    if not accepted:
        raise InputError(where, format_value(value), field.metadata["expected"] or "another type")


def fields(cls: type[Settings]) -> Mapping[str, dataclasses.Field]:
    """The settings of a part by name, in the order in which they are written; `type` is the resolved type."""
    return _resolved_fields(cls)  # type: ignore[arg-type]  # mypy takes a class for unhashable whose objects have no __hash__


@functools.cache  # each command asks for those of all parts, some thousand times
def _resolved_fields(cls: type[Settings]) -> Mapping[str, dataclasses.Field]:
    kinds, found = typing.get_type_hints(cls), {}
    for field in dataclasses.fields(cls):
        field.type = kinds[field.name]
        found[field.name] = field
    return types.MappingProxyType(found)


def expected_instead(name: str, known: Iterable[str]) -> str:
    """What is expected in place of a setting that is none of the known ones."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"a setting that there is{f' (did you mean --{near[0]}?)' if near else ''}"


Part = typing.TypeVar("Part", bound=Settings)


class Registry(Mapping[str, type[Part]], typing.Generic[Part]):
    """The parts of one kind, by the names that the command line knows them by.

    Attributes:
      kind: what the parts are, which is also the flag that chooses one of them.
      default: the name of the one that is taken where none is stated.
      help: what the flag chooses.
    """

    def __init__(self, kind: str, help_text: str, parts: dict[str, type[Part]]):
        self.kind, self.help, self.default = kind, help_text, next(iter(parts))
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> type[Part]:
        if not isinstance(name, str) or name not in self._parts:
            hint = " (--plugin=MODULE registers more)"
            raise InputError(f"--{self.kind}", repr(name), f"one of {', '.join(self._parts)}{hint}")
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def register(self, name: str) -> Callable[[type[Part]], type[Part]]:
        """A class decorator that makes a class of annotated fields a part of this kind.

        Raises:
          TypeError: a field is not one that this module makes.
          ValueError: another part has this name.
        """

        def add(cls: type[Part]) -> type[Part]:
            cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
            for field in dataclasses.fields(cls):
                if "accepts" not in field.metadata:
                    expected = "one of setting(), choice(), integer(), real()"
                    raise TypeError(f"{cls.__name__}.{field.name}: found a field without a range, expected {expected}")
            before = self._parts.get(name)
            if before and (before.__module__, before.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(f"a {self.kind} called {name!r} exists already: {before.__module__}.{before.__name__}")
            self._parts[name] = cls
            return cls

        return add

    def name_of(self, part: Settings) -> str:
        """The name of a part's class."""
        return next(name for name, cls in self._parts.items() if cls is type(part))
