"""Every layout of the adjacency matrix: what a product and a train step need, and how near each layout comes to it.

    python experiments/benchmarks/propagation.py --dataset=gowalla

Bytes and operations are counted first (`floor.py` has the formulas) and this device's bandwidths measured, which gives
the least time. Then each layout that works here is checked against BCOO, and timed in turns with the others: a product,
and a train step on one batch; also with bfloat16, where a layout reads less with it. The same command runs on a GPU.
"""

import common
import floor
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from lgcn_jax import sampling
from lgcn_jax.graph import normalization, propagation
from lgcn_jax.graph.layout import Layout
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.training.step import init_train_state, make_train_step

NUM_LAYERS = flags.DEFINE_integer("num_layers", 3, "propagation layers of the train step")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 2048, "triples of the train step")
LAYOUTS = flags.DEFINE_list("layouts", [], "layouts to take; bcoo always is (default: all that work)")
TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2}


def main(argv: list[str]) -> None:
    del argv
    settings = common.config(num_layers=NUM_LAYERS.value, batch_size=BATCH_SIZE.value)
    interactions = common.load(settings)
    matrix = normalization.normalized_adjacency(interactions.train, interactions.num_items)
    layouts = {kind: propagation.make_layout(matrix, *kind) for kind in kinds()}
    errors = check(layouts, jax.random.normal(jax.random.key(0), (matrix.shape[0], settings.model.embedding_dim)))
    counts = count(matrix, settings)
    table = matrix.shape[0], settings.model.embedding_dim
    bandwidths = {name: floor.measure(matrix.indices, *table, name) for name in TOLERANCE}
    describe(counts, bandwidths)
    sampler = sampling.build_sampler(settings.sampler, interactions.train, interactions.num_items)
    works = {"product": product(layouts, settings), "train step": train_step(layouts, settings, sampler, interactions)}
    ms, share = {}, {}
    for work, calls in works.items():
        times = common.in_turns(calls)
        ms[work] = {" ".join(kind): time for kind, time in times.items()}
        share[work] = {}
        for kind, time in times.items():
            least = counts[work, kind[1]].milliseconds(bandwidths[kind[1]])
            share[work][" ".join(kind)] = round(least / time, 3)
            differs = f"   largest difference from bcoo {errors[kind]:.1e}" if work == "product" else ""
            print(f"{work:<11}{' '.join(kind):<17}{time:9.3f} ms, {least / time:6.1%} of the floor's speed{differs}")
    chosen, edges = propagation.resolve_layout_name(), matrix.nnz
    gigabytes = {name: [round(x / 1e9, 1) for x in bandwidth] for name, bandwidth in bandwidths.items()}
    common.report("propagation", interactions, edges=edges, ms=ms, share=share, copy_gather=gigabytes, chosen=chosen)


def kinds() -> list[tuple[str, str]]:
    """Layouts and dtypes to take: all that work here and the flag names."""
    names = [
        name for name in propagation.available_layouts() if name in ("bcoo", *(LAYOUTS.value or propagation.LAYOUTS))
    ]
    return [(name, "float32") for name in names] + [
        (name, "bfloat16") for name in names if propagation.LAYOUTS[name].ACCEPTS_BFLOAT16
    ]


def count(matrix, settings) -> dict[tuple[str, str], floor.Count]:
    sizes = matrix.nnz, matrix.shape[0], settings.model.embedding_dim
    counts = {}
    for name in TOLERANCE:
        size = jnp.dtype(name).itemsize
        counts["product", name] = floor.product(*sizes, size)
        counts["train step", name] = floor.train_step(
            *sizes, settings.model.num_layers, settings.training.batch_size, size
        )
    return counts


def describe(counts: dict[tuple[str, str], floor.Count], bandwidths: dict[str, floor.Bandwidth]) -> None:
    for name, bandwidth in bandwidths.items():
        print(f"{name}: copy {bandwidth.copy / 1e9:.1f} GB/s, gather {bandwidth.gather / 1e9:.1f} GB/s")
    for (work, name), needs in counts.items():
        bytes_ = f"{needs.gathered / 1e6:,.0f} MB gathered, {needs.streamed / 1e6:,.0f} MB streamed"
        least = needs.milliseconds(bandwidths[name])
        print(f"{work}, {name}: {needs.operations / 1e6:,.0f} M operations, {bytes_}: at least {least:.3f} ms")


def check(layouts: dict[tuple[str, str], Layout], x: jax.Array) -> dict[tuple[str, str], float]:
    """The largest difference of each layout's product and gradient from BCOO's.

    Stops where one is too large, or where a layout that promises the same bits every time has others.
    """

    @jax.jit
    def both(layout):
        y, pull = jax.vjp(lambda x: propagation.propagate(layout, x), x)
        return y, pull(y)[0]

    expected = both(layouts["bcoo", "float32"])
    errors = {}
    for kind, layout in layouts.items():
        found = both(layout)
        errors[kind] = max(float(np.abs(f - e).max()) for f, e in zip(found, expected, strict=True))
        if errors[kind] > TOLERANCE[kind[1]]:
            raise SystemExit(f"{' '.join(kind)} differs from bcoo by {errors[kind]}")
        promised = jax.default_backend() in propagation.LAYOUTS[kind[0]].DETERMINISTIC
        if promised and any(not np.array_equal(f, g) for f, g in zip(found, both(layout), strict=True)):
            raise SystemExit(f"{' '.join(kind)} gives other bits the second time")
    return errors


def product(layouts, settings):
    """For each layout a call that blocks until A_hat @ x is there."""
    nodes = next(iter(layouts.values())).num_rows
    x = jax.random.normal(jax.random.key(0), (nodes, settings.model.embedding_dim))
    multiply = jax.jit(propagation.propagate)
    return {kind: lambda layout=layout: multiply(layout, x).block_until_ready() for kind, layout in layouts.items()}


def train_step(layouts, settings, sampler, interactions):
    """For each layout a call that blocks until a step on one batch is done; all share a state, which each replaces."""
    rows = jnp.arange(interactions.num_users + interactions.num_items, dtype=jnp.int32)
    graphdef, state = init_train_state(settings, rows)
    held = [state]
    triples = sampler.draw(jax.random.key(0), jnp.int32(0), settings.training.batch_size)
    step = jax.jit(make_train_step(settings, graphdef, interactions.num_users), donate_argnums=0)

    def call(layout):
        held.append(jax.block_until_ready(step(held.pop(), Adjacency(layout, rows), triples)[0]))

    return {kind: lambda layout=layout: call(layout) for kind, layout in layouts.items()}


if __name__ == "__main__":
    app.run(main)
