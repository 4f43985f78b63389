"""The command line: flags in, text and exit status out. The only place that prints or exits.

Libraries are imported where a command needs them, so that a mistyped flag is answered at once.
"""

import dataclasses
import difflib
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags, logging

from lgcn_jax import config as configs
from lgcn_jax.config import Config
from lgcn_jax.errors import InputError, WriteError

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
SETTINGS = tuple(field.name for field in dataclasses.fields(Config))
OF_A_RUN = ("data_dir", "top_k", "propagation")  # what may be stated anew when a run is evaluated


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: its function, one line about it, the settings it takes as flags, and flags of its own.

    Flags of its own are {name: (default, help)}; a default of False makes an on/off flag, any other a text.
    """

    function: Callable[[flags.FlagValues], int]
    summary: str
    settings: tuple[str, ...] = ()
    own: dict[str, tuple[str | bool, str]] = dataclasses.field(default_factory=dict)


def run() -> None:
    """The console script: exits with the status of `main`."""
    sys.unraisablehook = _unraisable
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Runs one command; `arguments` are its name and flags.

    Returns:
      The exit status: 0; 1 where a run or check failed; 2 after one line on stderr where the input is at fault.
    """
    logging.set_verbosity(logging.FATAL)  # what Orbax logs as an error it also raises, and that is told in one line
    try:
        _require_text(arguments)
        if not arguments:
            raise InputError("command", "nothing", f"one of {', '.join(COMMANDS)}")
        if _HELP & set(arguments[:1]):
            print(_usage())
            return 0
        command = _command(arguments[0])
        if _HELP & set(arguments[1:]):
            print(_usage_of(arguments[0], command))
            return 0
        return _carry_out(command, _parse(command, arguments))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except WriteError as error:
        print(f"{error}; the last checkpoint can be continued from", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def train(values: flags.FlagValues) -> int:
    """Trains or continues a run, fills its folder, and prints the metrics beside the popularity baseline's."""
    from lgcn_jax import signals

    with signals.StopRequest() as request:
        try:
            return _train(values, request)
        except signals.Stopped:
            print("interrupted before training began", file=sys.stderr)
            return 128 + request.signal


def _train(values: flags.FlagValues, request) -> int:
    from lgcn_jax import datasets, display, lock, problem, profile, run, workdir

    stated, folder, quiet = configs.given(values, SETTINGS), _workdir(values), values["quiet"].value
    profiled = folder / "profile" if values["profile"].value else None
    with lock.hold(folder):
        stored = None if values["overwrite"].value else run.stored_settings(folder)
        config = run.continued(folder, stored, stated) if stored else _config(stated)
        interactions = datasets.load(config, progress=not quiet)
        posed = problem.pose(config, interactions)
        if values["overwrite"].value:
            workdir.clear(folder)
        place = run.find_place(folder, posed, interactions)
        for note in place.notes:
            print(f"{folder}: {note}", file=sys.stderr)
        if not quiet:
            print(_headline(interactions, config), flush=True)
        request.patient = True  # from here on there is a place to stop at
        with display.Display(config, quiet) as shown, profile.Profile(profiled) as trace:
            result = run.carry_out(folder, posed, interactions, place, shown, trace, request)
    if profiled:
        print(trace.told())
    if result["status"] == "failed":
        advice = "try a lower --learning_rate or --clip_norm in a new run"
        print(f"{result['error']}; {advice}; earlier checkpoints are kept", file=sys.stderr)
        return 1
    if result["status"] == "interrupted":
        print(f"interrupted after epoch {result['epochs']}, step {result['step']}; the same command continues")
        return 128 + request.signal
    _print_scores(interactions, config, result)
    print(f"wrote {folder / 'result.json'} and {folder / 'curves.png'}")
    return 0


def evaluate(values: flags.FlagValues) -> int:
    """Scores a run's checkpoint, or an untrained model, and prints its metrics."""
    from lgcn_jax import datasets, display
    from lgcn_jax.evaluation import UNTRAINED, Task
    from lgcn_jax.evaluation import evaluate as score
    from lgcn_jax.problem import check

    model, split = values["model"].value, values["eval_split"].value or "test"
    if bool(model) == bool(values["workdir"].value):
        raise InputError("evaluate", "both" if model else "neither", "either --workdir or --model")
    if not model:
        return _evaluate_run(values, split)
    if model not in UNTRAINED:
        raise InputError("--model", repr(model), f"one of {', '.join(UNTRAINED)}")
    config = _config(configs.given(values, SETTINGS))
    interactions = datasets.load(config, progress=True)
    check(config, interactions)
    scores = score(UNTRAINED[model].fit(interactions), Task.of(interactions, split), config.top_k)
    print(display.table({f"{interactions.name}, {split} part": {}, model: scores}))
    return 0


def _evaluate_run(values: flags.FlagValues, split: str) -> int:
    from lgcn_jax import checkpoint, datasets, display, problem, run

    folder, which = _workdir(values), values["checkpoint"].value
    if which not in checkpoint.WHICH:
        raise InputError("--checkpoint", repr(which), f"one of {', '.join(checkpoint.WHICH)}")
    for name in (name for name in DATA if name not in OF_A_RUN):
        if values[name].present:
            raise InputError(f"--{name}", values[name].value, "nothing beside --workdir, which has its own")
    config = run.stored_settings(folder)
    if config is None:
        raise InputError(f"--workdir={folder}", "no run", "a folder that train has filled")
    config = dataclasses.replace(config, **configs.given(values, OF_A_RUN), plateau_metric="", eval_split=split)
    interactions = datasets.load(config, progress=True)
    problem.check(config, interactions)
    scores, notes = run.score(config, interactions, folder, which, split)
    for note in notes:
        print(f"{folder}: {note}", file=sys.stderr)
    print(display.table({f"{interactions.name}, {split} part": {}, f"epoch {scores['epoch']} ({which})": scores}))
    return 0


def data(values: flags.FlagValues) -> int:
    """Fetches, verifies and describes a data set."""
    from lgcn_jax import datasets, display

    interactions = datasets.load(_config(configs.given(values, SETTINGS)), progress=True)
    print(display.facts({"name": interactions.name} | interactions.summary()))
    return 0


def doctor(values: flags.FlagValues) -> int:
    """Prints versions, devices and the chosen kernels, and checks the installation in about ten seconds."""
    from lgcn_jax import display
    from lgcn_jax import doctor as checks

    print(display.facts(checks.versions() | checks.devices()))
    failed = 0
    for name, check in checks.CHECKS.items():
        passed, finding = check()
        print(f"{'ok    ' if passed else 'FAILED'}  {name}: {finding}", flush=True)
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
        },
    ),
    "evaluate": Command(
        evaluate,
        "scores a run's checkpoint, or an untrained model",
        (*DATA, "top_k", "eval_split", "propagation"),
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
    from lgcn_jax import display
    from lgcn_jax.evaluation import Popularity, Task
    from lgcn_jax.evaluation import evaluate as score

    best, last = summary["best"], summary["last"]
    rows = {f"{interactions.name}, {config.eval_split} part": {}}
    rows["popularity"] = score(Popularity.fit(interactions), Task.of(interactions, config.eval_split), config.top_k)
    rows |= {f"epoch {best['epoch']} (best)": best, f"epoch {last['epoch']} (last)": last}
    print(display.table(rows))
    if "test" in summary:
        rows = {f"{interactions.name}, test part": {}}
        rows["popularity"] = score(Popularity.fit(interactions), Task.of(interactions, "test"), config.top_k)
        print(display.table(rows | {f"epoch {best['epoch']} (best on valid)": summary["test"]}))


def _headline(interactions, config: Config) -> str:
    counts = (
        f"{interactions.num_users:,} users, {interactions.num_items:,} items, {interactions.train.nnz:,} train pairs"
    )
    if config.eval_split == "valid":
        return f"{interactions.name}: {counts}; the best epoch is chosen on the validation part"
    chosen = "the best epoch is chosen on the test part, as in the papers (--validation_fraction, --eval_split=valid)"
    return f"{interactions.name}: {counts}; {chosen}"


def _config(stated: dict) -> Config:
    """The configuration that the command line states; a flag that its data set would not look at is refused."""
    from lgcn_jax import datasets

    config = Config(**stated)
    for name, wanted in datasets.without_effect(config).items():
        if name in stated:
            raise InputError(f"--{name}", f"a setting without effect on --dataset={config.dataset}", wanted)
    return config


def _workdir(values: flags.FlagValues) -> Path:
    if not values["workdir"].value:
        raise InputError("--workdir", "nothing", "the folder of a run")
    return Path(values["workdir"].value)


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
        if argument.lstrip("-").partition("=")[0] == "undefok":  # absl would let misspelt flags pass
            raise InputError("--undefok", "an unknown flag", "flags that exist")


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
    try:
        rest = values([f"lgcn_jax {arguments[0]}", *arguments[1:]])
    except UnicodeDecodeError as error:
        raise InputError("--flagfile", f"bytes that are no text ({error.reason})", "a text file of flags") from None
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(values), 1)
        hint = f" (did you mean --{near[0]}?)" if near else ""
        raise InputError(f"--{error.flagname}", "an unknown flag", f"a flag of {arguments[0]}{hint}") from None
    except flags.Error as error:
        flag, _, reason = str(error).replace("\n", " ").partition(": ")
        raise InputError(
            "flags", f"{flag} ({reason})" if reason else flag, f"flags as `{arguments[0]} --help` lists them"
        ) from None
    if rest[1:]:
        raise InputError("command line", repr(rest[1]), f"only --flag=value after {arguments[0]}")
    return values


def _carry_out(command: Command, values: flags.FlagValues) -> int:
    if not ("compilation_cache" in values and values["compilation_cache"].value):
        return command.function(values)
    from lgcn_jax import cache

    with cache.kept(Path(values["compilation_cache"].value)):
        return command.function(values)


def _usage() -> str:
    lines = [f"  {name:<10}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["python -m lgcn_jax COMMAND --flag=value ...", "", *lines, "", "COMMAND --help lists its flags."])


def _usage_of(name: str, command: Command) -> str:
    values = _define(command)
    names = (*command.own, *command.settings)
    lines = [f"  --{flag:<22}{values[flag].help}" for flag in names]
    lines.append(f"  --{'flagfile':<22}a file with one flag on each line")
    return "\n".join([f"python -m lgcn_jax {name}: {command.summary}", "", *lines])
