"""Our train step beside the PyTorch reference step: same graph, same batch, same process, in turns.

    python experiments/benchmarks/train_step.py --dataset=gowalla

The reference computes as LightGCN-PyTorch does: torch.sparse COO products, layers stacked and averaged, Adam over the
whole tables. Both start from the same table, and their tables after one step are compared before anything is timed.
Ours is timed twice: inside the compiled epoch, as `train` runs it, with the sampling of its batch included; and
dispatched alone on the reference's batch. The reference's batch comes for free. Both ratios are printed; that of the
compiled epoch is what a user gets.
"""

import functools

import common
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_reference
from absl import app, flags

from lgcn_jax.training.programs import Programs
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.state import TrainState
from lgcn_jax.training.step import make_train_step

LOSS = flags.DEFINE_string("loss", "enhanced", "bpr or enhanced")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 2048, "triples of a step")
NUM_LAYERS = flags.DEFINE_integer("num_layers", 3, "propagation layers")
PROPAGATION = flags.DEFINE_string("propagation", "auto", "layout of the adjacency matrix")
EPOCH_STEPS = 8  # steps of one timed call of the compiled epoch


class Ours:
    """Our step on one batch, and blocks of steps of the compiled epoch."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.state = setup.init_state()
        self.initial = setup.table(self.state.params)
        self.triples = setup.sampler.draw(jax.random.key(0), jnp.int32(0), setup.config.training.batch_size)
        step = make_train_step(setup.config, setup.graphdef(), setup.num_users)
        self._step = jax.jit(step, donate_argnums=0)
        start = setup.initial_snapshot()
        self._block_state, self._programs = start.state, Programs.compile(setup, start)

    def step(self) -> TrainState:
        self.state, _ = self._step(self.state, self.setup.adjacency, self.triples)
        return jax.block_until_ready(self.state)

    def block(self) -> None:
        key, first, last = jax.random.key(0), jnp.int32(0), jnp.int32(EPOCH_STEPS)
        data = self.setup.adjacency, self.setup.sampler
        state, totals = self._programs.block(self._block_state, self.setup.zero_totals(), *data, key, first, last)
        self._block_state = jax.block_until_ready(state)
        del totals


def main(argv: list[str]) -> None:
    del argv
    layers = {"num_layers": NUM_LAYERS.value, "propagation": PROPAGATION.value}
    settings = common.config(loss=LOSS.value, batch_size=BATCH_SIZE.value, **layers)
    interactions = common.load(settings)
    ours = Ours(build_setup(settings, interactions))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    theirs = torch_reference.Trainer(settings, interactions.train, ours.initial, device)
    triples = [torch.from_numpy(np.array(column).ravel()).long().to(device) for column in ours.triples[:3]]
    difference = compare(ours, theirs, triples)
    step = functools.partial(theirs.step, *triples)
    ms = common.in_turns({"ours": ours.block, "ours, alone": ours.step, "pytorch": step})
    ms["ours"] = round(ms["ours"] / EPOCH_STEPS, 3)
    for name, milliseconds in ms.items():
        print(f"{name:<12} {milliseconds:9.3f} ms a step")
    ratio, alone = (round(ms["pytorch"] / ms[name], 2) for name in ("ours", "ours, alone"))
    reference = f"the PyTorch reference (torch {torch.__version__} on {device})"
    print(f"{ratio} times as fast as {reference}; {alone} times where each step is dispatched alone")
    setting = {"batch_size": settings.training.batch_size, "embedding_dim": settings.model.embedding_dim, **layers}
    common.report(
        "train_step",
        interactions,
        ms=ms,
        ratio=ratio,
        ratio_alone=alone,
        difference=difference,
        torch=torch.__version__,
        **setting,
    )


def compare(ours: Ours, theirs: torch_reference.Trainer, triples: list[torch.Tensor]) -> float:
    """The largest difference between both tables after one step from the same one; stops where it is above 1e-5."""
    stepped = ours.setup.table(ours.step().params)
    theirs.step(*triples)
    difference = float(np.abs(stepped - theirs.table()).max())
    if difference > 1e-5:
        raise SystemExit(f"after one step the tables differ by {difference}")
    return difference


if __name__ == "__main__":
    app.run(main)
