"""Whole users held out: recall@20 of those folded in, beside the same users trained in, item neighbors and popularity.

    python experiments/fold_in.py --dataset=ml-100k --epochs=60
    python experiments/fold_in.py --dataset=gowalla --epochs=25 --batch_size=8192 --learning_rate=0.01

A tenth of the users, drawn by the seed, is left out of one training and is part of another of the same settings. Their
train items are the histories that are folded in, their test items are to be found among all items but the history. Item
neighbors are all items, by the cosine of their train columns without these users. Runs on one device.
"""

import sys
import time
from collections.abc import Iterator

import left_out
import numpy as np
import scipy.sparse
from absl import flags

import lgcn_jax as lg
from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.data.interactions import Interactions

K = 20
CHUNK = 256  # users whose scores of all items are in memory at a time

FLAGS = flags.FlagValues()
flags.DEFINE_string("dataset", "ml-100k", "the name of a data set", flag_values=FLAGS)
flags.DEFINE_string("data_dir", "data", "folder of named data sets", flag_values=FLAGS)
flags.DEFINE_float("held_out", 0.1, "share of the users", flag_values=FLAGS)
flags.DEFINE_integer("seed", 2020, "seed of the draw and of the trainings", flag_values=FLAGS)
flags.DEFINE_integer("epochs", 60, "epochs of both trainings", flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 2048, "examples of a step", flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 0.005, "of Adam", flag_values=FLAGS)
flags.DEFINE_string("loss", "enhanced", "the loss", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    FLAGS(arguments)
    data = lg.load(FLAGS.dataset, data_dir=FLAGS.data_dir)
    held = left_out.drawn(data, FLAGS.held_out, FLAGS.seed)
    rest = left_out.without(data, held)
    print(f"{data.headline()}; {len(held)} users held out", flush=True)
    print(f"{'':<34}recall@{K}  seconds", flush=True)
    for name, seconds, lists in candidates(data, rest, held):
        print(f"{name:<34}{recall(lists, data, held):9.4f}  {seconds:7.1f}", flush=True)


def candidates(data: Interactions, rest: Interactions, held: np.ndarray) -> Iterator[tuple[str, float, np.ndarray]]:
    """Each with its name, the seconds that it took after any training, and int[held, K], the items it lists."""
    histories = csr.take_rows(data.train, held)
    begun = time.perf_counter()
    fitted = model(rest)
    print(f"  trained without them in {time.perf_counter() - begun:.0f} s", flush=True)
    begun = time.perf_counter()
    lists = left_out.folded(fitted, data, held, K)
    seconds = time.perf_counter() - begun
    yield "folded in", seconds, np.searchsorted(data.item_ids, lists.recommendations.ids)
    begun = time.perf_counter()
    fitted = model(data)
    print(f"  trained with them in {time.perf_counter() - begun:.0f} s", flush=True)
    begun = time.perf_counter()
    lists = fitted.recommend(data.user_ids[held], k=K)
    yield "trained in", time.perf_counter() - begun, np.searchsorted(data.item_ids, lists.ids)
    for name, scores in (("item neighbors (cosine)", neighbors), ("popularity", popularity)):
        begun = time.perf_counter()
        found = best(scores(rest, histories), histories)
        yield name, time.perf_counter() - begun, found


def model(data: Interactions) -> lg.LightGCN:
    """A model of the last epoch's table: no evaluation chooses."""
    settings = {"epochs": FLAGS.epochs, "eval_every": FLAGS.epochs, "seed": FLAGS.seed, "sampler": "edge"}
    settings |= {
        "top_k": (K,),
        "batch_size": FLAGS.batch_size,
        "learning_rate": FLAGS.learning_rate,
        "loss": FLAGS.loss,
    }
    return lg.LightGCN(**settings).fit(data, quiet=True)


def neighbors(rest: Interactions, histories: CSR) -> Iterator[np.ndarray]:
    """Scores h C with C the cosines of the items' columns in R, as ((h D^-1/2) R^T) (R D^-1/2), for chunks of rows."""
    r, h = (_matrix(part, rest.num_items) for part in (rest.train, histories))
    degree = np.asarray(r.sum(0)).ravel()
    scaled = r @ scipy.sparse.diags(np.divide(1, np.sqrt(degree), where=degree > 0, out=np.zeros(len(degree))))
    scaled = scaled.tocsr()
    for start in range(0, h.shape[0], CHUNK):
        yield ((h[start : start + CHUNK] @ scaled.T) @ scaled).toarray()


def popularity(rest: Interactions, histories: CSR) -> Iterator[np.ndarray]:
    """The items' train degrees, for chunks of rows."""
    counts = csr.column_counts(rest.train, rest.num_items).astype(np.float64)
    for start in range(0, histories.num_rows, CHUNK):
        yield np.tile(counts, (min(CHUNK, histories.num_rows - start), 1))


def _matrix(part: CSR, num_items: int) -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix((np.ones(part.nnz), part.indices, part.indptr), (part.num_rows, num_items))


def best(chunks: Iterator[np.ndarray], histories: CSR) -> np.ndarray:
    """int[n, K]: the items of highest score that are not in the history."""
    found, start = [], 0
    for scores in chunks:
        rows = csr.take_rows(histories, np.arange(start, start + len(scores)))
        scores[csr.row_of_entry(rows), rows.indices] = -np.inf
        found.append(np.argsort(-scores, axis=1, kind="stable")[:, :K])
        start += len(scores)
    return np.concatenate(found)


def recall(lists: np.ndarray, data: Interactions, held: np.ndarray) -> float:
    """The mean over the users of the share of their test items that their list holds."""
    parts = np.split(data.test.indices, data.test.indptr[1:-1])
    return float(np.mean([np.isin(parts[user], mine).mean() for user, mine in zip(held, lists, strict=True)]))


if __name__ == "__main__":
    main(sys.argv)
