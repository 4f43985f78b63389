"""Epochs that a run needs for a recall when it begins with the table of a run on earlier events, and when it does not.

    python experiments/warm_start.py --data_dir=data --epochs=60

On ml-100k: a fifth of each user's films is the test part, as everywhere. The earlier run has those pairs that were
rated within the first 80 % of all ratings in time, the later runs have all. Each is evaluated after every epoch on the
test part of all. Prints the epochs until each has shares of the best recall@20 of the run that begins cold, and the
recall of the epochs' first and best. Runs on one device.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
from absl import flags

import lgcn_jax as lg
from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.data.interactions import Interactions

METRIC, SHARES = "recall@20", (0.9, 0.95, 0.98, 1.0)

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", "data", "folder of named data sets, into which ml-100k is fetched", flag_values=FLAGS)
flags.DEFINE_float("earlier", 0.8, "share of the ratings that the earlier run has", flag_values=FLAGS)
flags.DEFINE_integer("epochs", 60, "epochs of each run", flag_values=FLAGS)
flags.DEFINE_integer("seed", 2020, "seed of the trainings", flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 0.005, "of Adam", flag_values=FLAGS)
flags.DEFINE_string("loss", "enhanced", "the loss", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    FLAGS(arguments)
    data = lg.load("ml-100k", data_dir=FLAGS.data_dir)
    early = before(data, FLAGS.earlier, Path(FLAGS.data_dir) / "ml-100k" / "ml-100k.inter")
    counts = f"{early.num_users} of {data.num_users} users, {early.num_items} of {data.num_items} items"
    print(f"{data.headline()}; earlier {early.train.nnz:,} of them, {counts}", flush=True)
    source = fitted(early)
    curves = {"cold": curve(fitted(data)), "warm": curve(fitted(data, source))}
    print_table(curves)


def before(data: Interactions, share: float, file: Path) -> Interactions:
    """The pairs that are among the first of all ratings in time, with their users and items alone."""
    user, item, _, time = np.loadtxt(file, skiprows=1).T.astype(np.int64)
    last = np.sort(time)[int(share * len(time)) - 1]
    known = {pair: when <= last for *pair, when in zip(user, item, time, strict=True) for pair in [tuple(pair)]}
    parts = {name: _early(data, getattr(data, name), known) for name in ("train", "test")}
    rows, columns = (np.concatenate(each) for each in zip(*parts.values(), strict=True))
    users, items = np.unique(rows), np.unique(columns)
    shape, cut = (len(users), len(items)), {}
    for name, (row, column) in parts.items():
        cut[name] = csr.from_pairs(np.searchsorted(users, row), np.searchsorted(items, column), shape)
    ids = {"user_ids": data.user_ids[users], "item_ids": data.item_ids[items]}
    return dataclasses.replace(data, valid=csr.empty(len(users)), source=None, **cut, **ids)


def _early(data: Interactions, part: CSR, known: dict[tuple[int, int], bool]) -> tuple[np.ndarray, np.ndarray]:
    """Users and items, by number, of the part's early pairs."""
    rows, columns = csr.row_of_entry(part), part.indices
    pairs = zip(data.user_ids[rows].tolist(), data.item_ids[columns].tolist(), strict=True)
    kept = np.array([known[pair] for pair in pairs])
    return rows[kept], columns[kept]


def fitted(data: Interactions, warm_start: lg.LightGCN | None = None) -> lg.LightGCN:
    settings = {"epochs": FLAGS.epochs, "eval_every": 1, "sampler": "edge", "top_k": (20,), "seed": FLAGS.seed}
    settings |= {"learning_rate": FLAGS.learning_rate, "loss": FLAGS.loss}
    return lg.LightGCN(**settings).fit(data, warm_start=warm_start, quiet=True)


def curve(model: lg.LightGCN) -> np.ndarray:
    """The metric after each epoch."""
    return np.array([row[METRIC] for row in model.history if row["split"] == "test"])


def print_table(curves: dict[str, np.ndarray]) -> None:
    best = curves["cold"].max()
    wanted = {f"{share:.0%} of {best:.4f}": share * best for share in SHARES}
    print(f"{'':<6}{'epoch 1':>10}{'best':>10}{'at':>5}  epochs to " + ", ".join(wanted))
    for name, found in curves.items():
        epochs = [reached(found, goal) for goal in wanted.values()]
        row = f"{name:<6}{found[0]:10.4f}{found.max():10.4f}{1 + found.argmax():5d}"
        print(f"{row}  " + ", ".join(epochs), flush=True)


def reached(found: np.ndarray, goal: float) -> str:
    """The first epoch with at least this value, '-' where there is none."""
    epochs = 1 + np.flatnonzero(found >= goal)
    return str(epochs[0]) if len(epochs) else "-"


if __name__ == "__main__":
    main(sys.argv)
