"""Where the time of a train step goes, by operation: reads a trace, made on the spot or by `train --profile`.

    python experiments/benchmarks/operations.py --dataset=gowalla
    python experiments/benchmarks/operations.py --trace=runs/gowalla/profile

Two figures for each operation, in milliseconds a step. `traced` is what its events last, added up over all threads.
On CPU an event may say only when an operation was handed to other threads (`bcsr_dot_general`: a tenth of a
millisecond for a product of ten). `wall` is therefore measured by difference: every moment belongs to the operation
that runs, or, where none does, to the one that was begun and has not been reported as ended; of several, to the one
that started last. So `wall` adds up to the block. Made on the spot, an operation is shown with the place in the program
that it comes from.
"""

import collections
import json
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import common
import jax
import jax.numpy as jnp
from absl import app, flags

from lgcn_jax.devices import profile
from lgcn_jax.devices.profile import STEPS, Profile
from lgcn_jax.training.programs import Programs
from lgcn_jax.training.setup import build_setup

TRACE = flags.DEFINE_string("trace", "", "folder of a trace to read; empty: trace a block of --dataset")
SHOWN = flags.DEFINE_integer("shown", 20, "operations listed; the rest is one line")
BEGUN, LEFT, ENDED = range(3)  # what happens to an operation: LEFT when its own event is over
CONTAINERS = ("while", "cond", "call")  # their events span those of the operations inside


class Step(NamedTuple):
    """A mean step: its milliseconds, and those of its operations, largest first."""

    ms: float
    wall: dict[str, float]
    traced: dict[str, float]


def main(argv: list[str]) -> None:
    del argv
    if TRACE.value:
        step, origin = read(Path(TRACE.value)), {}
    else:
        with tempfile.TemporaryDirectory() as folder:
            origin = trace(Path(folder))
            step = read(Path(folder))
    print(f"a step takes {step.ms:.2f} ms while traced\n{'wall':>10} {'share':>6} {'traced':>8}")
    names = list(step.wall)
    for name in names[: SHOWN.value]:
        show(step, [name], f"{name:<28} {origin.get(name, '')}")
    show(step, names[SHOWN.value :], f"{len(names[SHOWN.value :])} others")
    show(step, names, "all")
    low_precision = {name: round(step.wall[name], 4) for name in names[: SHOWN.value]}
    print(json.dumps({"benchmark": "operations", "step_ms": round(step.ms, 3), "wall_ms": low_precision}))


def show(step: Step, names: list[str], text: str) -> None:
    wall, traced = (sum(of.get(name, 0.0) for name in names) for of in (step.wall, step.traced))
    print(f"{wall:10.3f} {100 * wall / step.ms:5.1f}% {traced:8.3f}  {text}")


def trace(folder: Path) -> dict[str, str]:
    """Traces a block as `train --profile` does; returns where in the program each operation comes from."""
    settings = common.config()
    setup = build_setup(settings, common.load(settings))
    state, _, _ = start = setup.initial_snapshot()
    block = Programs.compile(setup, start).block
    data = setup.adjacency, setup.sampler, jax.random.key(0), jnp.int32(0), jnp.int32(STEPS)
    with Profile(folder) as traced:
        for _ in range(2):
            traced.begin_block(STEPS)
            state, _ = jax.block_until_ready(block(state, setup.zero_totals(), *data))
            traced.end_block()
    found = re.findall(r'%([\w.-]+) = .*op_name="jit\(block\)/while/body/([^"]*)"', block.as_text())
    return dict(found)


def read(folder: Path) -> Step:
    """The newest trace below `folder`."""
    events = profile.read_trace_events(folder)
    (block,) = (event for event in events if event.name == "block")
    steps, begin, end = int(block.stats["steps"]), block.start_ns, block.start_ns + block.duration_ns
    found = [event for event in events if operation(event) and begin <= event.start_ns < end]
    ended = [(event.start_ns, ENDED, event.name.removeprefix("end: ")) for event in events if "end: " in event.name]
    traced = collections.Counter()
    for event in found:
        traced[event.name] += event.duration_ns / 1e6 / steps
    moments = [(event.start_ns, BEGUN, event.name) for event in found]
    moments += [(event.start_ns + event.duration_ns, LEFT, event.name) for event in found]
    moments += [moment for moment in ended if moment[2] in traced and begin <= moment[0] < end]
    wall = {name: ns / 1e6 / steps for name, ns in attributed(sorted(moments), begin, end).most_common()}
    return Step((end - begin) / 1e6 / steps, wall, traced)


def attributed(moments: list[tuple[float, int, str]], begin: float, end: float) -> collections.Counter:
    """Nanoseconds between `begin` and `end` by operation, as the top of this file describes."""
    wall, running, open_ = collections.Counter(), [], []
    for (now, what, name), following in zip(moments, [*(m[0] for m in moments[1:]), end], strict=True):
        if what == BEGUN:
            running.append(name)
            open_.append(name)
        for names in {LEFT: [running], ENDED: [open_], BEGUN: []}[what]:
            if name in names:
                names.remove(name)
        wall[(running or open_ or ["(nothing)"])[-1]] += following - now
    wall["(nothing)"] += moments[0][0] - begin
    return wall


def operation(event) -> bool:
    """Whether an event is that of an operation of the block, and not of the executor, or of operations inside it."""
    if event.name.startswith((*CONTAINERS, "end: ", "Thunk", "Threadpool")):
        return False
    return dict(event.stats).get("hlo_module") == "jit_block"


if __name__ == "__main__":
    app.run(main)
