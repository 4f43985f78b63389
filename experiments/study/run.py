"""Makes the results of the study: python experiments/study/run.py losses

One command for each experiment of parts.py; several names are run one after the other. What is finished is kept in
experiments/study/results/NAME.json, and the same command makes what is missing. More of it:

    python experiments/study/run.py losses --seeds=0-19 --epochs=1000     # a larger budget replaces runs of the old
    python experiments/study/run.py --list
"""

import dataclasses
import json
import sys
from pathlib import Path

import folding
import portraits
import records
from absl import flags
from parts import EXPERIMENTS, Experiment
from training import Trained, shared_part, train_members

from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.devices import cache
from lgcn_jax.errors import InputError
from lgcn_jax.runs import workdir

RESULTS = Path(__file__).parent / "results"

FLAGS = flags.FlagValues()
FLAGS.set_gnu_getopt()
flags.DEFINE_string("data_dir", "", "folder of named data sets (default: as lgcn-jax has it)", flag_values=FLAGS)
flags.DEFINE_string("results", str(RESULTS), "folder of the files of results", flag_values=FLAGS)
flags.DEFINE_string("seeds", "", "seeds in place of the experiment's: 0-9, or 1,4,7", flag_values=FLAGS)
flags.DEFINE_integer("epochs", 0, "epochs in place of the experiment's", flag_values=FLAGS)
flags.DEFINE_list("conditions", [], "only these conditions", flag_values=FLAGS)
flags.DEFINE_integer("at_once", 5, "seeds of a condition that are trained together", flag_values=FLAGS)
flags.DEFINE_string("compilation_cache", "", "folder where compiled programs are kept", flag_values=FLAGS)
flags.DEFINE_bool("list", False, "print the experiments, and what is missing of each", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    try:
        names = FLAGS(arguments)[1:]
        asked = [asked_for(name) for name in (EXPERIMENTS if FLAGS.list and not names else names)]
        if not asked:
            raise InputError("run.py", "no experiment", f"some of {', '.join(EXPERIMENTS)}")
        for experiment in asked:
            print_missing(experiment) if FLAGS.list else run_in_cache(experiment, command_of(experiment))
    except (InputError, flags.Error) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def asked_for(name: str) -> Experiment:
    """The experiment of this name, with the seeds and epochs of the flags."""
    if name not in EXPERIMENTS:
        raise InputError("run.py", repr(name), f"some of {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[name]
    changes = {"seeds": parse_seeds(FLAGS.seeds)} if FLAGS.seeds else {}
    changes |= {"epochs": FLAGS.epochs} if FLAGS.epochs else {}
    for condition in FLAGS.conditions:
        if condition not in experiment.conditions:
            raise InputError("--conditions", repr(condition), f"some of {', '.join(experiment.conditions)}")
    return dataclasses.replace(experiment, **changes)


def command_of(experiment: Experiment) -> str:
    """The command that makes all of an experiment's file, wherever data, caches and files lie."""
    own = EXPERIMENTS[experiment.name]
    flags_of = [] if set(experiment.seeds) <= set(own.seeds) else [f"--seeds={FLAGS.seeds}"]
    flags_of += [f"--epochs={experiment.epochs}"] if experiment.epochs != own.epochs else []
    return " ".join(["python experiments/study/run.py", experiment.name, *flags_of])


def parse_seeds(text: str) -> tuple[int, ...]:
    """'0-3,7' -> (0, 1, 2, 3, 7)."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not (last.isdigit() and int(last) >= int(first))):
            raise InputError("--seeds", repr(text), "seeds such as 0-9, or 1,4,7")
        seeds += range(int(first), int(last or first) + 1)
    if len(set(seeds)) < len(seeds):
        raise InputError("--seeds", repr(text), "each seed once")
    return tuple(seeds)


def file_of(experiment: Experiment) -> Path:
    return Path(FLAGS.results) / f"{experiment.name}.json"


def print_missing(experiment: Experiment) -> None:
    path = file_of(experiment)
    found = records.begun(experiment, path, "") if path.exists() else {"runs": []}
    lacking = sum(len(records.missing(found, experiment, condition)) for condition in experiment.conditions)
    count = len(experiment.conditions) * len(experiment.seeds)
    print(f"{experiment.name:20} {lacking:3} of {count:3} runs are missing. {experiment.question}")


def run_in_cache(experiment: Experiment, command: str) -> None:
    """Runs it; what has been compiled once is not compiled again, where a folder for it is named."""
    if not FLAGS.compilation_cache:
        return run(experiment, command)
    with cache.compilation_cache(Path(FLAGS.compilation_cache)):
        return run(experiment, command)


def run(experiment: Experiment, command: str) -> None:
    """Makes what is missing: some seeds of each condition, then the next seeds of each.

    Conditions that differ only in numbers are trained together, as one population with their seeds.
    """
    path, interactions = file_of(experiment), load(experiment)
    environment = workdir.describe_common_environment(interactions)
    trained_on = folding.trained_on(experiment, interactions)
    for first in range(0, len(experiment.seeds), FLAGS.at_once):
        some = dataclasses.replace(experiment, seeds=experiment.seeds[first : first + FLAGS.at_once])
        for conditions in alike(experiment, FLAGS.conditions or list(experiment.conditions)):
            found = records.begun(experiment, path, command)
            members = [(name, seed) for name in conditions for seed in records.missing(found, some, name)]
            settings = [experiment.settings(name) | {"seed": seed} for name, seed in members]
            models = train_members(trained_on, settings) if members else []
            for (name, seed), trained in zip(members, models, strict=True):
                made = record(experiment, name, seed, trained, interactions)
                records.add(experiment, path, command, environment, made)
                print(f"{experiment.name}: {name}, seed {seed}: {made['chosen']}", flush=True)


def alike(experiment: Experiment, conditions: list[str]) -> list[list[str]]:
    """The conditions in groups that one compiled program can train."""
    groups: dict[str, list[str]] = {}
    for condition in conditions:
        shared = shared_part(experiment.settings(condition))
        groups.setdefault(json.dumps(shared, sort_keys=True), []).append(condition)
    return list(groups.values())


def record(experiment: Experiment, condition: str, seed: int, trained: Trained, interactions: Interactions) -> dict:
    """A run as its file holds it."""
    curve = records.curve(trained.rows)
    made = {"condition": condition, "seed": seed, "settings": records.stated(experiment, condition)}
    made |= {"seconds": round(trained.seconds, 1), "chosen": records.chosen(curve), "curve": curve}
    if experiment.portraits:
        made["portrait"] = portraits.portrait(interactions, trained.model)
    if experiment.left_out:
        made["folded_in"] = folding.folded_in(experiment, interactions, trained.model)
    return made


def load(experiment: Experiment) -> Interactions:
    stated = {"dataset": experiment.dataset, "validation_fraction": experiment.held_out} | experiment.data
    if FLAGS.data_dir:
        stated["data_dir"] = FLAGS.data_dir
    return datasets.load(DataSettings(**stated))


if __name__ == "__main__":
    main(sys.argv)
