"""What a product and a train step cost against the number of edges, the width, the batch and the depth.

    python experiments/benchmarks/sweep.py

One thing is varied at a time, around a synthetic world of --num_interactions pairs, width 64, batch 2048, 3 layers.
The slope of log cost against log size says how far from linear (1) it is; the picture shows where it bends.
"""

import json
from pathlib import Path

import common
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.graph import propagation
from lgcn_jax.runs import curves, workdir
from lgcn_jax.training.programs import Programs
from lgcn_jax.training.setup import build_setup

PER_USER = flags.DEFINE_integer("per_user", 80, "interactions of a user, on average; there are half as many items")
EDGES = flags.DEFINE_list("edges", ["1e5", "3e5", "1e6", "3e6", "1e7"], "numbers of interactions")
DIMS = flags.DEFINE_list("dims", ["8", "16", "32", "64", "128", "256", "512"], "widths")
BATCHES = flags.DEFINE_list("batches", ["256", "1024", "4096", "16384", "32768"], "batch sizes")
LAYERS = flags.DEFINE_list("layers", ["1", "2", "3", "4", "5", "6"], "depths")
OUT = flags.DEFINE_string("out", "runs/sweep.png", "the picture")
NAMES = {"edges": "interactions", "dims": "width d", "batches": "batch size B", "layers": "layers K"}


def main(argv: list[str]) -> None:
    del argv
    center = world(common.NUM_INTERACTIONS.value)
    variations = {
        "edges": {size: world(size) for size in numbers(EDGES)},
        "dims": {dim: center.replace(embedding_dim=dim) for dim in numbers(DIMS)},
        "batches": {size: center.replace(batch_size=size) for size in numbers(BATCHES)},
        "layers": {depth: center.replace(num_layers=depth) for depth in numbers(LAYERS)},
    }
    ms = {name: sweep(name, varied) for name, varied in variations.items()}
    slopes = {name: {what: slope(series) for what, series in lines.items()} for name, lines in ms.items()}
    for name, lines in slopes.items():
        print(f"{name:<8} " + ", ".join(f"{what}: log-log slope {value:.2f}" for what, value in lines.items()))
    path = Path(OUT.value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(curves.plot_log_log({f"ms against {NAMES[name]}": ms[name] for name in ms}, list(NAMES.values())))
    device = jax.devices()[0]
    where = {"device": device.device_kind, "platform": device.platform, **workdir.versions()}
    setting = {"interactions": center.data.num_interactions, "embedding_dim": center.model.embedding_dim}
    print(json.dumps({"benchmark": "sweep", **setting, "ms": ms, "slopes": slopes, **where}))


def numbers(flag: flags.FlagHolder) -> list[int]:
    return [int(float(text)) for text in flag.value]


def world(interactions: int) -> Config:
    """A synthetic world of that size, and the middle of all other settings."""
    users = max(100, interactions // PER_USER.value)
    size = {"num_users": users, "num_items": users // 2, "num_interactions": interactions}
    return Config.of(dataset="synthetic", **size, embedding_dim=common.EMBEDDING_DIM.value)


def sweep(name: str, varied: dict[int, Config]) -> dict[str, dict[int, float]]:
    """Milliseconds of a product and of a train step for each value of what is varied."""
    ms = {"product": {}, "train step": {}}
    for value, config in varied.items():
        for what, milliseconds in measure(config).items():
            ms[what][value] = milliseconds
        shown = ", ".join(f"{what} {series[value]:10.3f} ms" for what, series in ms.items())
        print(f"{NAMES[name]:<13} {value:>11,}: {shown}", flush=True)
    return ms


def measure(config: Config) -> dict[str, float]:
    """Milliseconds of one product and of one step inside the compiled epoch."""
    setup = build_setup(config, datasets.load(config.data))
    state, _, _ = start = setup.initial_snapshot()
    programs = Programs.compile(setup, start)
    product = jax.jit(propagation.propagate)
    x = jnp.ones((setup.order.num_rows, config.model.embedding_dim), jnp.float32)
    key, first, last = jax.random.key(0), jnp.int32(0), jnp.int32(1)

    def step():
        nonlocal state
        state, _ = programs.block(state, setup.zero_totals(), setup.adjacency, setup.sampler, key, first, last)
        jax.block_until_ready(state)

    return common.in_turns(
        {"product": lambda: product(setup.adjacency.layout, x).block_until_ready(), "train step": step}
    )


def slope(series: dict[int, float]) -> float:
    """Of the line through the points, in logarithms; 1 is proportional."""
    return round(float(np.polyfit(np.log(list(series)), np.log(list(series.values())), 1)[0]), 3)


if __name__ == "__main__":
    app.run(main)
