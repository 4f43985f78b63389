"""The sizes of the Pallas kernel, tried in turns: pieces a program sums, gathers in flight, width of a piece, warps.

    python experiments/benchmarks/tuning.py --dataset=gowalla

For a GPU. The fastest sizes belong into `lgcn_jax/kernel.py`, and the figures into BUILD_NOTES.md.
"""

import itertools

import common
import jax
from absl import app, flags

from lgcn_jax import graph, kernel

DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "dtype of the table")
ROWS = flags.DEFINE_list("rows", ["4", "8", "16"], "pieces summed by one program")
UNROLLED = flags.DEFINE_list("unrolled", ["2", "4", "8"], "neighbours of each piece per turn")
WIDTHS = flags.DEFINE_list("widths", ["64", "128", "256"], "longest piece")
WARPS = flags.DEFINE_list("warp", ["256", "512", "1024"], "numbers of a gathered block per warp")


def main(argv: list[str]) -> None:
    del argv
    interactions = common.load(common.config())
    matrix = graph.normalized(interactions.train, interactions.num_items)
    x = jax.random.normal(jax.random.key(0), (matrix.shape[0], common.EMBEDDING_DIM.value)).astype(DTYPE.value)
    sizes = itertools.product(*(map(int, flag.value) for flag in (ROWS, UNROLLED, WIDTHS, WARPS)))
    name = "rows {} unrolled {} width {} warp {}".format
    ms = common.in_turns({name(*each): product(matrix, x, *each) for each in sizes})
    for each in sorted(ms, key=ms.get):
        print(f"{ms[each]:9.4f} ms   {each}")
    common.report("tuning", interactions, dtype=DTYPE.value, ms=ms)


def product(matrix, x: jax.Array, rows: int, unrolled: int, width: int, warp: int):
    """A call of the product with these sizes that blocks until it is done."""
    kernel.ROWS, kernel.UNROLLED, kernel.Pieces.WIDTH, kernel.WARP = rows, unrolled, width, warp
    layout = jax.device_put(kernel.Pieces.prepare(matrix))
    compiled = jax.jit(lambda layout, x: layout.product(x)).lower(layout, x).compile()
    return lambda: compiled(layout, x).block_until_ready()


if __name__ == "__main__":
    app.run(main)
