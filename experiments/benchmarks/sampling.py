"""The sampler's share of a train step: drawing a batch in a loop on the device, beside whole steps in such a loop.

    python experiments/benchmarks/sampling.py --dataset=gowalla

Both samplers, in turns with the steps that use them.
"""

import common
import jax
import jax.numpy as jnp
from absl import app, flags

from lgcn_jax.sampling import SAMPLERS
from lgcn_jax.training.programs import Programs
from lgcn_jax.training.setup import Setup, build_setup

BATCH_SIZE = flags.DEFINE_integer("batch_size", 2048, "triples of a step")
STEPS = flags.DEFINE_integer("steps", 8, "steps of a timed loop")


def main(argv: list[str]) -> None:
    del argv
    settings = common.config(batch_size=BATCH_SIZE.value)
    interactions = common.load(settings)
    setups = {name: build_setup(settings.replace(sampler=name), interactions) for name in SAMPLERS}
    candidates = {}
    for name, setup in setups.items():
        candidates |= {f"{name} steps": Blocks(setup), f"{name} draws": draws(setup)}
    ms, figures = common.in_turns(candidates), {}
    for name in SAMPLERS:
        step, draw = (ms[f"{name} {what}"] / STEPS.value for what in ("steps", "draws"))
        figures[name] = {"step_ms": round(step, 3), "draw_ms": round(draw, 3), "percent": round(100 * draw / step, 2)}
        print(f"{name}: a step takes {step:.2f} ms, its batch {draw:.3f} ms of them, {100 * draw / step:.1f} %")
    common.report("sampling", interactions, batch_size=BATCH_SIZE.value, **figures)


class Blocks:
    """Blocks of steps that go on from each other, as `train` runs them."""

    def __init__(self, setup: Setup):
        start = setup.initial_snapshot()
        self._setup, self._state, self._programs = setup, start.state, Programs.compile(setup, start)
        self._data = setup.adjacency, setup.sampler, jax.random.key(0), jnp.int32(0), jnp.int32(STEPS.value)

    def __call__(self) -> None:
        self._state, _ = jax.block_until_ready(
            self._programs.block(self._state, self._setup.zero_totals(), *self._data)
        )


def draws(setup: Setup):
    """A call that draws the batches of a block, and adds them up so that none is left out."""

    @jax.jit
    def loop(sampler, key, first, last):
        def draw(number, total):
            batch = sampler.draw(key, number, BATCH_SIZE.value)
            return total + batch.user + batch.positive + batch.negative[:, 0]

        return jax.lax.fori_loop(first, last, draw, jnp.zeros(BATCH_SIZE.value, jnp.int32))

    data = setup.sampler, jax.random.key(0), jnp.int32(0), jnp.int32(STEPS.value)
    return lambda: loop(*data).block_until_ready()


if __name__ == "__main__":
    app.run(main)
