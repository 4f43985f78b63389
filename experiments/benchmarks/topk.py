"""Exact top k of the scores of one chunk of users, several ways: checked against `lax.top_k`, then timed in turns.

    python experiments/benchmarks/topk.py --dataset=gowalla

The shape is the evaluation's own: as many users as its chunks have, times all items. Every way here is exact, and a
tie goes to the lower item id: `lax.approx_max_k` is not, and so is no choice for metrics that are reported; its time is
printed for comparison alone. Scores with many ties are among what is checked.
"""

import functools

import common
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from lgcn_jax.evaluation import ranking
from lgcn_jax.evaluation.ranking import EvaluationTask
from lgcn_jax.evaluation.scorers import DotProduct

TOP_K = flags.DEFINE_list("top_k", ["20", "100"], "list lengths")
BLOCK = flags.DEFINE_integer("block", 256, "items of a block")


def library(scores: jax.Array, k: int) -> jax.Array:
    """int32[users, k], as evaluation has it."""
    return jax.lax.top_k(scores, k)[1]


def sort(scores: jax.Array, k: int) -> jax.Array:
    return jnp.argsort(-scores, axis=1, stable=True)[:, :k].astype(jnp.int32)


def blocks(scores: jax.Array, fill: float = -jnp.inf) -> jax.Array:
    """[users, blocks, BLOCK], the last block filled up."""
    users, items = scores.shape
    missing = -items % BLOCK.value
    return jnp.pad(scores, ((0, 0), (0, missing)), constant_values=fill).reshape(users, -1, BLOCK.value)


def two_stage(scores: jax.Array, k: int) -> jax.Array:
    """The top k of every block, then the top k of these: ties keep their order, since the blocks do."""
    parts = blocks(scores)
    values, places = jax.lax.top_k(parts, min(k, BLOCK.value))
    items = places + BLOCK.value * jnp.arange(parts.shape[1], dtype=jnp.int32)[:, None]
    users = scores.shape[0]
    winners = jax.lax.top_k(values.reshape(users, -1), k)[1]
    return jnp.take_along_axis(items.reshape(users, -1), winners, axis=1)


def best_blocks(scores: jax.Array, k: int) -> jax.Array:
    """Only the k blocks with the largest maxima can hold the top k, of equal maxima the lower blocks.

    The k-th largest maximum is a lower bound of the k-th value; the blocks are gathered in their order, so that ties
    stay with the lower id.
    """
    parts = blocks(scores)
    if k >= parts.shape[1]:
        return library(scores, k)
    chosen = jnp.sort(jax.lax.top_k(parts.max(axis=2), k)[1], axis=1)
    gathered = jnp.take_along_axis(parts, chosen[:, :, None], axis=1)
    users = scores.shape[0]
    winners = jax.lax.top_k(gathered.reshape(users, -1), k)[1]
    block = jnp.take_along_axis(chosen, winners // BLOCK.value, axis=1)
    return block * BLOCK.value + winners % BLOCK.value


def threshold(scores: jax.Array, k: int) -> jax.Array:
    """Items at or above the k-th largest block maximum, compressed to 8 k places; all items where they are more."""
    parts = blocks(scores)
    if k > parts.shape[1]:
        return library(scores, k)
    users, room = scores.shape[0], 8 * k
    bound = jax.lax.top_k(parts.max(axis=2), k)[0][:, -1:]
    kept = scores >= bound
    place = jnp.where(kept, jnp.cumsum(kept, axis=1, dtype=jnp.int32) - 1, room)

    def compressed(scores):
        row = jnp.arange(users, dtype=jnp.int32)[:, None]
        item = jnp.broadcast_to(jnp.arange(scores.shape[1], dtype=jnp.int32), scores.shape)
        items = jnp.zeros((users, room), jnp.int32).at[row, place].set(item, mode="drop")
        values = jnp.full((users, room), -jnp.inf).at[row, place].set(scores, mode="drop")
        return jnp.take_along_axis(items, library(values, k), axis=1)

    fits = kept.sum(axis=1).max() <= room
    return jax.lax.cond(fits, compressed, lambda scores: library(scores, k), scores)


def halves(scores: jax.Array, k: int) -> jax.Array:
    """Both halves of the users by themselves, so that two threads may work on them."""
    middle = scores.shape[0] // 2
    return jnp.concatenate([library(scores[:middle], k), library(scores[middle:], k)])


def approximate(scores: jax.Array, k: int) -> jax.Array:
    return jax.lax.approx_max_k(scores, k)[1]


EXACT = {
    "lax.top_k": library,
    "halves": halves,
    "two_stage": two_stage,
    "best_blocks": best_blocks,
    "threshold": threshold,
    "sort": sort,
}


def main(argv: list[str]) -> None:
    del argv
    interactions = common.load(common.config())
    task = EvaluationTask.of(interactions, "test")
    users, random = task.users.shape[1], np.random.default_rng(0)
    sizes = interactions.num_users, interactions.num_items
    tables = (random.standard_normal((size, common.EMBEDDING_DIM.value)) for size in sizes)
    scorer = DotProduct(*(jnp.asarray(table, jnp.float32) for table in tables))
    scores = jax.jit(DotProduct.scores)(scorer, task.users[0])
    chunk = jax.jit(ranking.recommend, static_argnums=3)  # scores, masks what was seen, takes the top k
    figures = {}
    for k in map(int, TOP_K.value):
        ways = {name: jax.jit(functools.partial(way, k=k)) for name, way in EXACT.items()}
        for found in (scores, jnp.round(scores), scores.at[:, 1:].set(-jnp.inf)):  # usual, with ties, nearly all seen
            check(ways, found)
        ways["approximate"] = jax.jit(functools.partial(approximate, k=k))
        calls = {name: functools.partial(call, way, scores) for name, way in ways.items()}
        calls["whole chunk"] = functools.partial(call, chunk, scorer, task, jnp.int32(0), k)
        figures[f"k={k}"] = times = common.in_turns(calls)
        print(f"{users} users x {interactions.num_items:,} items, k {k}")
        for name, ms in times.items():
            print(f"{name:<12} {ms:9.2f} ms, {100 * ms / times['whole chunk']:4.0f} % of an evaluation's chunk")
    common.report("topk", interactions, users=users, block=BLOCK.value, ms=figures)


def call(way, *operands) -> None:
    way(*operands).block_until_ready()


def check(ways: dict, scores: jax.Array) -> None:
    """Stops where one of the exact ways ranks otherwise than `lax.top_k`."""
    expected = np.asarray(ways["lax.top_k"](scores))
    for name, way in ways.items():
        if not np.array_equal(way(scores), expected):
            raise SystemExit(f"{name} differs from lax.top_k")


if __name__ == "__main__":
    app.run(main)
