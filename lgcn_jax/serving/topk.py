"""The best items of given users, on the device: scores of all items, some masked, and an exact top k."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lgcn_jax.data import csr
from lgcn_jax.data.csr import CSR
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.evaluation.task import CHUNK_ELEMENTS


def best_items(
    scorer: Scorer, users: np.ndarray, masked: CSR | None, allowed: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Host: the items of highest score of each user, int32[n, k], and the scores, float32[n, k]; -inf where masked.

    Args:
      scorer: of all items.
      users: int[n], numbers of users.
      masked: a row for every user of the data set, the items that are left out; None: none.
      allowed: bool[num_items], the items that may be recommended at all.
      k: at most the number of items.
    """
    count = 1 << max(len(users) - 1, 0).bit_length()  # of a few sizes, each of which is compiled once
    size = int(np.clip(CHUNK_ELEMENTS // len(allowed), 1, count))
    chunks = [users[start : start + size] for start in range(0, len(users), size)]
    rows = [csr.take(masked, chunk) if masked is not None else csr.empty(len(chunk)) for chunk in chunks]
    width = 1 << max(max((row.nnz for row in rows), default=0) - 1, 0).bit_length()
    mask, ids, scores = jnp.asarray(allowed), [], []
    for chunk, row in zip(chunks, rows, strict=True):
        places = np.full(width, size, np.int32), np.zeros(width, np.int32)  # past the end: masks nothing
        places[0][: row.nnz], places[1][: row.nnz] = csr.row_of_entry(row), row.indices
        padded = np.pad(chunk, (0, size - len(chunk))).astype(np.int32)
        found = jax.device_get(_top_k(scorer, padded, mask, *places, k))
        scores.append(found[0][: len(chunk)])
        ids.append(found[1][: len(chunk)])
    empty = np.zeros((0, k))
    return np.concatenate([empty.astype(np.int32), *ids]), np.concatenate([empty.astype(np.float32), *scores])


@functools.partial(jax.jit, static_argnames="k")
def _top_k(scorer: Scorer, users, allowed, row, item, k: int) -> tuple[jax.Array, jax.Array]:
    scores = jnp.where(allowed[None, :], scorer.scores(users), -jnp.inf)
    return jax.lax.top_k(scores.at[row, item].set(-jnp.inf, mode="drop"), k)
