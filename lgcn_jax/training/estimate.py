"""What a run needs before it begins: memory by a formula that was measured, and time by a few steps."""

import time

import jax
import numpy as np

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import mesh_shape
from lgcn_jax.errors import InputError
from lgcn_jax.system.memory import total_bytes
from lgcn_jax.training.programs import compile_block
from lgcn_jax.training.setup import Setup

TIMED_STEPS = 8  # steps, after one that warms up


def memory_bytes(train: int, test: int, nodes: int, dim: int, step_width: int | None = None) -> dict[str, int]:
    """Bytes of each thing that a run on one device holds within a step; measured on CPUs (`benchmarks/scale.py`).

    A_hat has E = 2 * train entries; a table has nodes * dim numbers of 4 bytes.

    * interactions: the host's compressed rows, an int32 for each pair.
    * sampler: the train pairs once more, on the device.
    * layout: an int32 and a float32 for each of the E entries.
    * evaluation: row and item of each train pair, which are masked when the test part is ranked, and the test pairs.
    * index: the starts of rows in all of these, ids and flags: about 64 bytes a node.
    * state: the table and both moments of Adam.
    * layer: within a step, the layer at hand, and then the gradient in its place; other encoders keep more layers.
    * batch: within a step, what its first and last product need: the columns renumbered for the rows that the batch
      has (4 E), and the entries of these rows, up to E / 4 of them, with where they come from (3 E).
    * program: XLA, its compiler and what it compiled; measured, and the same for every size.

    Args:
      train, test: numbers of pairs.
      nodes: users and items.
      dim: width of the table.
      step_width: of all that the encoder keeps for each node within a step; None: as wide as the table.
    """
    table, layer = 4 * nodes * dim, 4 * nodes * (step_width or dim)
    held = {"interactions": 4 * (train + test), "sampler": 4 * train, "layout": 8 * 2 * train}
    held |= {"evaluation": 8 * train + 4 * test, "index": 64 * nodes, "state": 3 * table}
    return held | {"layer": layer, "batch": 7 * 2 * train, "program": 300_000_000}


def run_memory_bytes(config: Config, interactions: Interactions) -> dict[str, int]:
    """`memory` of a run in one memory: that of a device, or of a process whose devices are parts of its CPU."""
    train, part = interactions.train.nnz, interactions.part(config.evaluation.eval_split)
    nodes = interactions.num_users + interactions.num_items
    data, places = mesh_shape(config.devices.mesh)
    sharing = 1 if device_bytes() else data * places // jax.process_count()
    terms = memory_bytes(train, part.nnz, nodes, config.model.table_width, config.model.step_width)
    terms["interactions"] += 0 if interactions.weights is None else 4 * train
    whole = ("interactions", "index", "program")
    return {name: size if name in whole else size * sharing // places for name, size in terms.items()}


def device_bytes() -> int | None:
    """Bytes that the first device has of its own, None where it shares the machine's."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")


def available_bytes() -> int:
    """Bytes of the memory in which a device computes."""
    return device_bytes() or total_bytes()


def require_memory(config: Config, interactions: Interactions) -> None:
    """Raises an InputError where a run would not fit, with the estimate."""
    terms, limit = run_memory_bytes(config, interactions), available_bytes()
    if (needed := sum(terms.values())) <= limit:
        return
    largest = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in sorted(terms.items(), key=lambda t: -t[1])[:3])
    found = f"a run of about {needed / 1e9:.1f} GB on a device ({largest})"
    advice = "(a smaller --embedding_dim, or more devices by --mesh)"
    raise InputError("memory", found, f"at most the {limit / 1e9:.1f} GB that it has {advice}")


def epoch_seconds(setup: Setup) -> float:
    """Seconds of an epoch, from some steps on a state that is thrown away; compilation is left out."""
    here = setup.initial_snapshot()
    block = compile_block(setup, here)
    key, state = setup.mesh.replicate(jax.random.key(0)), here.state
    times = []
    for first, last in ((0, 1), (1, 1 + TIMED_STEPS)):
        bounds = setup.mesh.replicate((np.int32(first), np.int32(last)))
        begun = time.perf_counter()
        state, _ = block(state, setup.zero_totals(), setup.adjacency, setup.sampler, key, *bounds)
        jax.block_until_ready(state)
        times.append((time.perf_counter() - begun) / (last - first))
    return times[-1] * setup.steps_per_epoch
