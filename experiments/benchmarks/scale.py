"""How far one machine goes: synthetic worlds of growing size, made, put in place, and trained on for a few steps.

    python experiments/benchmarks/scale.py --interactions=1e6,3e6,1e7,3e7,1e8

Each size has a process of its own, so that its peak memory is its own. A peak is that of the process up to the end of
a phase, without what the program took before the first one. Beside the peaks stands what the formula of `memory` says.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import common
import jax
import jax.numpy as jnp
from absl import app, flags

from lgcn_jax.config import Config
from lgcn_jax.data import datasets, synthetic
from lgcn_jax.graph import normalization
from lgcn_jax.runs import curves, workdir
from lgcn_jax.training.estimate import memory_bytes
from lgcn_jax.training.programs import Programs
from lgcn_jax.training.setup import build_setup

INTERACTIONS = flags.DEFINE_list("interactions", ["1e6", "3e6", "1e7", "3e7", "1e8"], "sizes of the worlds")
PER_USER = flags.DEFINE_integer("per_user", 80, "interactions of a user, on average; there are half as many items")
STEPS = flags.DEFINE_integer("steps", 3, "train steps that are timed, after a first one")
OUT = flags.DEFINE_string("out", "runs/scale.png", "the picture")
ALONE = flags.DEFINE_bool("alone", False, "measure the one size in this process, and print nothing but its JSON line")


def main(argv: list[str]) -> None:
    del argv
    sizes = [int(float(size)) for size in INTERACTIONS.value]
    if ALONE.value:
        print(json.dumps(measure(settings(sizes[0]))))
        return
    found = [in_a_process(size) for size in sizes]
    draw(found, Path(OUT.value))
    device = jax.devices()[0]
    where = {"device": device.device_kind, "platform": device.platform, **workdir.versions()}
    print(json.dumps({"benchmark": "scale", "embedding_dim": common.EMBEDDING_DIM.value, "sizes": found, **where}))


def settings(interactions: int) -> Config:
    """A world of that size, and the model of which a step is timed."""
    users = max(100, interactions // PER_USER.value)
    size = {"num_users": users, "num_items": users // 2, "num_interactions": interactions}
    return Config.of(dataset="synthetic", **size, embedding_dim=common.EMBEDDING_DIM.value)


def in_a_process(interactions: int) -> dict:
    """The figures of one size, measured in a process of its own and printed."""
    command = [sys.executable, __file__, "--alone", f"--interactions={interactions}"]
    command += [f"--{flag.name}={flag.value}" for flag in (PER_USER, STEPS, common.EMBEDDING_DIM)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures = json.loads(output.splitlines()[-1])
    print(f"{interactions:,} interactions, {figures['nodes']:,} nodes, {figures['edges']:,} entries of A_hat")
    for phase, seconds in figures["seconds"].items():
        expected = figures["formula_mb"].get(phase)
        beside = f"   formula {expected:8,.0f} MB" if expected else ""
        print(f"  {phase:<12} {seconds:9.3f} s   peak {figures['peak_mb'][phase]:8,.0f} MB{beside}", flush=True)
    return figures


def measure(config: Config) -> dict:
    """Seconds and peak of each phase: the world, its A_hat, all that a run has on the device, compilation, a step."""
    clock = Clock()
    interactions = datasets.load(config.data)
    clock.lap("world")
    normalization.normalized_adjacency(interactions.train, interactions.num_items)
    clock.lap("graph")
    setup = build_setup(config, interactions)
    clock.lap("build")
    state, totals, _ = start = setup.initial_snapshot()
    programs = Programs.compile(setup, start)
    clock.lap("compile")
    data = setup.adjacency, setup.sampler, jax.random.key(0)
    state, totals = programs.block(state, totals, *data, jnp.int32(0), jnp.int32(1))
    clock.lap("first step", wait_for=totals)
    state, totals = programs.block(state, totals, *data, jnp.int32(1), jnp.int32(1 + STEPS.value))
    clock.lap("step", wait_for=totals, share=STEPS.value)
    train, test = interactions.train.nnz, interactions.test.nnz
    terms = memory_bytes(train, test, setup.order.num_rows, config.model.embedding_dim)
    return {
        **{"interactions": config.data.num_interactions, "nodes": setup.order.num_rows, "edges": 2 * train},
        **{"seconds": clock.seconds, "peak_mb": clock.peak_mb, "formula_mb": expected(config, terms)},
        "terms_mb": {name: round(size / 1e6) for name, size in terms.items()},
        "compiler_temporaries_mb": round(programs.block.memory_analysis().temp_size_in_bytes / 1e6),
    }


class Clock:
    """Seconds since the last lap, and the peak so far of this process's memory above that of its beginning."""

    def __init__(self):
        jax.devices()
        self.seconds, self.peak_mb = {}, {}
        self._before, self._begun = self._peak(), time.perf_counter()

    def lap(self, phase: str, wait_for=None, share: int = 1) -> None:
        jax.block_until_ready(wait_for)
        self.seconds[phase] = round((time.perf_counter() - self._begun) / share, 4)
        self.peak_mb[phase] = round(self._peak() - self._before)
        self._begun = time.perf_counter()

    def _peak(self) -> float:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6  # bytes there, KiB elsewhere


def expected(config: Config, terms: dict[str, int]) -> dict[str, int]:
    """Megabytes at the peak of the phases for which there is a formula, from the terms of `memory`.

    While everything is put in place, A_hat is there as the host's matrix too, and the masked pairs thrice.
    """
    data = sum(terms[name] for name in ("interactions", "sampler", "layout", "evaluation", "index"))
    peaks = {
        "world": synthetic.peak_bytes(config.data.num_users, config.data.num_items, config.data.num_interactions),
        "build": data + terms["layout"] + 4 * terms["sampler"],
        "step": sum(terms.values()),
    }
    return {phase: round(size / 1e6) for phase, size in peaks.items()}


def draw(found: list[dict], path: Path) -> None:
    """Seconds, and peaks beside the formula's, against the number of interactions."""
    sizes = [figures["interactions"] for figures in found]
    seconds, peaks = {}, {}
    for phase in ("world", "graph", "build", "step"):
        seconds[phase] = dict(zip(sizes, (f["seconds"][phase] for f in found), strict=True))
    for phase in ("world", "build", "step"):
        peaks[phase] = dict(zip(sizes, (f["peak_mb"][phase] for f in found), strict=True))
        peaks[f"{phase}, formula"] = dict(zip(sizes, (f["formula_mb"][phase] for f in found), strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    panels = {"seconds": seconds, "peak memory, MB": peaks}
    path.write_bytes(curves.plot_log_log(panels, ["interactions"] * len(panels)))


if __name__ == "__main__":
    app.run(main)
