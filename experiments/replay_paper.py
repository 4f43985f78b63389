"""The paper's two printed results, met by feeding our train step the published PyTorch code's own random numbers.

    python experiments/replay_paper.py --data_dir=data --out=runs/replay

The paper prints recall@20 .27183571 (BPR) and .27299978 (enhanced loss): LightGCN-PyTorch on LastFM with seed 2020,
at epoch 480. This program starts from PyTorch's initial tables under that seed and replays, on NumPy's legacy stream,
the published Python sampler; the draws do not depend on the loss, so both runs share them. It prints our recall@20
beside the published code's (experiments/reference/*.csv), writes curves.csv and curves.png into --out, and exits
with status 1 if they differ by more than .0003 at any evaluation.

Needs the test extra (PyTorch). Two CPU cores: about three minutes.
"""

import csv
import dataclasses
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import published
import torch
from absl import app, flags

from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.evaluation import ranking
from lgcn_jax.runs import curves
from lgcn_jax.sampling import Batch
from lgcn_jax.training.programs import make_evaluate
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.step import make_train_step

DATA_DIR = flags.DEFINE_string("data_dir", "data", "folder that holds lastfm/, or into which it is fetched")
OUT = flags.DEFINE_string("out", "runs/replay", "folder for curves.csv and curves.png")
EPOCHS = flags.DEFINE_integer("epochs", 480, "epochs to replay (the published curves end at 1000 and 800)")

SEED, NUM_USERS, NUM_ITEMS = 2020, 1892, 4489  # the published code counts ids, also those without an interaction
LOSSES = ("bpr", "enhanced")
PRINTED = {"bpr": 0.27183571, "enhanced": 0.27299978}  # the paper's text, both at epoch 480
TOLERANCE = 0.0003


def published_tables(interactions: Interactions) -> np.ndarray:
    """float32[num_nodes, 64]: PyTorch's tables under the seed, each drawn twice, rows of ids that occur."""
    torch.manual_seed(SEED)
    tables = [torch.nn.Embedding(NUM_USERS, 64), torch.nn.Embedding(NUM_ITEMS, 64)]
    for table in tables:
        torch.nn.init.normal_(table.weight, std=0.1)
    user, item = (table.weight.detach().numpy() for table in tables)
    return np.concatenate([user[interactions.user_ids - 1], item[interactions.item_ids - 1]])


def published_epoch(interactions: Interactions, items_of: dict[int, list[int]]) -> np.ndarray:
    """int32[triples, 3] of one epoch in the order of the published sampler, on NumPy's global legacy stream."""
    draw = np.random.randint
    triples = []
    for user in draw(0, NUM_USERS, interactions.train.nnz):
        own = items_of.get(user)
        if own is None:
            continue
        positive = own[draw(0, len(own))]
        while (negative := draw(0, NUM_ITEMS)) in own:
            pass
        triples.append((user, positive, negative))
    order = np.arange(len(triples))
    np.random.shuffle(order)  # noqa: NPY002
    raw = np.array(triples)[order]
    dense_user = np.searchsorted(interactions.user_ids, raw[:, 0] + 1)
    dense_items = np.searchsorted(interactions.item_ids, raw[:, 1:] + 1)
    return np.concatenate([dense_user[:, None], dense_items], axis=1).astype(np.int32)


def items_by_raw_user(interactions: Interactions) -> dict[int, list[int]]:
    """Published ids (from 0) of the train items of every user that has one, ascending."""
    train = interactions.train
    rows = {}
    for user, raw in enumerate(interactions.user_ids):
        row = train.indices[train.indptr[user] : train.indptr[user + 1]]
        if len(row):
            rows[raw - 1] = (interactions.item_ids[row] - 1).tolist()
    return rows


class Replay:
    """One loss, trained on triples that come from outside."""

    def __init__(self, loss: str, interactions: Interactions):
        config = Config.of(dataset="lastfm", loss=loss, clip_norm=0.0)
        self.setup = build_setup(config, interactions)
        self.state = self.setup.init_state()
        self.state.params["table"][...] = jnp.asarray(published_tables(interactions)[self.setup.order.node_of_row])
        step = make_train_step(config, self.setup.graphdef(), interactions.num_users)
        self.step = jax.jit(step, donate_argnums=0)
        self._evaluate = jax.jit(make_evaluate(self.setup, self.setup.graphdef()))

    def train(self, triples: np.ndarray) -> None:
        size = self.setup.config.training.batch_size
        for batch in (triples[i : i + size] for i in range(0, len(triples), size)):
            user, positive, negative = jnp.asarray(batch.T)
            drawn = Batch(user, positive, negative[:, None], jnp.ones(len(batch), jnp.float32))
            self.state, _ = self.step(self.state, self.setup.adjacency, drawn)

    def recall(self) -> float:
        sums = self._evaluate(self.state.params, self.setup.adjacency, self.setup.task)
        return ranking.mean_metrics(sums, self.setup.task, (20,))["recall@20"]


@dataclasses.dataclass
class Comparison:
    """recall@20 of both losses, ours and published, at every evaluation so far."""

    published: dict[str, dict[int, float]]
    ours: dict[str, dict[int, float]]

    def print(self, epoch: int) -> None:
        cells = []
        for loss in LOSSES:
            ours, theirs = self.ours[loss][epoch], self.published[loss].get(epoch)
            cells.append(f"{ours:.8f} {theirs:.8f} {ours - theirs:+.6f}" if theirs else f"{ours:.8f}" + " " * 20)
        print(f"{epoch:5d}  " + "   ".join(cells), flush=True)

    def differences(self, loss: str) -> list[float]:
        common = self.ours[loss].keys() & self.published[loss].keys()
        return [abs(self.ours[loss][epoch] - self.published[loss][epoch]) for epoch in sorted(common)]

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "curves.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["loss", "epoch", "ours", "published"])
            for loss in LOSSES:
                writer.writerows([loss, e, r, self.published[loss].get(e, "")] for e, r in self.ours[loss].items())
        panels = {}
        for loss in LOSSES:
            series = {"published PyTorch code": self.published[loss], "lgcn_jax, same triples": self.ours[loss]}
            panels[f"{loss}: recall@20 on LastFM, seed 2020"] = series
        curves.write_comparison(panels, folder / "curves.png")


def main(argv: list[str]) -> None:
    del argv
    interactions = datasets.load(DataSettings(dataset="lastfm", data_dir=DATA_DIR.value))
    items_of = items_by_raw_user(interactions)
    replays = {loss: Replay(loss, interactions) for loss in LOSSES}
    comparison = Comparison({loss: published.lastfm_curve(loss) for loss in LOSSES}, {loss: {} for loss in LOSSES})
    np.random.seed(SEED)  # noqa: NPY002
    started = time.perf_counter()
    print("epoch  " + "   ".join(f"{loss + ': ours':<10} {'published':<10} {'diff':<9}" for loss in LOSSES))
    for epoch in range(EPOCHS.value + 1):
        if epoch % 10 == 0:  # the published code evaluates before it trains
            for loss, replay in replays.items():
                comparison.ours[loss][epoch] = replay.recall()
            comparison.print(epoch)
        if epoch < EPOCHS.value:
            triples = published_epoch(interactions, items_of)
            for replay in replays.values():
                replay.train(triples)
    comparison.write(Path(OUT.value))
    report(comparison, time.perf_counter() - started)


def report(comparison: Comparison, seconds: float) -> None:
    """Prints the verdict and exits with status 1 where a curve is left."""
    differences = {loss: comparison.differences(loss) for loss in LOSSES}
    for loss, found in differences.items():
        at_480 = comparison.ours[loss].get(480)
        beside = f", at epoch 480 {at_480:.8f} (paper: {PRINTED[loss]:.8f})" if at_480 else ""
        equal = f"{sum(difference < 1e-6 for difference in found)} of {len(found)} evaluations equal to 1e-6"
        print(f"{loss}: {equal}, largest difference {max(found):.6f}{beside}")
    print(f"{seconds:.0f} s; wrote {OUT.value}/curves.csv and {OUT.value}/curves.png")
    if max(map(max, differences.values())) > TOLERANCE:
        sys.exit(f"a curve differs by more than {TOLERANCE}")


if __name__ == "__main__":
    app.run(main)
