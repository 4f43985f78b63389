"""What a run needs before it begins: memory by a formula that was measured, and time by a few steps."""

import time

import jax
import numpy as np

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import mesh_shape
from lgcn_jax.errors import InputError
from lgcn_jax.losses import StepSizes
from lgcn_jax.system.memory import total_bytes
from lgcn_jax.training.programs import compile_block
from lgcn_jax.training.setup import Setup
from lgcn_jax.training.statistics import BLOCK, has_statistics

WITHIN_STEP = ("layer", "batch", "rows", "scores", "views")  # what is there while a step runs, and not between steps
TIMED_STEPS = 8  # steps, after one that warms up
ROW_COPIES = 3  # of the batch's rows: themselves, what the loss makes of them, and their gradients
VIEW_TABLES = 4  # of a propagation with noise: a layer and what its noise is made of


def memory_bytes(
    train: int, test: int, nodes: int, dim: int, activations_per_node: int | None = None
) -> dict[str, int]:
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
      activations_per_node: of all that the encoder keeps for each node within a step; None: as wide as the table.
    """
    table, layer = 4 * nodes * dim, 4 * nodes * (activations_per_node or dim)
    held = {"interactions": 4 * (train + test), "sampler": 4 * train, "layout": 8 * 2 * train}
    held |= {"evaluation": 8 * train + 4 * test, "index": 64 * nodes, "state": 3 * table}
    return held | {"layer": layer, "batch": 7 * 2 * train, "program": 300_000_000}


def batch_bytes(config: Config, nodes: int) -> dict[str, int]:
    """Bytes that a device holds within a step for its loss; XLA's own figures for compiled steps (a test compares).

    * rows: final embeddings and layer 0 of the batch's users and items, in as many copies as ROW_COPIES.
    * scores: those that the loss holds, by itself or in blocks.
    * views: what propagations with noise take beyond the scores, which are there at another time.
    """
    model, negatives, batch = config.model, config.negatives, config.training.batch_size
    data, places = mesh_shape(config.devices.mesh)
    examples = batch // data
    rows = (2 + negatives.per_example) * batch + negatives.shared + (nodes if config.loss.NEEDS_TABLES else 0)
    scores = config.loss.num_scores_in_memory(StepSizes(examples, batch, negatives.shared, negatives.IN_BATCH))
    views = 0
    if config.loss.views is not None:
        views = (1 if config.loss.views.layer else 2) * VIEW_TABLES * nodes * model.table_width
    numbers = {"rows": ROW_COPIES * rows * (model.final_width + model.table_width), "scores": scores}
    numbers["views"] = max(0, views // places - scores)
    return {name: 4 * count for name, count in numbers.items()}


def renewal_bytes(config: Config, nodes: int) -> int:
    """Bytes that a device holds to renew the statistics of a loss, between epochs.

    They are the final embeddings of all nodes, wherever their rows lie, these as the loss takes them, and a block of
    scores.
    """
    return 4 * (2 * nodes * config.model.final_width + BLOCK) if has_statistics(config.loss) else 0


def run_memory_bytes(config: Config, interactions: Interactions) -> dict[str, int]:
    """`memory` of a run in one memory: that of a device, or of a process whose devices are parts of its CPU.

    To `memory_bytes` come what a loss holds (`batch_bytes`), and `statistics`: what the renewal of a loss' statistics
    takes beyond a step, at whose time no step runs.
    """
    train, part = interactions.train.nnz, interactions.part(config.evaluation.eval_split)
    nodes = interactions.num_users + interactions.num_items
    data, places = mesh_shape(config.devices.mesh)
    sharing = 1 if device_bytes() else data * places // jax.process_count()
    terms = memory_bytes(train, part.nnz, nodes, config.model.table_width, config.model.activations_per_node)
    terms["interactions"] += 0 if interactions.weights is None else 4 * train
    terms |= batch_bytes(config, nodes)
    whole, repeated = ("interactions", "index", "program"), ("rows", "scores", "views")
    terms = {
        name: size if name in whole else size * sharing // (1 if name in repeated else places)
        for name, size in terms.items()
    }
    within_step = sum(terms[name] for name in WITHIN_STEP)
    return terms | {"statistics": max(0, renewal_bytes(config, nodes) * sharing - within_step)}


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
    advice = "(a smaller --embedding_dim or --batch_size, or more devices by --mesh)"
    raise InputError("memory", found, f"at most the {limit / 1e9:.1f} GB that it has {advice}")


def measure_epoch_seconds(setup: Setup) -> float:
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
