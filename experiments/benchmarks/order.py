"""The order of the table's rows: what a product costs with rows in the order of ids and in the local one.

    python experiments/benchmarks/order.py --dataset=gowalla

Prints the seconds that finding the local order takes (the fastest of --rounds), then the milliseconds of a product in
the layout chosen here, both orders in turns. The product gathers the same rows in either; only where they lie differs.
"""

import time

import common
import jax
from absl import app

from lgcn_jax.graph import normalization, order, propagation


def main(argv: list[str]) -> None:
    del argv
    settings = common.config()
    interactions = common.load(settings)
    matrix = normalization.normalized_adjacency(interactions.train, interactions.num_items)
    seconds = min(elapsed(matrix, interactions.num_users) for _ in range(common.ROUNDS.value))
    placed = {
        "natural": order.identity_order(matrix.shape[0]),
        "local": order.locality_order(matrix, interactions.num_users),
    }
    x = jax.random.normal(jax.random.key(0), (matrix.shape[0], settings.model.embedding_dim))
    multiply = jax.jit(propagation.propagate)
    layouts = {name: propagation.make_layout(order.permute(matrix, rows)) for name, rows in placed.items()}
    calls = {name: lambda layout=layout: multiply(layout, x).block_until_ready() for name, layout in layouts.items()}
    ms = common.in_turns(calls)
    print(f"finding the local order: {seconds:.2f} s")
    for name, time_ in ms.items():
        print(f"product, {name:<8}{time_:9.3f} ms")
    common.report("order", interactions, seconds=round(seconds, 3), ms=ms, layout=propagation.resolve_layout_name())


def elapsed(matrix, num_users: int) -> float:
    """Seconds of one `order.local`."""
    started = time.perf_counter()
    order.locality_order(matrix, num_users)
    return time.perf_counter() - started


if __name__ == "__main__":
    app.run(main)
