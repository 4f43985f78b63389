"""What `train` does of a population: members by --population, trained at once in one program."""

import sys
from pathlib import Path
from typing import Any

from absl import flags

from lgcn_jax.cli.command import config_from_flags, run_setting_names, say, warn, with_absolute_paths
from lgcn_jax.cli.flags import stated_settings
from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.system.signals import StopRequest

NAME = "population"
FLAGS = {
    NAME: ("", "many models in one program: seeds:0-9, seeds:1,5,9, or a JSON file of members or of lists of settings")
}
SHOWN = 20  # members that are listed in the end


def require_no_population_flags(values: flags.FlagValues) -> None:
    """Raises an InputError where a flag is stated that runs have and populations do not."""
    for name in ("profile", "coordinator", "num_processes", "process_id"):
        if values[name].present:
            raise InputError(f"--{name}", values[name].value, f"nothing with --{NAME}, which is one process, untraced")


def train(values: flags.FlagValues, folder: Path, request: StopRequest) -> int:
    """Trains or continues a population, fills its folder, and prints each member's metrics."""
    from lgcn_jax.runs import agreement, population_session

    own, quiet = _member_settings(values), values["quiet"].value

    def load(config: Config) -> Interactions:
        return datasets.load(config.data, progress=not quiet and sys.stderr.isatty())

    with agreement.lock_across_processes(folder):
        prepared = population_session.prepare(
            folder,
            lambda stored: _resolve_members(values, folder, stored, own),
            load,
            request,
            values["overwrite"].value,
        )
        warn(f"{folder}: {note}" for note in prepared.point.notes)
        if not quiet:
            say(_opening_line(prepared.population, prepared.interactions))
        trained = population_session.train(folder, prepared, request, quiet)
    return _report_population(trained, prepared.population.members, folder, request.signal)


def dry_run(values: flags.FlagValues, folder: Path, request: StopRequest) -> int:
    """Tells what a population would do, and changes nothing on disk."""
    from lgcn_jax.runs import display, population_folder, workdir
    from lgcn_jax.training import estimate, population, population_estimate
    from lgcn_jax.training.population_chunks import best_width

    workdir.check_is_run_folder(folder)
    stored = None if values["overwrite"].value else population_folder.stored_population(folder)
    members = _resolve_members(values, folder, stored, _member_settings(values))
    interactions = datasets.load(members.base.data, progress=sys.stderr.isatty())
    request.check()
    width = stored.width if stored else best_width(len(members))
    terms = population_estimate.memory_bytes(members, interactions, len(members), width)
    limit = estimate.available_bytes()
    say(display.format_facts({f"memory, {name}": f"{size / 1e6:,.0f} MB" for name, size in terms.items()}))
    say(f"memory in all about {sum(terms.values()) / 1e9:.2f} GB of {limit / 1e9:.1f} GB on a device")
    population_estimate.require_memory(members, interactions, width)
    whole = population.build_population(members, interactions, width)
    say(_opening_line(whole, interactions))
    request.check()
    seconds, epochs = population.measure_epoch_seconds(whole), members.base.training.epochs
    steps = whole.setup.steps_per_epoch
    told = f"{epochs:,} epochs {seconds * epochs / 3600:.2f} h without evaluations; nothing was begun"
    say(f"an epoch of all members, of {steps:,} steps each, takes about {seconds:.2f} s, {told}")
    return 0


def _member_settings(values: flags.FlagValues) -> list[dict[str, Any]]:
    from lgcn_jax.runs.population_members import parse_members

    return parse_members(values[NAME].value)


def _resolve_members(values: flags.FlagValues, folder: Path, stored, own: list[dict[str, Any]]):
    """The members that flags state, of the population that is stored in the folder or of a new one."""
    from lgcn_jax.runs import population_session

    stated = with_absolute_paths(stated_settings(values, run_setting_names()))
    return population_session.resolve_members(folder, stored, own, stated, config_from_flags)


def _opening_line(population, interactions: Interactions) -> str:
    """What is trained on, and how many members there are."""
    noticed = interactions.noticed(population.members.base.evaluation.eval_split)
    count, names = len(population.members), ", ".join(population.members.settings[0]) or "nothing"
    chunks = f", {population.width} at a time" if population.num_chunks > 1 else ""
    told = f"{count} member{'s' if count > 1 else ''} that state {names}{chunks}"
    return "\n".join([interactions.headline(), *interactions.remarks, noticed, told])


def _report_population(trained, members, folder: Path, signal_number: int) -> int:
    """Prints what became of the members, and returns the exit status."""
    from lgcn_jax.runs import display

    result, results = trained.result, trained.results
    if any(member.status == "running" for member in result.snapshot.members):
        say(f"interrupted after epoch {result.snapshot.epoch}, step {result.snapshot.step}; the same command continues")
        return 128 + signal_number
    warn(
        f"member {number} ({members.describe(number)}): {each['error']}"
        for number, each in enumerate(results)
        if each["status"] == "failed"
    )
    rows = {
        f"{number:03d} {members.describe(number)}, epoch {each['best']['epoch']}": each.get("test") or each["best"]
        for number, each in enumerate(results)
        if each["best"]
    }
    if rows:
        split = next(iter(rows.values()))["split"]
        shown = dict(list(rows.items())[:SHOWN])
        say(display.format_table({f"{split} part, best epochs": {}} | shown))
    say(f"wrote {folder / 'result.json'} and {folder / 'members'}, a run folder for each of {len(results)}")
    return 1 if result.status == "failed" else 0
