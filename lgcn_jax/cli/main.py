"""The command line: flags in, text and exit status out."""

import difflib
import io
import sys
from collections.abc import Sequence
from logging import CRITICAL, getLogger
from pathlib import Path

from absl import flags, logging

from lgcn_jax.cli import compare, data, doctor, evaluate, export, predict, recommend, report, search, similar, train
from lgcn_jax.cli.command import (
    Command,
    OutputClosedError,
    expand_flagfiles,
    import_plugins,
    parse_flags,
    say,
    usage_text,
)
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.system.signals import Stopped, StopRequest
from lgcn_jax.version import __version__

COMMANDS = {
    "train": train.COMMAND,
    "evaluate": evaluate.COMMAND,
    "recommend": recommend.COMMAND,
    "similar": similar.COMMAND,
    "predict": predict.COMMAND,
    "export": export.COMMAND,
    "report": report.COMMAND,
    "compare": compare.COMMAND,
    "search": search.COMMAND,
    "data": data.COMMAND,
    "doctor": doctor.COMMAND,
}
OUTPUT_CLOSED = 141  # 128 + SIGPIPE, which not every system has
_HELP = {"help", "-h", "-help", "--help", "--helpshort", "--helpfull"}


def main(arguments: Sequence[str]) -> int:
    """`run` within a process that goes on: the exit status, after a signal as well, is returned."""
    with StopRequest() as request:
        try:
            return run(arguments, request)
        except Stopped:
            print(request.line, file=sys.stderr)
            return request.status


def run(arguments: Sequence[str], request: StopRequest) -> int:
    """Runs one command; `arguments` are its name and flags.

    Returns:
      The exit status: 0; 1 where a run or check failed; 2 after one line on stderr where the input is at fault; 130
      or 143 where a signal interrupted a training run, which has been saved; 141 where nobody reads the output.

    Raises:
      Stopped: a signal came before training began.
    """
    _silence_logging()
    try:
        return _run_command(list(arguments), request)
    except InputError as error:
        request.check()  # the error may be what the signal did to a child process
        print(error, file=sys.stderr)
        return 2
    except OutputClosedError:
        return OUTPUT_CLOSED
    except WriteError as error:
        print(error, *getattr(error, "__notes__", ()), sep="; ", file=sys.stderr)
        return 1


def _run_command(arguments: list[str], request: StopRequest) -> int:
    """Runs what the arguments ask for: a command, its help, or that of all."""
    _require_text(arguments)
    if not arguments:
        raise InputError("command", "nothing", f"one of {', '.join(COMMANDS)}")
    name, *rest = arguments
    if name in _HELP:
        say(_usage_text())
        return 0
    if arguments == ["--version"]:
        say(f"lgcn_jax {__version__}")
        return 0
    command = _find_command(name)
    if _HELP & set(rest):
        import_plugins(expand_flagfiles([flag for flag in rest if flag not in _HELP]))
        say(usage_text(name, command))
        return 0
    return _run_with_cache(command, parse_flags(command, name, rest), request)


def _run_with_cache(command: Command, values: flags.FlagValues, request: StopRequest) -> int:
    """The command's status; with --compilation_cache its programs are kept there."""
    if not ("compilation_cache" in values and values["compilation_cache"].value):
        return command.function(values, request)
    from lgcn_jax.devices import cache

    with cache.compilation_cache(Path(values["compilation_cache"].value).expanduser()):
        return command.function(values, request)


def _find_command(name: str) -> Command:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError("command", repr(name), f"one of {', '.join(COMMANDS)}{hint}")
    return COMMANDS[name]


def _usage_text() -> str:
    lines = [f"  {name:<10}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["python -m lgcn_jax COMMAND --flag=value ...", "", *lines, "", "COMMAND --help lists its flags."])


def _require_text(arguments: Sequence[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError("command line", ascii(argument), "text in UTF-8") from None


def _silence_logging() -> None:
    """What libraries say beside what they raise is not shown; names that the output cannot encode are escaped."""
    sys.unraisablehook = _filter_unraisable
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.set_verbosity(logging.FATAL)  # what Orbax logs as an error it also raises, and that is told in one line
    getLogger("asyncio").setLevel(CRITICAL)  # of a failed save, it also logs every write that nobody waited for


def _filter_unraisable(unraisable) -> None:
    """After a failed save, writers still report to a loop that Orbax has closed; the failure itself is told."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
