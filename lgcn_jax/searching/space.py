"""What a search chooses among: the settings of a space, those that all trials have, and which of them go together."""

import dataclasses
import difflib
import itertools
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lgcn_jax.config import PARTS, Config, chosen_names, parts_with_setting
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError
from lgcn_jax.searching import dimensions
from lgcn_jax.searching.dimensions import Dimension
from lgcn_jax.settings import Registry, Settings, fields, format_value, require_accepted

# What trials have in common, since else their metrics could not be compared, or since no metric depends on it.
COMMON = {
    **dict.fromkeys(fields(DataSettings), "all trials have the same data"),
    **dict.fromkeys(("eval_split", "eval_every", "top_k"), "all trials are evaluated alike"),
    **dict.fromkeys(("save_every", "node_order", "propagation", "mesh"), "no metric depends on it"),
    "warm_start": "all trials begin alike",
}
# What no study remembers: data are compared by content, and the rest changes no metric.
ALIKE = {*fields(DataSettings), *("save_every", "node_order", "propagation", "mesh")}


@dataclasses.dataclass(frozen=True)
class Space:
    """The settings of a search's trials: what each one may be, and those that are the same in all.

    A setting of either kind is part of a trial where the parts that the trial has chosen have it.

    Attributes:
      where: what to call the space in messages: its file.
      dimensions: what each setting of the space may be, those that choose parts first.
      fixed: settings of all trials.
    """

    where: str
    dimensions: dict[str, Dimension]
    fixed: dict[str, Any]

    @classmethod
    def of(cls, stated: Any, fixed: Mapping[str, Any], where: str = "space") -> "Space":
        """The space that `stated` holds, {setting: list of values or range}, checked in full.

        Raises:
          InputError: it is no space, a setting is unknown, of no part, or out of its range, or settings do not go
            together; the message says `where`.
        """
        if not isinstance(stated, Mapping):
            raise InputError(where, f"a {type(stated).__name__}", "an object: {setting: list of values or range}")
        if not stated:
            raise InputError(where, "no setting", "at least one: {setting: list of values or range}")
        for name in stated:
            _require_searchable(where, name, fixed)
        found = {
            name: dimensions.parse_dimension(f"{where}: {name}", stated[name], _setting_type(name))
            for name in sorted(stated, key=lambda name: (name not in PARTS, list(_setting_types()).index(name)))
        }
        space = cls(where, found, dict(fixed))
        space._require_settings_of_parts()
        space._require_that_all_go_together()
        return space

    def settings(self, pick: Callable[[str, Dimension], Any]) -> dict[str, Any]:
        """The settings of a trial, for `Config.of`; `pick` says what each one of the space is that the trial has."""
        chosen = {name: value for name, value in self.fixed.items() if name in PARTS}
        for name, dimension in self.dimensions.items():
            if name in PARTS or self._has_setting(chosen, name):
                chosen[name] = pick(name, dimension)
        return chosen | {name: value for name, value in self.fixed.items() if self._has_setting(chosen, name)}

    def pick_searched(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Those settings of a trial that the space has."""
        return {name: settings[name] for name in self.dimensions if name in settings}

    def examples(self) -> Iterator[dict[str, Any]]:
        """For all combinations of parts, the settings with the first value of each dimension, and with each of the
        others in turn."""
        for parts in self._part_combinations():
            first = self.settings(lambda name, dimension: {**parts}.get(name, dimension.values_to_check[0]))  # noqa: B023
            yield first
            for name, dimension in self.dimensions.items():
                if name in first and name not in PARTS:
                    yield from (first | {name: value} for value in dimension.values_to_check[1:])

    def facts(self) -> dict[str, Any]:
        """What a study remembers: JSON values that are the same for the same search, wherever its data lie."""
        whole = Config.of(**next(self.examples())).to_dict() | self.fixed
        ignored = ALIKE | self.dimensions.keys()
        settings = {name: value for name, value in sorted(whole.items()) if name not in ignored}
        space = {name: dimension.to_json() for name, dimension in sorted(self.dimensions.items())}
        return json.loads(json.dumps({"space": space, "settings": settings}))

    def _part_combinations(self) -> Iterator[dict[str, str]]:
        """All that the dimensions that choose parts may choose."""
        named = {name: dimension.values_to_check for name, dimension in self.dimensions.items() if name in PARTS}
        for values in itertools.product(*named.values()):
            yield dict(zip(named, values, strict=True))

    def _has_setting(self, chosen: Mapping[str, Any], name: str) -> bool:
        """Whether the parts that are chosen have the setting."""
        return name in PARTS or any(name in fields(cls) for cls in _settings_classes(chosen))

    def _require_settings_of_parts(self) -> None:
        """Raises an InputError where no trial would have a setting, or a value is out of its range."""
        for name, dimension in self.dimensions.items():
            if isinstance(kind := PARTS.get(name), Registry):
                for value in dimension.values_to_check:
                    _check_at(f"{self.where}: {name}", lambda: kind[value])  # noqa: B023
        combinations = [self.fixed | parts for parts in self._part_combinations()]
        for name in (*self.dimensions, *self.fixed):
            if not any(self._has_setting(chosen, name) for chosen in combinations):
                for part, having in parts_with_setting(name).items():
                    where = f"{self.where}: {name}" if name in self.dimensions else f"--{name}"
                    expected = f"nothing, or {part} = {' or '.join(having)}, which has it"
                    raise InputError(where, "a setting that no part of the search has", expected)
        for name in self.dimensions.keys() - PARTS.keys():
            for cls in dict.fromkeys(cls for chosen in combinations for cls in _settings_classes(chosen)):
                if name in fields(cls):
                    for value in self.dimensions[name].values_to_check:
                        require_accepted(fields(cls)[name], value, f"{self.where}: {name}")

    def _require_that_all_go_together(self) -> None:
        """Raises an InputError where settings that a trial may have do not go together."""
        for settings in self.examples():
            found = ", ".join(f"{name}={format_value(value)}" for name, value in self.pick_searched(settings).items())
            _check_at(f"{self.where}, {found}", lambda: Config.of(**settings))  # noqa: B023


def read_space(space: Any, fixed: Mapping[str, Any], where: str = "") -> Space:
    """The space of a JSON file, or of a mapping.

    Raises:
      InputError: as `Space.of`, or the file cannot be read.
    """
    if isinstance(space, Mapping):
        return Space.of(space, fixed)
    if not isinstance(space, str | Path):
        raise InputError("space", f"a {type(space).__name__}", "a path, or {setting: list of values or range}")
    where = where or str(space)
    try:
        content = Path(space).expanduser().read_text(encoding="utf-8")
        stated = json.loads(content, object_pairs_hook=_require_unique_keys, parse_constant=_refuse_constant)
    except (OSError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(where, f"a file that cannot be read ({reason})", "a JSON file of a space") from None
    except ValueError as error:
        raise InputError(where, f"a file that is no JSON ({error})", "a JSON file of a space") from None
    return Space.of(stated, fixed, where)


def _require_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    for name in found:
        if sum(key == name for key, _ in pairs) > 1:
            raise ValueError(f"{name} stands there twice")
    return found


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _settings_classes(chosen: Mapping[str, Any]) -> list[type[Settings]]:
    """The settings of the parts that are chosen, and those of what is no part."""
    names = chosen_names(dict(chosen))
    return [kind[names[part]] if isinstance(kind, Registry) else kind for part, kind in PARTS.items()]


def _setting_types() -> dict[str, Any]:
    """The type of each setting, of all parts that are registered."""
    found: dict[str, Any] = {}
    for part, kind in PARTS.items():
        if isinstance(kind, Registry):
            found[part] = str
        for cls in kind.values() if isinstance(kind, Registry) else (kind,):
            for name, field in fields(cls).items():
                found.setdefault(name, field.type)
    return found


def _setting_type(name: str) -> typing.Any:
    return _setting_types()[name]


def _require_searchable(where: str, name: Any, fixed: Mapping[str, Any]) -> None:
    """Raises an InputError where a name is not that of a setting that may differ between trials."""
    known = _setting_types().keys() - COMMON.keys()
    if name in COMMON:
        raise InputError(
            f"{where}: {name}", "a setting that no search chooses", f"it beside the space, since {COMMON[name]}"
        )
    if name not in known:
        near = difflib.get_close_matches(str(name), sorted(known), 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(f"{where}: {name}", "an unknown setting", f"a setting of train{hint}")
    if name in fixed:
        raise InputError(f"--{name}", f"a setting that {where} has, too", "it in one of both places")


def _check_at(where: str, check: Callable[[], Any]) -> None:
    """Calls the check; what it refuses is told with the place in the space."""
    try:
        check()
    except InputError as error:
        flag, found, expected = error.parts
        raise InputError(where, found if flag.strip("-") in where else f"{flag} {found}", expected) from None
