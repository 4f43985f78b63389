"""Every layout of the adjacency matrix: one product and one gradient, checked against BCOO, then timed in turns.

python experiments/benchmarks/propagation.py --dataset=gowalla
"""

import common
import jax
import numpy as np
from absl import app

from lgcn_jax import graph, propagation
from lgcn_jax.layout import LAYOUTS, Layout


def main(argv: list[str]) -> None:
    del argv
    interactions = common.load(common.config())
    matrix = graph.normalized(interactions.train, interactions.num_items)
    x = jax.random.normal(jax.random.key(0), (matrix.shape[0], common.EMBEDDING_DIM.value))
    layouts = {name: propagation.prepare(matrix, name) for name in LAYOUTS}
    errors = check(layouts, x)
    times = common.in_turns({name: product(layout, x) for name, layout in layouts.items()})
    for name, milliseconds in times.items():
        print(f"{name:<8} {milliseconds:9.3f} ms   largest difference from bcoo {errors[name]:.1e}")
    ratios = {name: round(times["bcoo"] / milliseconds, 2) for name, milliseconds in times.items()}
    edges, chosen = matrix.nnz, propagation.choose()
    common.report("propagation", interactions, edges=edges, ms=times, faster_than_bcoo=ratios, chosen=chosen)


def product(layout: Layout, x: jax.Array):
    """A call that blocks until A_hat @ x is there."""
    compiled = jax.jit(propagation.propagate).lower(layout, x).compile()
    return lambda: compiled(layout, x).block_until_ready()


def check(layouts: dict[str, Layout], x: jax.Array) -> dict[str, float]:
    """The largest difference of each layout's product and gradient from BCOO's; stops where one is above 1e-5."""

    @jax.jit
    def both(layout):
        y, pull = jax.vjp(lambda x: propagation.propagate(layout, x), x)
        return y, pull(y)[0]

    expected = both(layouts["bcoo"])
    errors = {}
    for name, layout in layouts.items():
        found = both(layout)
        errors[name] = max(float(np.abs(f - e).max()) for f, e in zip(found, expected, strict=True))
        if errors[name] > 1e-5:
            raise SystemExit(f"{name} differs from bcoo by {errors[name]}")
    return errors


if __name__ == "__main__":
    app.run(main)
