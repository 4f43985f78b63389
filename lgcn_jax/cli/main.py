"""The command line: flags in, text and exit status out.

Libraries are imported where a command needs them, so that a mistyped flag is answered at once.
"""

import contextlib
import dataclasses
import difflib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from logging import CRITICAL, getLogger
from pathlib import Path

from absl import flags, logging

from lgcn_jax import config as configs
from lgcn_jax.config import Config
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.system import paths
from lgcn_jax.system.signals import Stopped, StopRequest
from lgcn_jax.version import __version__

DATA = (
    "dataset",
    "data_dir",
    "format",
    "test_fraction",
    "validation_fraction",
    "data_seed",
    "num_users",
    "num_items",
    "num_interactions",
)
PROCESSES = {
    "coordinator": ("", "HOST:PORT of the first of several processes, or auto in a cluster that JAX knows"),
    "num_processes": ("", "how many processes the run has"),
    "process_id": ("", "which of them this is, from 0"),
    "process_timeout": ("", "seconds for a meeting of the processes, a block, an evaluation or a save (default: 600)"),
}
STEERING = ("overwrite", "profile")  # flags that are no settings, and on which the steps of a run depend
SETTINGS = tuple(field.name for field in dataclasses.fields(Config))
ONE_DEVICE = "data:1,nodes:1"
# What may be stated anew when a run is evaluated.
OF_A_RUN = ("dataset", "format", "data_dir", "top_k", "propagation", "mesh")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: its function, one line about it, the settings it takes as flags, and flags of its own.

    Flags of its own are {name: (default, help)}; a default of False makes an on/off flag, any other a text.
    """

    function: Callable[[flags.FlagValues, StopRequest], int]
    summary: str
    settings: tuple[str, ...] = ()
    own: dict[str, tuple[str | bool, str]] = dataclasses.field(default_factory=dict)


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
    sys.unraisablehook = _unraisable
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that the output's encoding does not have
    logging.set_verbosity(logging.FATAL)  # what Orbax logs as an error it also raises, and that is told in one line
    getLogger("asyncio").setLevel(CRITICAL)  # of a failed save, it also logs every write that nobody waited for
    try:
        _require_text(arguments)
        if not arguments:
            raise InputError("command", "nothing", f"one of {', '.join(COMMANDS)}")
        if _HELP & set(arguments[:1]):
            _say(_usage())
            return 0
        if list(arguments) == ["--version"]:
            _say(f"lgcn_jax {__version__}")
            return 0
        command = _command(arguments[0])
        if _HELP & set(arguments[1:]):
            _say(_usage_of(arguments[0], command))
            return 0
        return _carry_out(command, _parse(command, arguments), request)
    except InputError as error:
        request.check()  # the error may be what the signal did to a child process
        print(error, file=sys.stderr)
        return 2
    except _UnreadError:
        return 128 + signal.SIGPIPE
    except WriteError as error:
        print(error, *getattr(error, "__notes__", ()), sep="; ", file=sys.stderr)
        return 1


def train(values: flags.FlagValues, request: StopRequest) -> int:
    """Trains or continues a run, fills its folder, and prints the metrics beside the popularity baseline's."""
    request.line = "interrupted before training began"
    folder = _workdir(values)
    _join(values, request)
    from lgcn_jax.devices import mesh, processes, profile
    from lgcn_jax.runs import display, run
    from lgcn_jax.training import loop

    with processes.waiting("at the look for devices"):
        mesh.require_devices()
    first = processes.is_first()
    quiet = values["quiet"].value or not first
    profiled = folder / "profile" if values["profile"].value else None
    with processes.together(request), run.held(folder), _continuable(folder):
        config, interactions, posed, place = _found(values, folder, quiet, request)
        for note in place.notes if first else ():
            print(f"{folder}: {note}", file=sys.stderr)
        if not quiet:
            _say(f"{_headline(interactions, config)}\n{interactions.noticed(config.eval_split)}")
        ready = loop.prepare(posed, place.start)
        request.begin_training()
        with display.Display(config, quiet) as shown, profile.Profile(profiled) as trace:
            result = run.carry_out(folder, posed, interactions, ready, place.rows, shown, trace, request)
    if profiled and first:
        _say(trace.told())
    return _report(result, folder, config, interactions, request.signal, first)


def _found(values: flags.FlagValues, folder: Path, quiet: bool, request: StopRequest) -> tuple:
    """What a run of these flags is: its Config, Interactions, Problem, and the Place where it goes on.

    A signal is looked for after every stage.
    """
    from lgcn_jax.data import datasets
    from lgcn_jax.devices import processes
    from lgcn_jax.runs import run, workdir
    from lgcn_jax.training import setup

    workdir.require_ours(folder)
    stated, anew = _absolute(configs.given(values, SETTINGS)), values["overwrite"].value
    stored = None if anew else run.stored_settings(folder)
    config = run.continued(folder, stored, stated) if stored else _config(stated)
    flags_of_run = config.to_json() | {name: values[name].value for name in STEERING}
    lies = "data_dir", "dataset"  # where data lie may differ; what they hold is compared below
    alike = {f"--{name}": value for name, value in flags_of_run.items() if name not in lies}
    processes.require_same("before data are read", alike)
    request.check()
    interactions = datasets.load(config, progress=not quiet and sys.stderr.isatty())
    request.check()
    processes.require_same("after data are read", {"--dataset": interactions.content_hash()})
    posed = setup.pose(config, interactions)
    run.require_agreement(config, interactions, posed)
    request.check()
    if anew and processes.is_first():
        workdir.clear(folder)
    processes.exchange("before checkpoints are looked at")  # nobody looks into the folder before it is cleared
    place = run.find_place(folder, posed, interactions)
    request.check()
    return config, interactions, posed, place


def _report(result: dict, folder: Path, config: Config, interactions, signal_number: int, first: bool) -> int:
    """The exit status of a run's result, which the first process prints."""
    if result["status"] == "failed":
        advice = "try a lower --learning_rate or --clip_norm in a new run"
        if first:
            print(f"{result['error']}; {advice}; earlier checkpoints are kept", file=sys.stderr)
        return 1
    if result["status"] == "interrupted":
        if first:
            _say(f"interrupted after epoch {result['epochs']}, step {result['step']}; the same command continues")
        return 128 + signal_number
    if first:
        if "missing" in result:
            print(f"{folder}: {result['missing']}", file=sys.stderr)
        _print_scores(interactions, config, result)
        _say(f"wrote {folder / 'result.json'} and {folder / 'curves.png'}")
    return 0


def _join(values: flags.FlagValues, request: StopRequest) -> None:
    """Makes this process one of several, where flags say so; to be called before anything looks for devices."""
    from lgcn_jax.devices import processes

    named = [name for name in PROCESSES if values[name].present]
    if values["coordinator"].value:
        processes.join(*(values[name].value for name in PROCESSES), request.check)
    elif named:
        raise InputError(f"--{named[0]}", values[named[0]].value, "nothing without --coordinator")


@contextlib.contextmanager
def _continuable(folder: Path) -> Iterator[None]:
    """Adds to a WriteError that the run can be continued, where it can."""
    from lgcn_jax.runs import checkpoint

    try:
        yield
    except WriteError as error:
        if checkpoint.steps(folder / "checkpoints"):
            error.add_note("the last checkpoint can be continued from")
        raise


def evaluate(values: flags.FlagValues, request: StopRequest) -> int:
    """Scores a run's checkpoint, or an untrained model, and prints its metrics."""
    from lgcn_jax.data import datasets
    from lgcn_jax.devices import mesh
    from lgcn_jax.evaluation.ranking import UNTRAINED, Task
    from lgcn_jax.evaluation.ranking import evaluate as score
    from lgcn_jax.runs import display
    from lgcn_jax.training.setup import check

    mesh.require_devices()
    model, split = values["model"].value, values["eval_split"].value or "test"
    if bool(model) == bool(values["workdir"].value):
        raise InputError("evaluate", "both" if model else "neither", "either --workdir or --model")
    if not model:
        return _evaluate_run(values, split)
    if model not in UNTRAINED:
        raise InputError("--model", repr(model), f"one of {', '.join(UNTRAINED)}")
    for name in ("checkpoint", "propagation", "mesh"):
        if values[name].present:
            raise InputError(f"--{name}", "a flag without effect on --model", "--workdir")
    config = _config(configs.given(values, SETTINGS))
    interactions = datasets.load(config, progress=sys.stderr.isatty())
    check(config, interactions)
    scores = score(UNTRAINED[model].fit(interactions), Task.of(interactions, split), config.top_k)
    _say(display.table({f"{interactions.name}, {split} part": {}, model: scores}))
    return 0


def _evaluate_run(values: flags.FlagValues, split: str) -> int:
    from lgcn_jax.data import datasets
    from lgcn_jax.runs import checkpoint, display, run
    from lgcn_jax.training import setup

    folder, which = _workdir(values), values["checkpoint"].value
    if which not in checkpoint.WHICH:
        raise InputError("--checkpoint", repr(which), f"one of {', '.join(checkpoint.WHICH)}")
    for name in (name for name in DATA if name not in OF_A_RUN):
        if values[name].present:
            raise InputError(f"--{name}", values[name].value, "nothing beside --workdir, which has its own")
    config = run.stored_settings(folder)
    if config is None:
        raise InputError(f"--workdir={folder}", "no run", "a folder that train has filled")
    stated = {"mesh": ONE_DEVICE} | _absolute(configs.given(values, OF_A_RUN))  # whatever the run was trained on
    config = dataclasses.replace(config, **stated, plateau_metric="", eval_split=split)
    interactions = datasets.load(config, progress=sys.stderr.isatty())
    setup.check(config, interactions)
    scores, choice = run.score(config, interactions, folder, which, split)
    for note in filter(None, [*choice.notes, choice.missing]):
        print(f"{folder}: {note}", file=sys.stderr)
    which = "best left" if choice.missing else which
    _say(display.table({f"{interactions.name}, {split} part": {}, f"epoch {scores['epoch']} ({which})": scores}))
    return 0


def data(values: flags.FlagValues, request: StopRequest) -> int:
    """Fetches, verifies and describes a data set."""
    from lgcn_jax.data import datasets
    from lgcn_jax.runs import display

    interactions = datasets.load(_config(configs.given(values, SETTINGS)), progress=sys.stderr.isatty())
    _say(display.facts({"name": interactions.name} | interactions.summary()))
    return 0


def doctor(values: flags.FlagValues, request: StopRequest) -> int:
    """Prints versions, devices and the chosen kernels, and checks the installation in about ten seconds."""
    from lgcn_jax.cli import doctor as checks
    from lgcn_jax.devices import mesh
    from lgcn_jax.runs import display

    mesh.require_devices()
    _say(display.facts(checks.versions() | checks.devices()))
    failed = 0
    for name, check in checks.CHECKS.items():
        passed, finding = check()
        _say(f"{'ok    ' if passed else 'FAILED'}  {name}: {finding}")
        failed += not passed
    return 1 if failed else 0


_CACHE = {"compilation_cache": ("", "a folder that keeps compiled programs for the next run (default: none)")}
COMMANDS = {
    "train": Command(
        train,
        "trains a model in a run folder, or continues the run that it holds",
        SETTINGS,
        {
            "workdir": ("", "the folder of the run"),
            "overwrite": (False, "begin anew in a folder that holds a run"),
            "quiet": (False, "show no progress, only the final table"),
            "profile": (False, "trace a few steps into WORKDIR/profile, for XProf, TensorBoard or Perfetto"),
            **_CACHE,
            **PROCESSES,
        },
    ),
    "evaluate": Command(
        evaluate,
        "scores a run's checkpoint, or an untrained model",
        (*DATA, "top_k", "eval_split", "propagation", "mesh"),
        {
            "workdir": ("", "the folder of the run"),
            "checkpoint": ("best", "which checkpoint: best, latest"),
            "model": ("", "an untrained model instead of a run: popularity"),
            **_CACHE,
        },
    ),
    "data": Command(data, "fetches, verifies and describes a data set", DATA),
    "doctor": Command(doctor, "shows versions, devices and kernels, and checks the installation"),
}
_HELP = {"help", "-h", "-help", "--help", "--helpshort", "--helpfull"}


def _print_scores(interactions, config: Config, summary: dict) -> None:
    """The final table: popularity, best and last epoch on the part watched, and the test part where that was valid."""
    from lgcn_jax.evaluation.ranking import Popularity, Task
    from lgcn_jax.evaluation.ranking import evaluate as score
    from lgcn_jax.runs import display

    best, last = summary["best"], summary["last"]
    rows = {f"{interactions.name}, {config.eval_split} part": {}}
    rows["popularity"] = score(Popularity.fit(interactions), Task.of(interactions, config.eval_split), config.top_k)
    rows |= {f"epoch {best['epoch']} (best)": best, f"epoch {last['epoch']} (last)": last}
    _say(display.table(rows))
    if "test" in summary:
        rows = {f"{interactions.name}, test part": {}}
        rows["popularity"] = score(Popularity.fit(interactions), Task.of(interactions, "test"), config.top_k)
        label = f"epoch {summary['test']['epoch']} ({'best left' if 'missing' in summary else 'best on valid'})"
        _say(display.table(rows | {label: summary["test"]}))


def _headline(interactions, config: Config) -> str:
    if config.eval_split == "valid":
        return f"{interactions.headline()}; the best epoch is chosen on the validation part"
    chosen = "the best epoch is chosen on the test part, as in the papers (--validation_fraction, --eval_split=valid)"
    return f"{interactions.headline()}; {chosen}"


def _config(stated: dict) -> Config:
    """The configuration that the command line states; a flag that would have no effect is refused."""
    from lgcn_jax.data import datasets

    config = Config(**_absolute({"data_dir": Config.data_dir} | stated))
    for name, wanted in (datasets.without_effect(config) | config.without_effect()).items():
        if name in stated:
            raise InputError(f"--{name}", "a setting without effect here", wanted)
    return config


def _absolute(stated: dict) -> dict:
    """Stated settings with paths that are the same from wherever a run is continued."""
    from lgcn_jax.data import datasets

    def absolute(name: str, value):
        is_path = name == "data_dir" or (name == "dataset" and value and not datasets.is_name(value))
        return os.path.abspath(os.path.expanduser(value)) if is_path else value

    return {name: absolute(name, value) for name, value in stated.items()}


def _say(text: str) -> None:
    """Prints to stdout at once; a full disk is told as a failed write, a reader that has gone is none."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python flushes the rest to at its end
        kind = _UnreadError if isinstance(error, BrokenPipeError) else WriteError
        raise kind("the output", error.strerror) from None


class _UnreadError(WriteError):
    """Nobody reads the output any more, as with `| head`: the command ends, and says nothing."""


def _workdir(values: flags.FlagValues) -> Path:
    if not values["workdir"].value:
        raise InputError("--workdir", "nothing", "the folder of a run")
    folder = Path(values["workdir"].value).expanduser()
    paths.exists(folder / "checkpoints", f"--workdir={folder}")  # refused, if it can't be looked into
    return folder


def _unraisable(unraisable) -> None:
    """After a failed save, writers still report to a loop that Orbax has closed; the failure itself is told."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _require_text(arguments: Sequence[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError("command line", ascii(argument), "text in UTF-8") from None


def _command(name: str) -> Command:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError("command", repr(name), f"one of {', '.join(COMMANDS)}{hint}")
    return COMMANDS[name]


def _define(command: Command) -> flags.FlagValues:
    values = flags.FlagValues()
    configs.define_flags(values, command.settings)
    for name, (default, text) in command.own.items():
        define = flags.DEFINE_boolean if default is False else flags.DEFINE_string
        define(name, default, text, flag_values=values)
    return values


def _parse(command: Command, arguments: Sequence[str]) -> flags.FlagValues:
    values = _define(command)
    stated = _expanded(values, arguments[1:])
    try:
        rest = values([f"lgcn_jax {arguments[0]}", *stated])
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(values), 1)
        hint = f" (did you mean --{near[0]}?)" if near else ""
        raise InputError(f"--{error.flagname}", "an unknown flag", f"a flag of {arguments[0]}{hint}") from None
    except (flags.Error, ValueError) as error:
        raise _misstated(values, str(error).replace("\n", " "), arguments[0]) from None
    if rest[1:]:
        raise InputError("command line", repr(rest[1]), f"only --flag=value after {arguments[0]}")
    return values


def _carry_out(command: Command, values: flags.FlagValues, request: StopRequest) -> int:
    if not ("compilation_cache" in values and values["compilation_cache"].value):
        return command.function(values, request)
    from lgcn_jax.devices import cache

    with cache.kept(Path(values["compilation_cache"].value).expanduser()):
        return command.function(values, request)


def _expanded(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
    """The arguments with the lines of flagfiles in their places."""
    try:
        stated = values.read_flags_from_files(arguments)
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


def _misstated(values: flags.FlagValues, text: str, name: str) -> InputError:
    """The error that absl describes as `text`, as an InputError."""
    if illegal := re.fullmatch(r"flag --(\w+)=(.*): (?:expected )?(.*)", text):
        flag, found, expected = illegal.groups()
        return InputError(f"--{flag}", repr(found), "true or false" if values[flag].boolean else expected)
    if missing := re.fullmatch(r"Missing value for flag -*(\w+)", text):
        return InputError(f"--{missing[1]}", "no value", f"--{missing[1]}=VALUE")
    return InputError("flags", text, f"flags as `{name} --help` lists them")


def _usage() -> str:
    lines = [f"  {name:<10}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["python -m lgcn_jax COMMAND --flag=value ...", "", *lines, "", "COMMAND --help lists its flags."])


def _usage_of(name: str, command: Command) -> str:
    values = _define(command)
    names = (*command.own, *command.settings)
    lines = [f"  --{flag:<24} {values[flag].help}" for flag in names]
    lines.append(f"  --{'flagfile':<24} a file with one flag on each line")
    return "\n".join([f"python -m lgcn_jax {name}: {command.summary}", "", *lines])
