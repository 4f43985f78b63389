"""SimGCL as published beside ours: the loop of its authors' code in PyTorch, from our first table and on our triples.

    python experiments/simgcl_published.py --dataset=lastfm --epochs=20

Theirs is transcribed from github.com/Coder-Yu/SELFRec (model/graph/SimGCL.py, util/loss_torch.py): layers 1..K without
layer 0, noise in each of them, BPR, InfoNCE among the batch's distinct users and among its distinct positive items, and
--l2 times the length of all final embeddings of the batch over its size, where ours is on layer 0. Noise is drawn by
PyTorch, so curves differ by it. Prints recall@20 on the test part after every epoch, and means of the loss' terms.
"""

import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from absl import flags
from torch.nn import functional

from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import ranking
from lgcn_jax.evaluation.scorers import DotProduct
from lgcn_jax.evaluation.task import EvaluationTask
from lgcn_jax.graph.normalization import normalized_adjacency
from lgcn_jax.training import loop
from lgcn_jax.training.listener import Listener
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.step import named_key

K = 20

FLAGS = flags.FlagValues()
flags.DEFINE_string("dataset", "lastfm", "the name of a data set, or files", flag_values=FLAGS)
flags.DEFINE_string("data_dir", "data", "folder of named data sets", flag_values=FLAGS)
flags.DEFINE_integer("num_layers", 3, "layers", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 2048, "examples of a step", lower_bound=2, flag_values=FLAGS)
flags.DEFINE_integer("epochs", 20, "epochs", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 2020, "of the first table and the triples", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_float("contrast_weight", 0.5, "weight of InfoNCE", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_float("noise", 0.1, "length of the noise", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 0.001, "of Adam", lower_bound=1e-9, flag_values=FLAGS)
flags.DEFINE_float("l2", 1e-4, "weight of the penalty", lower_bound=0, flag_values=FLAGS)
TEMPERATURE = 0.2  # theirs is no setting


def main(arguments: list[str]) -> None:
    try:
        if more := FLAGS(arguments)[1:]:
            raise InputError("simgcl_published", f"the argument {more[0]!r}", "flags alone")
        config = settings()
        data = datasets.load(config.data)
    except (InputError, flags.Error) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    setup = build_setup(config, data)
    log = Log()
    loop.fit(setup, log)
    ours = [row for row in log.rows if row["split"] == "test"]
    print(f"{data.headline()}; recall@{K}\nepoch    ours  theirs   their terms: ranking, contrast", flush=True)
    for row, (recall, *terms) in zip(ours, theirs(setup, data), strict=True):
        print(f"{row['epoch']:5d}  {row[f'recall@{K}']:.4f}  {recall:.4f}   {terms[0]:.4f} {terms[1]:.4f}", flush=True)


class Log(Listener):
    """Keeps what a run logs."""

    def __init__(self):
        self.rows: list[dict[str, Any]] = []

    def log(self, row: dict[str, Any]) -> None:
        self.rows.append(row)


def settings() -> Config:
    """Those of both."""
    layers = FLAGS.num_layers
    names = ("dataset", "data_dir", "num_layers", "batch_size", "epochs", "seed", "contrast_weight", "noise", "l2")
    return Config.of(
        **{name: FLAGS[name].value for name in (*names, "learning_rate")},
        **{"loss": "simgcl", "temperature": TEMPERATURE, "layer_weights": (0.0,) + (1 / layers,) * layers},
        **{"sampler": "edge", "init": "xavier", "clip_norm": 0.0, "eval_every": 1, "top_k": (K,)},
    )


def triples(setup: Setup) -> Iterator[list[list[torch.Tensor]]]:
    """For each epoch the batches of users, positive and negative items, without padding."""
    draw = jax.jit(lambda key, number: setup.sampler.draw(key, number, FLAGS.batch_size))
    for epoch in range(1, FLAGS.epochs + 1):
        key, batches = jax.random.fold_in(named_key(FLAGS.seed, "data"), epoch), []
        for number in range(setup.steps_per_epoch):
            batch = draw(key, jnp.int32(number))
            there = np.asarray(batch.weight) > 0
            columns = batch.user, batch.positive, batch.negative[:, 0]
            batches.append([torch.from_numpy(np.asarray(column)[there].astype(np.int64)) for column in columns])
        yield batches


class Encoder:
    """Their SimGCL_Encoder: the mean of layers 1..K, with noise where it is asked for."""

    def __init__(self, setup: Setup, data: Interactions):
        table = torch.from_numpy(np.array(setup.table(setup.init_state().params)))
        self.users, self.items = (torch.nn.Parameter(part.clone()) for part in torch.split(table, _sizes(data)))
        matrix = normalized_adjacency(data.train, data.num_items).tocoo()
        places, values = torch.from_numpy(np.stack([matrix.row, matrix.col])), torch.from_numpy(matrix.data)
        self.matrix = torch.sparse_coo_tensor(places, values, matrix.shape, check_invariants=True).coalesce()
        self.sizes = _sizes(data)

    def __call__(self, perturbed: bool = False) -> tuple[torch.Tensor, ...]:
        layer, layers = torch.cat([self.users, self.items]), []
        for _ in range(FLAGS.num_layers):
            layer = self.matrix @ layer
            if perturbed:
                layer = layer + torch.sign(layer) * functional.normalize(torch.rand_like(layer), dim=-1) * FLAGS.noise
            layers.append(layer)
        return torch.split(torch.stack(layers, 1).mean(1), self.sizes)


def _sizes(data: Interactions) -> list[int]:
    return [data.num_users, data.num_items]


def info_nce(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    first, second = functional.normalize(first, dim=1), functional.normalize(second, dim=1)
    return -torch.diag(functional.log_softmax(first @ second.T / TEMPERATURE, dim=1)).mean()


def theirs(setup: Setup, data: Interactions) -> Iterator[tuple[float, float, float]]:
    """After each epoch recall@20, and the means of BPR and of InfoNCE without its weight."""
    torch.manual_seed(FLAGS.seed)
    encoder, task = Encoder(setup, data), EvaluationTask.of(data, "test")
    optimizer = torch.optim.Adam([encoder.users, encoder.items], lr=FLAGS.learning_rate)
    for batches in triples(setup):
        found = [step(encoder, optimizer, *batch) for batch in batches]
        with torch.no_grad():
            users, items = (part.numpy() for part in encoder())
        recall = ranking.evaluate(DotProduct(users, items), task, (K,))[f"recall@{K}"]
        yield recall, *np.mean(found, axis=0).tolist()


def step(encoder: Encoder, optimizer: torch.optim.Adam, user, positive, negative) -> tuple[float, float]:
    """One step; BPR and InfoNCE before it."""
    users, items = encoder()
    rows = users[user], items[positive], items[negative]
    excess = (rows[0] * rows[1]).sum(1) - (rows[0] * rows[2]).sum(1)
    ranked = -torch.log(1e-5 + torch.sigmoid(excess)).mean()
    first, second = encoder(True), encoder(True)
    contrast = sum(
        info_nce(one[nodes], other[nodes])
        for one, other, nodes in zip(first, second, map(torch.unique, (user, positive)), strict=True)
    )
    penalty = FLAGS.l2 * sum(torch.norm(row, p=2) / len(row) for row in rows[:2])
    optimizer.zero_grad()
    (ranked + penalty + FLAGS.contrast_weight * contrast).backward()
    optimizer.step()
    return ranked.item(), float(contrast.detach())


if __name__ == "__main__":
    main(sys.argv)
