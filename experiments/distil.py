"""How much of a model's ranking vectors of a given width can keep: a teacher's scores as dot products.

    python -m lgcn_jax train --model=mixture --first=runs/gowalla-ssm --second=gf-cf --weight=0.8 --dataset=gowalla \\
        --workdir=runs/gowalla-mixture
    python experiments/distil.py --teacher=runs/gowalla-mixture --start=runs/gowalla-ssm --dataset=gowalla --out=runs/64

The teacher's scores z are those of `mixture.standardize`: each user's have mean 0 and deviation 1. Students, each with
vectors of --width numbers:

  svd       the first singular vectors of z, by block power iterations of z^T z (Halko, Martinsson and Tropp 2011): one
            pass of the teacher's scores for each, and none of them is kept. It minimizes squares over all pairs alike.
  lists     iALS (`lgcn_jax.baselines.ials`) with the teacher's --listed best unseen items of each user as the pairs.
  softmax   the vectors of --start, or those of svd, trained on: minus sum_i p_i log q_i over these items, p =
            softmax(z / T) among them, q = softmax(u . v / T) among all unseen items; Adam on batches of users.

Prints recall@20 and ndcg@20 on the test part, and the share of the teacher's first 20 that each student has. --out
writes the softmax's vectors as `lgcn-jax export` does. Runs on one device.
"""

import dataclasses
import functools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

import lgcn_jax as lg
from lgcn_jax.baselines import BASELINES
from lgcn_jax.data import csr, datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.devices.mesh import ONE_DEVICE, Mesh
from lgcn_jax.devices.pytree import pytree
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import mixture, ranking
from lgcn_jax.evaluation.scorers import DotProduct, Scorer
from lgcn_jax.evaluation.task import EvaluationTask
from lgcn_jax.runs import raw_ids
from lgcn_jax.serving import export, solved, storage, topk
from lgcn_jax.serving.recommender import Recommender
from lgcn_jax.serving.vectors import VectorModel

K = 20
CHUNK = 1 << 24  # scores of the teacher that are in memory at a time
EXTRA = 16  # more vectors than the width, for the power iterations

FLAGS = flags.FlagValues()
flags.DEFINE_string("teacher", "", "folder of a run or of a saved model, or the name of a baseline", flag_values=FLAGS)
flags.DEFINE_string("start", "", "folder of the run whose vectors the softmax begins with", flag_values=FLAGS)
flags.DEFINE_string("dataset", "lastfm", "the name of a data set, or files", flag_values=FLAGS)
flags.DEFINE_string("data_dir", "data", "folder of named data sets", flag_values=FLAGS)
flags.DEFINE_float("validation_fraction", 0.0, "as the teacher was trained with", flag_values=FLAGS)
flags.DEFINE_integer("width", 64, "numbers of a vector", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("passes", 4, "power iterations of svd", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("listed", 100, "the teacher's best items of each user", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("epochs", 20, "of softmax", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 512, "users of a step of softmax", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 0.003, "of softmax", lower_bound=1e-6, flag_values=FLAGS)
flags.DEFINE_float("temperature", 0.5, "T of softmax", lower_bound=1e-6, flag_values=FLAGS)
flags.DEFINE_string("out", "", "folder for the vectors of softmax", flag_values=FLAGS)

Vectors = tuple[np.ndarray, np.ndarray]  # float32, of users and of items


@pytree
class Standardized:
    """The scores z of a model."""

    inner: Scorer

    def scores(self, users: jax.Array) -> jax.Array:
        return mixture.standardize(self.inner.scores(users))


def main(arguments: list[str]) -> None:
    try:
        if more := FLAGS(arguments)[1:]:
            raise InputError("distil", f"the argument {more[0]!r}", "flags alone")
        distil()
    except (InputError, flags.Error) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def distil() -> None:
    """Prints the table, and writes what --out asks for."""
    if FLAGS.out:
        export.require_free(Path(FLAGS.out), "--out=")
    stated = {name: FLAGS[name].value for name in ("dataset", "data_dir", "validation_fraction")}
    data = datasets.load(DataSettings(**stated))
    require_fitting(data)
    teacher = Standardized(model("teacher", data).scorer)
    start = start_vectors(data) if FLAGS.start else None
    print(f"{data.headline()}; teacher {FLAGS.teacher}, students of {FLAGS.width} numbers", flush=True)
    print(f"{'':<12}recall@{K}  ndcg@{K}  shared  seconds", flush=True)
    wanted = lists(teacher, data, K, data.seen("test"))[0]
    show("teacher", teacher, data, wanted, 0.0)
    for name, student, seconds in students(teacher, data, start):
        show(name, DotProduct(*student), data, wanted, seconds)
    if FLAGS.out:
        export.write(
            export.ExportedVectors(*raw_ids.collect_raw_ids(data), *student, data.seen("test")), Path(FLAGS.out), "npz"
        )


def require_fitting(data: Interactions) -> None:
    """Raises an InputError where there is nothing to measure, or nothing that a student could be."""
    if not data.test.nnz:
        raise InputError("--dataset", f"{data.name}, which has no test part", "one with a test part")
    if FLAGS.width > data.num_items:
        raise InputError("--width", FLAGS.width, f"at most {data.num_items}, the items of {data.name}")
    if csr.degrees(data.seen("test")).max() == data.num_items:
        raise InputError("--dataset", f"a user of {data.name} who has all items", "users with an unseen item")


def model(flag: str, data: Interactions) -> Recommender:
    """The fitted model that a flag names."""
    name = FLAGS[flag].value
    if name in BASELINES:
        return solved.make_solved_model(name).fit(data)
    if not name or not Path(name).is_dir():
        expected = f"the folder of a run or of a saved model, or one of {', '.join(BASELINES)}"
        raise InputError(f"--{flag}", repr(name), expected)
    made = lg.load_model(name, None if storage.is_model(Path(name)) else data)
    made.require_same(data)
    return made


def start_vectors(data: Interactions) -> Vectors:
    """The vectors of the run that --start names.

    Raises:
      InputError: there is none, it has no vectors, or they are not --width wide.
    """
    made = model("start", data)
    width = made.vector_width if isinstance(made, VectorModel) else None
    if not isinstance(made, VectorModel) or width != FLAGS.width:
        found = "a model without vectors" if width is None else f"a model with vectors of {width} numbers"
        raise InputError("--start", found, f"one with vectors of the {FLAGS.width} numbers of --width")
    return made.user_embeddings, made.item_embeddings


def students(teacher: Scorer, data: Interactions, start: Vectors | None) -> Iterator[tuple[str, Vectors, float]]:
    """Each with its name, its vectors, and the seconds that it took."""
    begun = time.perf_counter()
    by_svd = singular(teacher, data)
    yield "svd", by_svd, time.perf_counter() - begun
    begun = time.perf_counter()
    seen = data.seen("test")
    unseen = data.num_items - int(csr.degrees(seen).max())  # of the user who has most
    best = lists(teacher, data, min(FLAGS.listed, unseen), seen)
    yield "lists", factors(best[0], data), time.perf_counter() - begun
    begun = time.perf_counter()
    yield "softmax", trained(start or by_svd, *best, padded(seen, data.num_items)), time.perf_counter() - begun


def show(name: str, scorer: Scorer, data: Interactions, wanted: np.ndarray, seconds: float) -> None:
    means = ranking.evaluate(scorer, EvaluationTask.of(data, "test"), (K,))
    found = lists(scorer, data, K, data.seen("test"))[0]
    shared = np.mean([np.isin(*pair).mean() for pair in zip(wanted, found, strict=True)])
    print(f"{name:<12}{means[f'recall@{K}']:9.4f}{means[f'ndcg@{K}']:9.4f}{shared:8.3f}{seconds:9.1f}", flush=True)


def lists(scorer: Scorer, data: Interactions, k: int, masked: csr.CSR | None) -> tuple[np.ndarray, np.ndarray]:
    """The best items of all users, int32[num_users, k], and their scores."""
    ranker = topk.Ranker(jax.device_get(scorer), data.num_items, Mesh.of(ONE_DEVICE))
    return ranker.top_items(np.arange(data.num_users), masked, np.ones(data.num_items, bool), k)


def chunks(data: Interactions) -> list[np.ndarray]:
    """int32[n, size], all users in equal chunks, the last one padded with -1."""
    size = max(1, min(CHUNK // data.num_items, data.num_users))
    padded = np.pad(np.arange(data.num_users, dtype=np.int32), (0, -data.num_users % size), constant_values=-1)
    return list(padded.reshape(-1, size))


@jax.jit
def scores(scorer: Scorer, users: jax.Array) -> jax.Array:
    """z of the users, zeros for padding."""
    return jnp.where(users[:, None] >= 0, scorer.scores(jnp.maximum(users, 0)), 0)


@jax.jit
def product(z: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z x, and z^T z x."""
    zx = jnp.matmul(z, x, precision="highest")
    return zx, jnp.matmul(z.T, zx, precision="highest")


def singular(teacher: Scorer, data: Interactions) -> Vectors:
    """The truncated singular value decomposition of z: z V and V."""
    columns = min(FLAGS.width + EXTRA, data.num_items)
    x = np.linalg.qr(np.random.default_rng(2020).standard_normal((data.num_items, columns)))[0].astype(np.float32)
    for _ in range(FLAGS.passes):
        total = sum(np.asarray(product(scores(teacher, users), x)[1], np.float64) for users in chunks(data))
        small = x.T @ total  # z^T z within the span of x (Rayleigh and Ritz)
        best = np.linalg.eigh((small + small.T) / 2)[1][:, ::-1]
        found, x = (x @ best)[:, : FLAGS.width], np.linalg.qr(total)[0].astype(np.float32)
    found = np.ascontiguousarray(found, np.float32)
    users = np.concatenate([product(scores(teacher, some), found)[0] for some in chunks(data)])
    return users[: data.num_users], found


def factors(best: np.ndarray, data: Interactions) -> Vectors:
    """iALS of the lists."""
    rows = np.repeat(np.arange(data.num_users), best.shape[1])
    pairs = csr.from_pairs(rows, best.ravel(), (data.num_users, data.num_items))
    made = lg.IALS(width=FLAGS.width).fit(dataclasses.replace(data, train=pairs, valid=csr.empty(data.num_users)))
    return made.user_embeddings, made.item_embeddings


def padded(rows: csr.CSR, value: int) -> np.ndarray:
    """int32[num_users, longest], the rows of a CSR, filled up with a value."""
    lengths = csr.degrees(rows)
    found = np.full((len(lengths), lengths.max()), value, np.int32)
    found[np.arange(found.shape[1]) < lengths[:, None]] = rows.indices
    return found


def trained(start: Vectors, best: np.ndarray, of_best: np.ndarray, seen: np.ndarray) -> Vectors:
    """The vectors, trained on what the teacher says of its best items."""
    begun = mixture.standardize_vectors(DotProduct(*start))
    params = {name: jnp.asarray(side, jnp.float32) for name, side in zip(("users", "items"), begun, strict=True)}
    size = min(FLAGS.batch_size, len(best))
    steps = len(best) // size
    optimizer = optax.adam(optax.cosine_decay_schedule(FLAGS.learning_rate, FLAGS.epochs * steps))
    state, step = optimizer.init(params), functools.partial(update, optimizer)
    for epoch in range(FLAGS.epochs):
        order = np.random.default_rng(epoch).permutation(len(best))[: steps * size].reshape(steps, size)
        for users in order:
            params, state = step(params, state, users, best[users], of_best[users], seen[users], FLAGS.temperature)
    return np.asarray(params["users"]), np.asarray(params["items"])


@functools.partial(jax.jit, static_argnums=0)
def update(optimizer, params, state, users, best, target, seen, temperature):
    """A step of Adam on a batch of users."""

    def loss(params):
        logits = params["users"][users] @ params["items"].T / temperature
        logits = logits.at[jnp.arange(len(users))[:, None], seen].set(-jnp.inf, mode="drop")
        log_q = jnp.take_along_axis(jax.nn.log_softmax(logits), best, axis=1)
        return -(jax.nn.softmax(target / temperature) * log_q).sum(1).mean()

    updates, state = optimizer.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state


if __name__ == "__main__":
    main(sys.argv)
