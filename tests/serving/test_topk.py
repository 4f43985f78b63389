"""The top k on the devices against sorted scores: ties, masks, chunks, blocks and meshes."""

import jax
import numpy as np
import pytest

from lgcn_jax.baselines.popularity import ItemScores
from lgcn_jax.data import csr
from lgcn_jax.devices.mesh import Mesh
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation.scorers import DotProduct
from lgcn_jax.serving import topk

ONE, MESHES = (
    "data:1,nodes:1",
    ("data:1,nodes:1", "data:3,nodes:1", "data:1,nodes:4", "data:2,nodes:3", "data:4,nodes:2"),
)
USERS, ITEMS = 7, 700


def world(seed: int, levels: int | None = None):
    """Scores [USERS, ITEMS], of few levels where there are to be many ties; what is masked; and who is asked for."""
    random = np.random.default_rng(seed)
    scores = random.standard_normal((USERS, ITEMS)).astype(np.float32)
    if levels:
        scores = np.round(scores * levels) / levels
    pairs = random.integers(0, USERS, 900), random.integers(0, ITEMS, 900)
    masked = csr.from_pairs(*pairs, (USERS, ITEMS))
    return scores, masked, random.integers(0, USERS, 20)


def expected(scores, masked, users, allowed, k):
    left = np.where(allowed, scores, -np.inf)
    left[csr.row_of_entry(masked), masked.indices] = -np.inf
    order = np.argsort(-left, axis=1, kind="stable")[:, :k]  # the lowest of equals first
    best = np.take_along_axis(left, order, 1)
    return np.where(np.isinf(best), 0, order)[users], best[users]


def scorer(scores):
    return DotProduct(np.eye(USERS, dtype=np.float32), np.ascontiguousarray(scores.T))


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("mesh", MESHES)
def test_lists_are_those_of_sorted_scores(mesh, levels, monkeypatch):
    """On every mesh, in chunks of few users, the last one padded; the lowest item first where scores are equal."""
    monkeypatch.setattr(topk, "CHUNK_ELEMENTS", 3 * 704)
    scores, masked, users = world(1, levels)
    allowed = np.random.default_rng(2).random(ITEMS) < 0.7
    ranker = topk.Ranker(scorer(scores), ITEMS, Mesh.of(mesh))
    for k in (1, 2, 15):
        found = ranker.top_items(users, masked, allowed, k)
        for one, other in zip(found, expected(scores, masked, users, allowed, k), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mesh", [ONE, "data:2,nodes:3"])
def test_lists_end_where_nothing_is_left(mesh):
    scores, masked, users = world(3)
    allowed = np.zeros(ITEMS, bool)
    allowed[[5, 333, 699]] = True
    found = topk.Ranker(scorer(scores), ITEMS, Mesh.of(mesh)).top_items(users, None, allowed, 9)
    empty = csr.empty(USERS)
    for one, other in zip(found, expected(scores, empty, users, allowed, 9), strict=True):
        np.testing.assert_array_equal(one, other)
    everything = topk.Ranker(scorer(scores), ITEMS, Mesh.of(mesh)).top_items(users, masked, np.ones(ITEMS, bool), ITEMS)
    assert np.isinf(everything[1][:, -1]).all()


def test_zeros_of_either_sign_are_equal():
    scores = np.zeros(ITEMS, np.float32)
    scores[::2] = -0.0
    for mesh in (ONE, "data:1,nodes:2"):
        found = topk.Ranker(ItemScores(scores), ITEMS, Mesh.of(mesh)).top_items(
            np.arange(2), None, np.ones(ITEMS, bool), 4
        )
        assert found[0].tolist() == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("shape", [(5, 64 * 9), (5, 64 * 200), (1, 64), (3, 1000)])
@pytest.mark.parametrize("share", [0.2, 0.5, 1e-9])
def test_blocks_give_what_lax_top_k_gives(shape, share):
    """Of few values, where the largest are rare, and of values that hardly ever are equal."""
    scores = np.random.default_rng(0).geometric(share, shape).astype(np.float32)
    scores[:, :30] = -np.inf
    for k in (1, 3, 50, 5000):
        found, exact = jax.jit(topk.top_k, static_argnums=1)(scores, k), jax.lax.top_k(scores, min(k, shape[1]))
        for one, other in zip(found, exact, strict=True):
            np.testing.assert_array_equal(one, other)


def test_few_sizes_are_compiled(uncached):
    """However many users are asked for: sizes are powers of two, and at most a chunk."""
    scores, *_ = world(1)
    ranker, everything = topk.Ranker(scorer(scores), ITEMS, Mesh.of(ONE)), np.ones(ITEMS, bool)
    topk._top_k_program.cache_clear()
    for count in range(1, 40):
        ranker.top_items(np.zeros(count, int), csr.empty(USERS), everything, 5)
    assert topk._top_k_program(Mesh.of(ONE), ITEMS, 5)._cache_size() <= 7


def test_pairs_are_scored_in_chunks(monkeypatch):
    scores, *_ = world(4)
    monkeypatch.setattr(topk, "CHUNK_ELEMENTS", 64 * 16)
    random = np.random.default_rng(0)
    users, items = random.integers(0, USERS, 50), random.integers(0, ITEMS, 50)
    np.testing.assert_array_equal(topk.pair_scores(scorer(scores), users, items), scores[users, items])
    np.testing.assert_array_equal(topk.pair_scores(ItemScores(scores[0]), users, items), scores[0, items])
    np.testing.assert_array_equal(topk.pair_scores(Plain(scores), users, items), scores[users, items])


@jax.tree_util.register_pytree_node_class
class Plain:
    """A scorer that has only what it must have."""

    def __init__(self, table):
        self.table = table

    def scores(self, users):
        return self.table[users]

    def tree_flatten(self):
        return (self.table,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


def test_a_scorer_that_is_not_cut_ranks_on_meshes_over_users_alone():
    scores, masked, users = world(5)
    everything = np.ones(ITEMS, bool)
    for mesh in (ONE, "data:3,nodes:1"):
        found = topk.Ranker(Plain(scores), ITEMS, Mesh.of(mesh)).top_items(users, masked, everything, 6)
        np.testing.assert_array_equal(found[0], expected(scores, masked, users, everything, 6)[0])
    with pytest.raises(InputError, match="--mesh: found nodes:2"):
        topk.Ranker(Plain(scores), ITEMS, Mesh.of("data:1,nodes:2"))
