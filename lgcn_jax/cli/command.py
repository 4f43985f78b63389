"""What every command is made of: its flags, how they are read, and how text goes out."""

import contextlib
import dataclasses
import difflib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from lgcn_jax.cli import flags as settings_flags
from lgcn_jax.config import PARTS, Config
from lgcn_jax.data import datasets
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.settings import fields
from lgcn_jax.system import paths
from lgcn_jax.system.signals import StopRequest

DATA = tuple(fields(DataSettings))
PATHS = ("data_dir", "item_table", "user_table", "warm_start")
COMPILATION_CACHE = {
    "compilation_cache": ("", "a folder that keeps compiled programs for the next run (default: none)"),
}
PLUGIN = {"plugin": ("", "modules that register more losses, models, samplers or baselines, separated by commas")}


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: its function, one line about it, the settings it takes as flags, and flags of its own.

    Flags of its own are {name: (default, help)}, of the type of the default: on/off, an integer, a text, or of () a
    list of texts. Settings are chosen when plugins have registered theirs. `parts` have the settings; `texts` are help
    texts that differ from those of the settings; `positional` is the list flag that arguments without a name go to.
    """

    function: Callable[[flags.FlagValues, StopRequest], int]
    summary: str
    settings: Callable[[], tuple[str, ...]] = tuple
    own: dict[str, tuple[str | bool | int | tuple[()], str]] = dataclasses.field(default_factory=dict)
    parts: dict[str, Any] = dataclasses.field(default_factory=lambda: PARTS)
    texts: dict[str, str] = dataclasses.field(default_factory=dict)
    positional: str = ""

    def flags(self) -> dict[str, settings_flags.Flag]:
        """The flags of its settings, by name."""
        known = settings_flags.all_flags(self.parts)
        texts = {name: known[name]._replace(help=text) for name, text in self.texts.items()}
        return {name: (known | texts)[name] for name in self.settings()}


def run_setting_names() -> tuple[str, ...]:
    """The names of all settings of a run, of all parts that are registered."""
    return tuple(settings_flags.all_flags())


def parse_flags(command: Command, name: str, arguments: Sequence[str]) -> flags.FlagValues:
    """The flags that the arguments of the named command state.

    Raises:
      InputError: an unknown flag, a value of another type, or anything that is no flag.
    """
    stated = expand_flagfiles(arguments)
    if "plugin" in command.own:
        import_plugins(stated)
    values = make_flag_values(command)
    try:
        rest = values([f"lgcn_jax {name}", *stated])
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(values), 1)
        hint = f" (did you mean --{near[0]}?)" if near else ""
        raise InputError(f"--{error.flagname}", "an unknown flag", f"a flag of {name}{hint}") from None
    except (flags.Error, ValueError) as error:
        raise _flag_error(values, str(error).replace("\n", " "), name) from None
    if rest[1:] and not command.positional:
        raise InputError("command line", repr(rest[1]), f"only --flag=value after {name}")
    if rest[1:]:
        values[command.positional].value = [*values[command.positional].value, *rest[1:]]
    return values


def make_flag_values(command: Command) -> flags.FlagValues:
    """The flags of a command, none of them stated."""
    values = flags.FlagValues()
    settings_flags.define_flags(values, command.flags())
    for name, (default, text) in command.own.items():
        if name in values:
            raise InputError(f"--{name}", "a setting of a plugin", "another name, since the command has such a flag")
        if type(default) is int:
            settings_flags.define_integer(values, name, default, text)
        elif default == ():
            flags.DEFINE_list(name, [], text, flag_values=values)
        else:
            kind = flags.DEFINE_boolean if isinstance(default, bool) else flags.DEFINE_string
            kind(name, default, text, flag_values=values)
    return values


def import_plugins(arguments: Sequence[str]) -> None:
    """Imports the modules that --plugin names, also those of the current folder, before the flags are made."""
    following = [*arguments[1:], ""][: len(arguments)]
    stated = [match[1] for argument in arguments if (match := re.match(r"--?plugin=(.*)", argument))]
    stated += [
        after for argument, after in zip(arguments, following, strict=True) if re.fullmatch(r"--?plugin", argument)
    ]
    for name in filter(None, ",".join(stated).split(",")):
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        try:
            importlib.import_module(name)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError("--plugin", f"{name} ({reason})", "a module that can be imported") from error


def usage_text(name: str, command: Command) -> str:
    """The help text of a command: its own flags, then those of its settings, group after group."""
    values, known = make_flag_values(command), command.flags()
    groups: dict[str, list[str]] = {}
    for flag in (*command.own, "flagfile", *known):
        groups.setdefault(known[flag].group if flag in known else "", []).append(flag)
    width = max(len(flag) for group in groups.values() for flag in group)
    lines = [f"python -m lgcn_jax {name}: {command.summary}"]
    for group, names in groups.items():
        lines += ["", *([f"{group}:"] if group else [])]
        for flag in names:
            text = "a file with one flag on each line" if flag == "flagfile" else values[flag].help
            lines.append(f"  --{flag:<{width}}  {text}")
    return "\n".join(lines)


def expand_flagfiles(arguments: Sequence[str]) -> list[str]:
    """The arguments with the lines of flagfiles in their places."""
    try:
        stated = flags.FlagValues().read_flags_from_files(arguments)
    except flags.CantOpenFlagFileError as error:
        reason = error.__context__
        found = f"a file that cannot be read ({reason.strerror})"
        raise InputError(f"--flagfile={reason.filename}", found, "a text file of flags") from None
    except UnicodeDecodeError as error:
        raise InputError("--flagfile", f"bytes that are no text ({error.reason})", "a text file of flags") from None
    except (flags.Error, ValueError) as error:
        raise InputError("--flagfile", str(error).strip(), "--flagfile=FILE") from None
    for argument in stated:
        if re.match(r"--?undefok(=|$)", argument):  # absl would let misspelt flags pass
            raise InputError("--undefok", "an unknown flag", "flags that exist")
        if re.match(r"--?flagfile(=|$)", argument):  # absl would look into it only later
            raise InputError("--flagfile", f"{argument!r} alone on a line", "--flagfile=FILE")
    return stated


def _flag_error(values: flags.FlagValues, text: str, name: str) -> InputError:
    """The error that absl describes as `text`, as an InputError."""
    if illegal := re.fullmatch(r"flag --(\w+)=(.*): (?:expected )?(.*)", text):
        flag, found, expected = illegal.groups()
        return InputError(f"--{flag}", repr(found), "true or false" if values[flag].boolean else expected)
    if missing := re.fullmatch(r"Missing value for flag -*(\w+)", text):
        return InputError(f"--{missing[1]}", "no value", f"--{missing[1]}=VALUE")
    return InputError("flags", text, f"flags as `{name} --help` lists them")


def config_from_flags(stated: dict[str, Any]) -> Config:
    """The configuration that the command line states; a flag that would have no effect is refused."""
    config = Config.of(**with_absolute_paths({"data_dir": DataSettings.data_dir} | stated))
    for name, wanted in (datasets.ignored_settings(config.data) | config.ignored_settings()).items():
        if name in stated:
            raise InputError(f"--{name}", "a setting without effect here", wanted)
    return config


def with_absolute_paths(stated: dict[str, Any]) -> dict[str, Any]:
    """Stated settings with paths that are the same from wherever a run is continued."""

    def resolved(name: str, value):
        if name == "dataset" and value and not datasets.is_dataset_name(value):
            return ",".join(_absolute_path(path) for path in datasets.paths_of(os.path.expanduser(value)))
        return _absolute_path(value) if value and name in PATHS else value

    return {name: resolved(name, value) for name, value in stated.items()}


def _absolute_path(path: str | os.PathLike) -> str:
    return os.path.abspath(os.path.expanduser(path))


def workdir_of(values: flags.FlagValues) -> Path:
    """The folder that --workdir names."""
    if not values["workdir"].value:
        raise InputError("--workdir", "nothing", "the folder of a run")
    folder = Path(values["workdir"].value).expanduser()
    paths.exists(folder / "checkpoints", f"--workdir={folder}")  # refused, if it can't be looked into
    return folder


@contextlib.contextmanager
def named_as_flags(**names: str) -> Iterator[None]:
    """Names the flags in place of the arguments that an InputError of Python's front door names."""
    try:
        yield
    except InputError as error:
        where, found, expected = error.parts
        if where not in names:
            raise
        raise InputError(names[where], found, expected) from None


def say(text: str) -> None:
    """Prints to stdout at once; a full disk is told as a failed write, a reader that has gone is none."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python flushes the rest to at its end
        kind = OutputClosedError if isinstance(error, BrokenPipeError) else WriteError
        raise kind("the output", error.strerror) from None


def warn(lines: Iterator[str]) -> None:
    """Prints lines to stderr."""
    for line in lines:
        print(line, file=sys.stderr)


class OutputClosedError(WriteError):
    """Nobody reads the output any more, as with `| head`: the command ends, and says nothing."""
