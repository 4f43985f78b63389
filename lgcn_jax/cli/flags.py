"""Flags made of settings: each has the type, help text and default of the field that it states."""

import types
import typing
from collections.abc import Iterable
from typing import Any

from absl import flags

from lgcn_jax.config import PARTS
from lgcn_jax.errors import InputError
from lgcn_jax.settings import Registry, fields, format_value


class Flag(typing.NamedTuple):
    """How a setting is stated: its type, what it is by default, and a help text that says so."""

    kind: type
    help: str
    group: str


def all_flags(parts: dict[str, Any] = PARTS) -> dict[str, Flag]:
    """The flags of all settings of these parts, by name, group after group.

    Raises:
      InputError: two of them, of parts that exclude each other, have one name and different types.
    """
    found: dict[str, Flag] = {}
    for part, kind in parts.items():
        if isinstance(kind, Registry):
            found[part] = Flag(str, f"{kind.help}: {', '.join(kind)} (default: {kind.default})", part)
        for cls in kind.values() if isinstance(kind, Registry) else (kind,):
            for name, field in fields(cls).items():
                flag = found.setdefault(name, Flag(field.type, _flag_help(name, field, kind), part))
                if flag.kind != field.type:
                    here, there = _type_name(field.type), _type_name(flag.kind)
                    both = f"of type {here} in {cls.__name__} and {there} in another part"
                    raise InputError(f"--{name}", f"a setting {both}", "one type for one name")
    return found


def _type_name(kind: type) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)


def _flag_help(name: str, field, kind: Registry | type) -> str:
    default = "" if field.default in (None, (), "") else f"default: {_flag_default(name, field, kind)}"
    having = [each for each in kind if name in fields(kind[each])] if isinstance(kind, Registry) else []
    only = f"of --{kind.kind}={' or '.join(having)}" if having and len(having) < len(kind) else ""
    told = "; ".join(filter(None, (default, only)))
    return f"{field.metadata['help']} ({told})" if told else field.metadata["help"]


def _flag_default(name: str, field, kind: Registry | type) -> str:
    """The default, or each one and the parts that have it where parts of a kind differ."""
    found: dict[str, list[str]] = {}
    for each in kind if isinstance(kind, Registry) else ():
        if name in (having := fields(kind[each])):
            found.setdefault(format_value(having[name].default), []).append(each)
    if len(found) < 2:
        return format_value(field.default)
    return ", ".join(f"{value} for {' and '.join(names)}" for value, names in found.items())


def define_flags(values: flags.FlagValues, known: dict[str, Flag]) -> None:
    """Adds flags to `values`; their defaults are None, so that given ones are known."""
    for name, flag in known.items():
        flags.DEFINE(_Parser(flag.kind), name, None, flag.help, flag_values=values, serializer=None)


def define_integer(values: flags.FlagValues, name: str, default: int, text: str) -> None:
    """Adds a flag of an integer to `values`."""
    flags.DEFINE(_Parser(int), name, default, text, flag_values=values, serializer=None)


def stated_settings(values: flags.FlagValues, names: Iterable[str]) -> dict[str, Any]:
    """The settings among `names` that the command line states."""
    return {name: values[name].value for name in names if name in values and values[name].present}


def _is_union(kind: typing.Any) -> bool:
    return isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union


class _Parser(flags.ArgumentParser):
    """Text of a flag -> value of the setting's type."""

    syntactic_help = ""

    def __init__(self, kind: type):
        super().__init__()
        kinds = typing.get_args(kind) if _is_union(kind) else (kind,)
        self._or_text = kinds[0] is not str and str in kinds  # then the setting says which texts it takes
        self._repeated = typing.get_origin(kinds[0]) is tuple
        self._kind = typing.get_args(kinds[0])[0] if self._repeated else kinds[0]

    def parse(self, argument: str):
        try:
            return self._parse_text(argument)
        except ValueError:
            if self._or_text and argument:
                return argument
            raise

    def _parse_text(self, argument: str):
        if self._repeated:
            if not argument:
                raise ValueError("expected numbers, separated by commas")
            return tuple(self._convert(part) for part in argument.split(","))
        return self._convert(argument)

    def _convert(self, text: str):
        if self._kind is bool:
            if text.lower() not in ("true", "false"):
                raise ValueError("expected true or false")
            return text.lower() == "true"
        try:
            return self._kind(text)
        except ValueError:
            raise ValueError(f"expected {'an integer' if self._kind is int else 'a number'}") from None

    def flag_type(self) -> str:
        return self._kind.__name__
