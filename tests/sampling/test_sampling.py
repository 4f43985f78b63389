"""Samplers: what may be drawn, how often, and what an epoch covers."""

import collections
import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lgcn_jax import sampling
from lgcn_jax.data import csr
from lgcn_jax.sampling import SAMPLERS, Batch

ITEMS = 6
ROWS = {0: [0, 1, 2], 1: [5], 2: [], 3: [0, 1, 2, 3, 4, 5], 4: [1, 3, 5, 4, 0]}  # 2 has none, 3 has every item


@pytest.fixture
def train() -> csr.CSR:
    rows, columns = zip(*[(user, item) for user, items in ROWS.items() for item in items], strict=True)
    return csr.from_pairs(np.array(rows), np.array(columns), (len(ROWS), ITEMS))


def drawn(sampler, size=6000, seed=0) -> Batch:
    draw = jax.jit(lambda key: sampler.draw(key, jnp.int32(0), size))
    batch = Batch(*map(np.asarray, draw(jax.random.key(seed))))
    assert batch.negative.shape == (size, 1)
    return batch._replace(negative=batch.negative[:, 0])


def uniform(values, expected) -> float:
    """The p-value of `values` being uniform draws from `expected`; they hold nothing else."""
    counts = collections.Counter(values.tolist())
    assert set(counts) == set(expected)
    return scipy.stats.chisquare([counts[value] for value in expected]).pvalue if len(expected) > 1 else 1.0


def test_users_positives_and_negatives_are_uniform(train):
    batch = drawn(sampling.build_sampler(SAMPLERS["user"](), train, ITEMS))
    assert uniform(batch.user, [0, 1, 4]) > 1e-4
    for user in (0, 1, 4):
        mine = batch.user == user
        assert uniform(batch.positive[mine], ROWS[user]) > 1e-4
        assert uniform(batch.negative[mine], sorted(set(range(ITEMS)) - set(ROWS[user]))) > 1e-4
    assert (batch.weight == 1).all()


def test_positive_and_negative_of_a_user_are_independent(train):
    batch = drawn(sampling.build_sampler(SAMPLERS["user"](), train, ITEMS))
    mine = batch.user == 0
    table = np.zeros((3, 3))
    np.add.at(table, (batch.positive[mine], batch.negative[mine] - 3), 1)
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_negative_is_a_train_positive(name):
    random = np.random.default_rng(0)
    train = csr.from_pairs(random.integers(0, 50, 1500), random.integers(0, 40, 1500), (50, 40))
    batch = drawn(sampling.build_sampler(SAMPLERS[name](), train, 40), size=20_000)
    own = set(zip(csr.row_of_entry(train).tolist(), train.indices.tolist(), strict=True))
    assert all(pair in own for pair in zip(batch.user.tolist(), batch.positive.tolist(), strict=True))
    assert not any(pair in own for pair in zip(batch.user.tolist(), batch.negative.tolist(), strict=True))


@pytest.mark.parametrize("batch_size", [1, 4, 9, 100])
def test_an_epoch_of_edges_holds_every_drawable_pair_once(train, batch_size):
    sampler = jax.device_put(sampling.build_sampler(SAMPLERS["edge"](), train, ITEMS))
    assert sampler.num_examples == 9  # of 15 pairs, six are those of the user who has every item
    seen = []
    for step in range(-(-9 // batch_size)):
        batch = sampler.draw(jax.random.key(5), jnp.int32(step), batch_size)
        kept = np.asarray(batch.weight) == 1
        seen += zip(np.asarray(batch.user)[kept].tolist(), np.asarray(batch.positive)[kept].tolist(), strict=True)
    assert sorted(seen) == sorted((user, item) for user in (0, 1, 4) for item in ROWS[user])


def test_every_epoch_has_an_order_of_its_own(train):
    sampler = sampling.build_sampler(SAMPLERS["edge"](), train, ITEMS)
    orders = {tuple(drawn(sampler, 9, epoch).positive.tolist()) for epoch in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_key_determines_its_batch(train, name):
    sampler = sampling.build_sampler(SAMPLERS[name](), train, ITEMS)
    for first, second in zip(drawn(sampler, 50, 3), drawn(sampler, 50, 3), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (drawn(sampler, 50, 3).negative != drawn(sampler, 50, 4).negative).any()


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step_of_an_epoch_draws_anew(name):
    """By chance a pair of batches has a few places in common, but never half of them."""
    random = np.random.default_rng(0)
    train = csr.from_pairs(random.integers(0, 50, 900), random.integers(0, 40, 900), (50, 40))
    sampler = sampling.build_sampler(SAMPLERS[name](), train, 40)
    draw = jax.jit(lambda step: sampler.draw(jax.random.key(1), step, 200))
    batches = [draw(jnp.int32(step)) for step in range(3)]
    for first, second in itertools.combinations(batches, 2):
        for column in ("user", "positive", "negative"):
            assert (np.asarray(getattr(first, column)) == getattr(second, column)).mean() < 0.5, column


def test_an_epoch_of_users_draws_as_often_as_there_are_pairs(train):
    """Also those of the user who has every item; every draw of every batch counts."""
    sampler = sampling.build_sampler(SAMPLERS["user"](), train, ITEMS)
    assert sampler.num_examples == train.nnz == 15
    assert (drawn(sampler, 15).weight == 1).all()
    assert sampling.build_sampler(SAMPLERS["edge"](), train, ITEMS).num_examples == 9


@pytest.mark.parametrize("name", SAMPLERS)
def test_data_without_a_possible_triple_is_refused(name):
    full = csr.from_pairs(np.array([0, 0]), np.array([0, 1]), (2, 2))
    with pytest.raises(ValueError, match="no user has both"):
        sampling.build_sampler(SAMPLERS[name](), full, 2)


@pytest.mark.parametrize(
    ("name", "step", "expected"),
    [
        ("user", 0, ([0, 0, 4, 4, 1, 4], [0, 1, 5, 5, 5, 5], [4, 4, 2, 2, 3, 2], [1, 1, 1, 1, 1, 1])),
        ("user", 1, ([4, 0, 0, 1, 0, 0], [3, 1, 1, 5, 1, 2], [2, 4, 3, 0, 5, 5], [1, 1, 1, 1, 1, 1])),
        ("edge", 0, ([4, 0, 0, 4, 4, 1], [3, 2, 0, 1, 5, 5], [2, 5, 5, 2, 2, 1], [1, 1, 1, 1, 1, 1])),
        ("edge", 1, ([0, 4, 4, 4, 4, 4], [1, 0, 4, 4, 4, 4], [3, 2, 2, 2, 2, 2], [1, 1, 1, 0, 0, 0])),
    ],
)
def test_which_keys_are_drawn_from_does_not_change(train, name, step, expected):
    """A run that goes on in another version draws what it would have drawn."""
    sampler = sampling.build_sampler(SAMPLERS[name](), train, ITEMS)
    batch = jax.jit(lambda step: sampler.draw(jax.random.key(5), step, 6))(jnp.int32(step))
    for column, values in zip(batch[:4], expected, strict=True):
        np.testing.assert_array_equal(np.ravel(column), values)
    assert [column.dtype for column in batch[:4]] == ["int32", "int32", "int32", "float32"]


LAST = 2**31 - 1


@pytest.mark.parametrize(
    ("place", "users", "indptr", "indices", "first"),
    [
        (0, [0, 2, LAST], [0, 3, 3, 3], [0, 1, 2, *[0] * 9], [0, 4, LAST]),
        (1, [1, 3, 4], [0, 1, 7, 12], [5, 0, 1, 2, 3, 4, 5, 0, 1, 3, 4, 5], [3, 4, 4]),
    ],
)
def test_each_place_has_the_pairs_of_its_users(train, place, users, indptr, indices, first):
    """Users 0 and 2 are of place 0, the others of place 1; 2 and 3 have no pair that can be drawn."""
    owners = np.array([0, 1, 0, 1, 1])
    edge, user = (
        sampling.build_shard(SAMPLERS[name](), train, ITEMS, owners, place, "nodes") for name in ("edge", "user")
    )
    expected = [indptr, indices, users, first]
    found = [*edge.pairs.train, edge.pairs.user, edge.first]
    for array, values in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, values)
        assert array.dtype == np.int32
    np.testing.assert_array_equal(user.users, [0, 1, 4])
    assert user.users.dtype == np.int32
    assert (edge.num_examples, user.num_examples) == (9, 15)
    for owned in (edge.pairs, user.pairs):
        assert (owned.num_items, owned.axis) == (ITEMS, "nodes")
        row, here = owned.to_local_index(jnp.arange(5, dtype=jnp.int32))
        np.testing.assert_array_equal(here, owners == place)
        assert (np.array(users)[row[here]] == np.flatnonzero(owners == place)).all()


def test_one_place_has_all_users(train):
    row, here = sampling.build_sampler(SAMPLERS["user"](), train, ITEMS).pairs.to_local_index(
        jnp.arange(5, dtype=jnp.int32)
    )
    np.testing.assert_array_equal(row, np.arange(5))
    assert here.dtype == bool
    assert here.all()


def test_a_sampler_does_not_change(train):
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampling.build_sampler(SAMPLERS["edge"](), train, ITEMS).num_examples = 1
