"""Our train step beside the PyTorch reference step: same graph, same batch, same process, in turns.

    python experiments/benchmarks/train_step.py --dataset=gowalla

The reference computes as LightGCN-PyTorch does: torch.sparse COO products, layers stacked and averaged, Adam. Both
start from the same table; their tables after one step are compared before anything is timed. Also printed: a step
inside the compiled epoch, where the sampler's work is included.
"""

import common
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_reference
from absl import app, flags

from lgcn_jax import sampling, training

LOSS = flags.DEFINE_string("loss", "enhanced", "bpr or enhanced")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 2048, "triples of a step")
NUM_LAYERS = flags.DEFINE_integer("num_layers", 3, "propagation layers")
PROPAGATION = flags.DEFINE_string("propagation", "auto", "layout of the adjacency matrix")


class Ours:
    """Our step on one batch, over and over, and blocks of an epoch."""

    def __init__(self, problem: training.Problem):
        self.problem = problem
        self.graphdef, self.state = training.init(problem.config, problem.num_nodes)
        self.table = training.table(self.state.params).copy()
        key = jax.random.key(0)
        self.triples = problem.sampler.draw(key, jnp.int32(0), problem.config.batch_size)
        step = training.make_train_step(problem.config, self.graphdef, problem.num_users)
        self._step = jax.jit(step, donate_argnums=0)

    def step(self) -> None:
        self.state, metrics = self._step(self.state, self.problem.layout, self.triples)
        jax.block_until_ready((self.state, metrics))

    def epoch_step_ms(self, steps: int) -> float:
        """Milliseconds of a step inside the compiled block, sampling included."""
        graphdef, state = training.init(self.problem.config, self.problem.num_nodes)
        programs = training.Programs.compile(self.problem, graphdef, state)
        short = common.dataclasses_replace_examples(self.problem, steps)
        state, _ = training.train_epoch(short, programs, state, 1, lambda *place: None)
        _, row = training.train_epoch(short, programs, state, 2, lambda *place: None)
        return round(1e3 * row["seconds"] / steps, 3)


def main(argv: list[str]) -> None:
    del argv
    settings = common.config(
        loss=LOSS.value,
        batch_size=BATCH_SIZE.value,
        num_layers=NUM_LAYERS.value,
        propagation=PROPAGATION.value,
    )
    interactions = common.load(settings)
    problem = training.pose(settings, interactions)
    ours = Ours(problem)
    theirs = torch_reference.Trainer(settings, interactions, ours.table)
    batch = [torch.from_numpy(np.asarray(column).astype(np.int64)) for column in ours.triples[:3]]
    print(ours, theirs, batch, sampling)


if __name__ == "__main__":
    app.run(main)
