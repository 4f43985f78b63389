"""What a checkpoint costs: a block of steps with a save at its beginning beside one without, in turns.

    python experiments/benchmarks/saving.py --dataset=gowalla

A save copies the arrays, hands them to Orbax, and is written while the next steps run; a block with a save counts
until the checkpoint is final on the disk, and so nothing of it is left out. The share is that of the run's time at
the default interval, `--save_every=10` epochs, and, for comparison, after every epoch.
"""

import dataclasses
import shutil
import statistics
import time
from pathlib import Path

import common
import jax
import jax.numpy as jnp
from absl import app, flags, logging

from lgcn_jax.runs.checkpoint import Checkpoints
from lgcn_jax.runs.integrity import checkpoint_steps
from lgcn_jax.training.programs import Programs
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.state import Snapshot

STEPS = flags.DEFINE_integer("steps", 40, "steps of a block")
OUT = flags.DEFINE_string("out", "runs/saving", "folder of the checkpoints; emptied")


class Blocks:
    """Blocks of steps that go on from each other, with and without a save before them."""

    def __init__(self, setup: Setup, checkpoints: Checkpoints):
        self._setup, self._checkpoints = setup, checkpoints
        self._here = setup.initial_snapshot()
        self._programs = Programs.compile(setup, self._here)
        self.blocking = []  # milliseconds for which a save kept the next step waiting

    def plain(self) -> None:
        data = self._setup.adjacency, self._setup.sampler, jax.random.key(0), jnp.int32(0), jnp.int32(STEPS.value)
        state, _ = self._programs.block(self._here.state, self._setup.zero_totals(), *data)
        self._here = Snapshot(jax.block_until_ready(state), self._setup.zero_totals(), self._here.progress)

    def saving(self) -> None:
        started = time.perf_counter()
        progress = dataclasses.replace(self._here.progress, epoch=self._here.progress.epoch + 1)
        self._here = self._here._replace(progress=progress)
        to_node_order = self._here._replace(state=self._setup.to_node_order(self._here.state))
        self._checkpoints.save(to_node_order, self._setup.steps_per_epoch, {"log": []}, is_scheduled=True)
        self.blocking.append(1e3 * (time.perf_counter() - started))
        self.plain()
        self._checkpoints.wait()


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)
    settings = common.config()
    interactions = common.load(settings)
    setup = build_setup(settings, interactions)
    shutil.rmtree(OUT.value, ignore_errors=True)
    with Checkpoints(Path(OUT.value), settings.evaluation.watched_metric) as checkpoints:
        blocks = Blocks(setup, checkpoints)
        ms = common.in_turns({"steps": blocks.plain, "steps and a save": blocks.saving})
    newest = Path(OUT.value) / str(checkpoint_steps(Path(OUT.value))[-1])
    megabytes = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file()) / 1e6
    epoch = ms["steps"] / STEPS.value * setup.steps_per_epoch
    cost, blocking = ms["steps and a save"] - ms["steps"], statistics.median(blocks.blocking)
    share = {every: round(100 * cost / (every * epoch), 3) for every in (1, settings.training.save_every)}
    print(
        f"an epoch: {epoch:.0f} ms; a save of {megabytes:.0f} MB: {cost:.0f} ms, of which the run waits {blocking:.0f}"
    )
    for every, percent in share.items():
        print(f"saved every {every} epoch(s): {percent:.2f} % of the time")
    figures = {"epoch_ms": round(epoch), "save_ms": round(cost), "blocking_ms": round(blocking)}
    common.report("saving", interactions, **figures, megabytes=round(megabytes), share_percent=share)


if __name__ == "__main__":
    app.run(main)
