"""What differs among the members of a population: the seed, and numbers that a compiled program can take as inputs."""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lgcn_jax.config import PARTS, Config, all_setting_names
from lgcn_jax.errors import InputError
from lgcn_jax.optimization import Adam, Optimizer, Schedule, make_optimizer
from lgcn_jax.settings import Registry, Settings, expected_instead, fields, format_value

FLAG = "--population"

Values = Mapping[str, np.ndarray | jax.Array]  # by the name of a setting, one value for each member


@dataclasses.dataclass(frozen=True)
class Members:
    """The members of a population, each with settings that a run of its own could have.

    >>> members = Members.of(lambda own: Config.of(loss="enhanced", **own), [{"seed": 1}, {"seed": 2, "margin": 0.1}])
    >>> members.settings
    ({'seed': 1, 'margin': 0.05}, {'seed': 2, 'margin': 0.1})

    Attributes:
      configs: the settings of each.
      settings: the part of them that members state, by name, the same names for each.
    """

    configs: tuple[Config, ...]
    settings: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, make: Callable[[dict[str, Any]], Config], stated: Sequence[Mapping[str, Any]]) -> "Members":
        """The members that state these settings of their own.

        Args:
          make: a member's own settings -> its settings, those that all members share included.
          stated: the members' own settings.

        Raises:
          InputError: there is no member, two are alike, or one states what cannot differ, or a value out of range.
        """
        if not stated:
            raise InputError(FLAG, "no member", "at least one")
        configs = tuple(_member_config(make, number, own) for number, own in enumerate(stated))
        names = tuple(dict.fromkeys(name for own in stated for name in own))
        settings = tuple({name: _setting_value(config, name) for name in names} for config in configs)
        for name, wanted in configs[0].ignored_settings().items():
            if name in names:
                raise InputError(f"{FLAG}: --{name}", "a setting without effect here", wanted)
        _require_distinct(settings)
        found = cls(configs, settings)
        _require_clipping(found)
        return found

    def __len__(self) -> int:
        return len(self.configs)

    @property
    def base(self) -> Config:
        """Settings of which those count that all members share."""
        return self.configs[0]

    def traced_settings(self) -> dict[str, np.ndarray]:
        """Host: the seeds, uint32[P], and every number that is not the same for all members, float32[P], by name."""
        differing = [name for name in self.settings[0] if len({own[name] for own in self.settings}) > 1]
        seeds = np.array([config.training.seed for config in self.configs], np.uint32)
        numbers = (name for name in differing if name != "seed")
        return {"seed": seeds} | {name: np.array([own[name] for own in self.settings], np.float32) for name in numbers}

    def describe(self, member_index: int) -> str:
        """A member's own settings as text."""
        return ", ".join(f"{name}={format_value(value)}" for name, value in self.settings[member_index].items())


class TracedConfig(Config):
    """Settings of which some are traced numbers; they were checked as those of each member."""

    def build_optimizer(self) -> Optimizer:
        """What makes steps; the schedule's state, which multiplies them, is moved on by each member's own settings."""
        return make_optimizer(self.optimizer, Schedule())


def with_traced_settings(config: Config, values: Mapping[str, jax.Array]) -> Config:
    """The settings with traced numbers in place of those of the same names, which no check is able to look at."""
    made = object.__new__(TracedConfig)
    vars(made).update(vars(config))
    for part in PARTS:
        own = {name: values[name] for name in fields(type(getattr(config, part))) if name in values}
        if own:
            settings = copy.copy(getattr(config, part))
            vars(settings).update(own)
            vars(made)[part] = settings
    return made


def settings_that_may_differ() -> tuple[str, ...]:
    """The names of all settings in which members may differ, of all losses that are registered."""
    losses = PARTS["loss"]
    assert isinstance(losses, Registry)
    numbers = [name for cls in (*losses.values(), Adam) for name in _float_settings(cls)]
    return tuple(sorted({"seed", "init_std", *numbers}))


def _float_settings(cls: type[Settings]) -> list[str]:
    return [name for name, field in fields(cls).items() if field.type is float]


def _member_config(make: Callable[[dict[str, Any]], Config], member_index: int, own: Mapping[str, Any]) -> Config:
    """The settings of a member; an InputError that names it."""
    where = f"{FLAG}, member {member_index}"
    for name, value in own.items():
        _require_setting(where, name, value)
    try:
        return make({name: _to_float(value) if name != "seed" else value for name, value in own.items()})
    except InputError as error:
        at, found, expected = error.parts
        raise InputError(f"{where}: {at}", found, expected) from None


def _to_float(value: Any) -> Any:
    """A number as flags have it, and with it config.json: 0.0 for 0."""
    return float(value) if isinstance(value, int) else value


def _require_setting(where: str, name: Any, value: Any) -> None:
    """Raises an InputError where members cannot differ in a setting, or its value is no number."""
    if name not in settings_that_may_differ():
        known = all_setting_names()
        if name not in known:
            raise InputError(where, repr(name), expected_instead(str(name), settings_that_may_differ()))
        found = "a setting that decides the compiled program"
        raise InputError(f"{where}: --{name}", found, f"one in which members may differ, or --{name} for all of them")
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise InputError(f"{where}: --{name}", repr(value), "a number")


def _setting_value(config: Config, name: str) -> Any:
    return config.to_dict()[name]


def _require_distinct(settings: tuple[dict[str, Any], ...]) -> None:
    first: dict[tuple, int] = {}
    for number, own in enumerate(settings):
        before = first.setdefault(tuple(own.values()), number)
        if before != number:
            alike = ", ".join(f"{name}={format_value(value)}" for name, value in own.items())
            raise InputError(FLAG, f"members {before} and {number} alike ({alike or 'no settings'})", "each once")


def _require_clipping(members: Members) -> None:
    """Raises an InputError where some members clip gradients and others do not."""
    norms = [config.optimizer.clip_norm for config in members.configs]
    if any(norms) and not all(norms):
        where = f"{FLAG}, member {norms.index(0)}: --clip_norm"
        raise InputError(where, "0, no clipping", "a number above 0, as other members have: another program clips")
