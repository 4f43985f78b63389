"""Member-epochs per second of populations, beside runs one by one, in the same process and in turns.

    python experiments/benchmarks/population.py --dataset=lastfm
    python experiments/benchmarks/population.py --dataset=lastfm --members=1,2,4,8,16 --width=16

Each candidate makes some steps of an epoch of all its members. A run alone is the program of `train`, and stands for
runs one after the other, which would each be compiled as well; a population is compiled once, whatever its members.
What compilation takes is printed apart, and is in no rate. Without --width, chunks have the width that `train` takes;
on a CPU as many chunks as there are cores are worked on at the same time.
"""

import math
import time

import common
import jax
import numpy as np
from absl import app, flags

from lgcn_jax.config import Config
from lgcn_jax.training import loop
from lgcn_jax.training.members import Members
from lgcn_jax.training.population import compile_population, zero_totals
from lgcn_jax.training.population_chunks import best_width, equal_width, map_chunks
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.state import TrainState

LOSS = flags.DEFINE_string("loss", "enhanced", "bpr or enhanced")
MEMBERS = flags.DEFINE_list("members", ["1", "4", "16", "64"], "members of each population")
WIDTH = flags.DEFINE_integer("width", 0, "most members of a chunk; 0: as train takes it")
NUM_LAYERS = flags.DEFINE_integer("num_layers", 3, "propagation layers")
STEPS = flags.DEFINE_integer("steps", 20, "steps of an epoch, in one timed call")


class Alone:
    """A run, whose compiled block makes the steps."""

    def __init__(self, setup: Setup):
        ready = loop.compile_run(setup)
        self._setup, self._state, self.compile_seconds = setup, ready.snapshot.state, ready.compile_seconds
        self._block, self.members = ready.programs.block, 1

    def __call__(self) -> None:
        data = self._setup.adjacency, self._setup.sampler
        place = jax.random.key(0), np.int32(0), np.int32(STEPS.value)
        self._state, _ = self._block(self._state, self._setup.zero_totals(), *data, *place)
        jax.block_until_ready(self._state)


class Together:
    """A population with other seeds and margins, whose chunks make the steps one after the other."""

    def __init__(self, setup: Setup, settings: Config, members: int):
        name = "margin" if LOSS.value == "enhanced" else "l2"
        own = [{"seed": seed, name: 0.01 + 0.001 * seed} for seed in range(members)]
        width = equal_width(members, WIDTH.value or math.inf) if WIDTH.value else best_width(members)
        self._whole = PopulationSetup(setup, Members.of(lambda each: settings.replace(**each), own), width)
        ready = compile_population(self._whole)
        self._states, self.compile_seconds = [chunk.state for chunk in ready.snapshot.chunks], ready.compile_seconds
        self._programs, self.members = ready.programs, members
        chunks = range(self._whole.num_chunks)
        self._keys = [ready.programs.keys(self._whole.traced_settings(each)["seed"], np.uint32(1)) for each in chunks]

    def __call__(self) -> None:
        self._states = list(map_chunks(self._train_chunk, range(self._whole.num_chunks)).values())

    def _train_chunk(self, number: int) -> TrainState:
        setup, place = self._whole.setup, (np.int32(0), np.int32(STEPS.value))
        how = setup.adjacency, setup.sampler, self._whole.traced_settings(number), self._keys[number], *place
        return jax.block_until_ready(self._programs.block(self._states[number], zero_totals(self._whole), *how)[0])

    @property
    def shape(self) -> str:
        return f"{self._whole.num_chunks} x {self._whole.width}"


def main(argv: list[str]) -> None:
    del argv
    begun = time.perf_counter()
    settings = common.config(loss=LOSS.value, num_layers=NUM_LAYERS.value)
    interactions = common.load(settings)
    setup = build_setup(settings, interactions)
    populations = {int(members): Together(setup, settings, int(members)) for members in MEMBERS.value}
    candidates = {"alone": Alone(setup)} | {str(members): each for members, each in populations.items()}
    ms = common.in_turns(candidates)
    share = STEPS.value / setup.steps_per_epoch
    rates = {name: each.members * share / (1e-3 * ms[name]) for name, each in candidates.items()}
    ratios = {str(members): round(rates[str(members)] / rates["alone"], 3) for members in populations}
    alone = candidates["alone"].compile_seconds
    print(f"{'members':>8} {'chunks':>8} {'member-epochs/s':>16} {'ratio':>6} {'compiled in':>12}")
    print(f"{'alone':>8} {'':>8} {rates['alone']:>16.2f} {1:>6.2f} {alone:>10.1f} s, each run")
    for members, each in populations.items():
        rate, seconds = rates[str(members)], each.compile_seconds
        print(f"{members:>8} {each.shape:>8} {rate:>16.2f} {ratios[str(members)]:>6.2f} {seconds:>10.1f} s, once")
    common.report(
        "population",
        interactions,
        member_epochs_per_second={name: round(rate, 3) for name, rate in rates.items()},
        ratio=ratios,
        compile_seconds={name: round(each.compile_seconds, 2) for name, each in candidates.items()},
        chunks={str(members): each.shape for members, each in populations.items()},
        loss=LOSS.value,
        num_layers=NUM_LAYERS.value,
        seconds=round(time.perf_counter() - begun, 1),
    )


if __name__ == "__main__":
    app.run(main)
