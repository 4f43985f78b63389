"""Where the time of a step with a softmax over the batch goes, and the least that it can take.

    python experiments/benchmarks/ssm_step.py --dataset=gowalla

The parts of a step are compiled on their own and timed in turns with the whole step, in one process: ratios within a
run mean something where the machine is busy. Beside the milliseconds that pass, those that all cores work are printed,
which other programs on the machine change little.

    scores      one product of B x d by d x B
    forward     logarithmic sums of the exponentials of B x B scores
    softmax     these and their gradients: three such products, a pass of exponentials
    plain       the same as `jax.nn.logsumexp` of the scores, differentiated by JAX
    embedding   the batch's rows of the propagated table, and the gradient of the table from theirs
    adam        clip and Adam over the table
    sampling    a batch of pairs
    step        all of it, in a compiled block

The floor of the softmax is three products at the rate of `scores` and one pass of `exponentials` over B x B numbers.
Those of `embedding` and `adam` are bytes over measured bandwidths, as in `floor.py`. Embedding gathers a row for each
entry of the batch's rows, and another in the gradient; with K layers come K - 1 whole products each way; the gradient
of the table is written. Adam reads the table, its gradient and two moments, and writes three of them.
"""

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import common
import floor
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from flax import nnx

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.graph import normalization
from lgcn_jax.losses.logsumexp import logsumexp_of_products
from lgcn_jax.losses.scored import l2_normalize
from lgcn_jax.training.programs import Programs
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.step import make_update

BATCH_SIZE = flags.DEFINE_integer("batch_size", 2048, "pairs of a step")
NUM_LAYERS = flags.DEFINE_integer("num_layers", 1, "propagation layers")
STEPS = 4  # of a timed block


class Time(NamedTuple):
    """Milliseconds of a call, the least of all calls: that pass, and that all cores work."""

    passed: float
    worked: float


def main(argv: list[str]) -> None:
    del argv
    settings = common.config(
        **{"loss": "ssm", "keep_positive": False, "sampler": "edge", "init": "xavier", "clip_norm": 0.0},
        **{"batch_size": BATCH_SIZE.value, "num_layers": NUM_LAYERS.value, "eval_split": "none"},
    )
    interactions = common.load(settings)
    setup = build_setup(settings, interactions)
    found = in_turns(softmax_parts(setup) | step_parts(setup))
    found["step"] = Time(*(value / STEPS for value in found["step"]))
    for name, each in found.items():
        print(f"{name:<12} {each.passed:9.2f} ms passed {each.worked:9.2f} ms worked")
    least = 3 * found["scores"].worked + found["exponentials"].worked
    ratio = {"softmax": found["softmax"].worked / least, "plain": found["plain"].worked / found["softmax"].worked}
    operations = 3 * 2 * BATCH_SIZE.value**2 * settings.model.embedding_dim
    share = found["softmax"].worked / found["step"].worked
    print(f"softmax: floor {least:.2f} ms worked, {operations / 1e9:.2f} GFLOP; it takes {ratio['softmax']:.2f} of it")
    print(f"plain JAX takes {ratio['plain']:.2f} of the softmax; the softmax takes {share:.2f} of a step")
    others = floors(setup, interactions)
    for name, milliseconds in others.items():
        ratio[name] = found[name].passed / milliseconds
        print(f"{name}: floor {milliseconds:.2f} ms passed; it takes {ratio[name]:.2f} of it")
    common.report(
        "ssm_step",
        interactions,
        worked_ms={name: round(each.worked, 3) for name, each in found.items()},
        passed_ms={name: round(each.passed, 3) for name, each in found.items()},
        floor_ms={name: round(value, 3) for name, value in {"softmax": least, **others}.items()},
        ratio={name: round(value, 3) for name, value in ratio.items()},
        batch_size=BATCH_SIZE.value,
        num_layers=NUM_LAYERS.value,
    )


def floors(setup: Setup, interactions: Interactions) -> dict[str, float]:
    """The least milliseconds of `embedding` and `adam` on this device."""
    matrix = normalization.normalized_adjacency(interactions.train, interactions.num_items)
    (nodes, dim), layers = (matrix.shape[0], setup.config.model.embedding_dim), setup.config.model.num_layers
    rows = np.unique(batch_nodes(setup))
    entries = int(np.diff(matrix.indptr)[rows].sum())
    whole, part = floor.product(matrix.nnz, nodes, dim), floor.product(entries, len(rows), dim)
    embedding = floor.Count(
        2 * (layers - 1) * whole.operations + 2 * part.operations,
        2 * (layers - 1) * whole.gathered + 2 * part.gathered,
        2 * (layers - 1) * whole.streamed + 2 * part.streamed + 4 * nodes * dim,
    )
    adam = floor.Count(12 * nodes * dim, 0, 28 * nodes * dim)
    bandwidth = floor.measure(matrix.indices, nodes, dim)
    return {"embedding": embedding.milliseconds(bandwidth), "adam": adam.milliseconds(bandwidth)}


def batch_nodes(setup: Setup) -> np.ndarray:
    """int32[2, B]: the nodes of the users and of the positive items of a batch."""
    size = setup.config.training.batch_size
    batch = jax.jit(lambda sampler: sampler.draw(jax.random.key(0), jnp.int32(0), size))(setup.sampler)
    return np.stack([np.asarray(batch.user), setup.num_users + np.asarray(batch.positive)])


def in_turns(candidates: dict[str, Callable[[], object]]) -> dict[str, Time]:
    """As `common.in_turns`, but the least time in place of the median, and with that of all cores."""
    for candidate in candidates.values():
        jax.block_until_ready(candidate())
    times = {name: [] for name in candidates}
    for _ in range(common.ROUNDS.value):
        for name, candidate in candidates.items():
            for _ in range(common.REPEATS.value):
                passed, worked = time.perf_counter(), time.process_time()
                jax.block_until_ready(candidate())
                times[name].append((1e3 * (time.perf_counter() - passed), 1e3 * (time.process_time() - worked)))
    return {name: Time(*map(min, zip(*each, strict=True))) for name, each in times.items()}


def softmax_parts(setup: Setup) -> dict[str, Callable]:
    """Of random unit vectors, users over the temperature."""
    size, dim = setup.config.training.batch_size, setup.config.model.embedding_dim
    random = np.random.default_rng(0)
    users, items = (l2_normalize(jnp.asarray(random.standard_normal((size, dim)), jnp.float32)) for _ in range(2))
    users, number, offset = users / setup.config.loss.temperature, jnp.arange(size, dtype=jnp.int32), jnp.zeros(size)

    def softmax(users, items):
        return logsumexp_of_products(users, items, offset, number, number).mean()

    def plain(users, items):
        every = jnp.matmul(users, items.T, precision="highest")
        return jax.nn.logsumexp(jnp.where(number[:, None] == number[None], -jnp.inf, every), axis=1).mean()

    every = jax.jit(lambda users, items: jnp.matmul(users, items.T, precision="highest"))
    exponentials, scores = jax.jit(jnp.exp), every(users, items)
    programs = {name: jax.jit(jax.grad(each, (0, 1))) for name, each in {"softmax": softmax, "plain": plain}.items()}
    forward = jax.jit(softmax)
    return {
        "scores": lambda: every(users, items),
        "exponentials": lambda: exponentials(scores),
        "forward": lambda: forward(users, items),
        **{name: functools.partial(each, users, items) for name, each in programs.items()},
    }


def step_parts(setup: Setup) -> dict[str, Callable]:
    """Those of a step around the softmax, and the whole."""
    start, key, size = setup.initial_snapshot(), jax.random.key(0), setup.config.training.batch_size
    graphdef, place = setup.graphdef(), jnp.int32(0)
    draw = jax.jit(lambda sampler, key, place: sampler.draw(key, place, size))
    nodes = jnp.asarray(batch_nodes(setup))

    @jax.jit
    def embedding(params, adjacency):
        def total(params):
            final, _ = nnx.merge(graphdef, params).embeddings_at(adjacency.layout, adjacency.row_of_node[nodes])
            return (final * final).sum()

        return jax.grad(total)(params)

    params = setup.init_state().params  # of which no step is given the memory
    gradient = embedding(params, setup.adjacency)
    adam = jax.jit(lambda state, gradient: make_update(setup.config)(state, gradient, {}), donate_argnums=0)
    block = Programs.compile(setup, start).block
    held = {"adam": setup.init_state(), "step": start.state}

    def update():
        held["adam"], norm = adam(held["adam"], gradient)
        return norm

    def step():
        held["step"], totals = block(
            held["step"], setup.zero_totals(), setup.adjacency, setup.sampler, key, place, jnp.int32(STEPS)
        )
        return totals

    return {
        "embedding": lambda: embedding(params, setup.adjacency),
        "adam": update,
        "sampling": lambda: draw(setup.sampler, key, place),
        "step": step,
    }


if __name__ == "__main__":
    app.run(main)
