"""The published sampler, against a plain transcription of the loop that LightGCN-PyTorch has."""

import collections
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lgcn_jax import sampling
from lgcn_jax.data import csr
from lgcn_jax.sampling import SAMPLERS

USERS, ITEMS, BATCH = 12, 6, 5
ROWS = {0: [0, 1, 2], 1: [5], 2: [], 3: [1, 3, 5, 4, 0], 4: [2, 3], 5: [], 6: [4], 7: [0, 5]}  # 8 to 11 have none
EPOCHS = 3000


@pytest.fixture(scope="module")
def train() -> csr.CSR:
    rows, columns = zip(*[(user, item) for user, items in ROWS.items() for item in items], strict=True)
    return csr.from_pairs(np.array(rows), np.array(columns), (USERS, ITEMS))


@pytest.fixture(scope="module")
def ours(train):
    """(epoch, step, user, positive, negative) of every example of many epochs, and examples of each epoch."""
    sampler = sampling.build_sampler(SAMPLERS["published"](), train, ITEMS)
    steps = -(-sampler.num_examples // BATCH)

    @jax.jit
    def epoch(key):
        return jax.vmap(lambda step: sampler.draw(key, step, BATCH))(jnp.arange(steps, dtype=jnp.int32))

    keys = jax.random.split(jax.random.key(0), EPOCHS)
    return jax.device_get(jax.jit(jax.vmap(epoch))(keys))


def theirs(train: csr.CSR) -> tuple[np.ndarray, list]:
    """Examples of each epoch, and all triples, as the published loop draws them."""
    random, counts, triples = np.random.default_rng(1), [], []
    items = [train.indices[train.indptr[user] : train.indptr[user + 1]] for user in range(USERS)]
    for _ in range(EPOCHS):
        users, before = random.integers(0, USERS, train.nnz), len(triples)
        for user in users:
            if not len(items[user]):
                continue
            positive, negative = random.choice(items[user]), random.integers(0, ITEMS)
            while negative in items[user]:
                negative = random.integers(0, ITEMS)
            triples.append((user, positive, negative))
        counts.append(len(triples) - before)
    return np.array(counts), triples


def test_an_epoch_has_as_many_examples_as_the_published_one_and_they_are_distributed_like_its(train, ours):
    """Epochs whose count ends before the last batch, where ours has one example, are compared as if it had."""
    counts, triples = theirs(train)
    steps = ours.weight.shape[1]
    counts = np.clip(counts, (steps - 1) * BATCH + 1, None)
    found = ours.weight.reshape(EPOCHS, -1).sum(1).astype(int)
    values = sorted({*counts.tolist(), *found.tolist()})
    table = np.array([[collections.Counter(x.tolist())[value] for value in values] for x in (counts, found)])
    common = table.min(0) >= 5
    assert scipy.stats.chi2_contingency(table[:, common]).pvalue > 1e-4
    kept = ours.weight.ravel() == 1
    columns = (ours.user, ours.positive, ours.negative[..., 0])
    drawn = collections.Counter(zip(*(np.ravel(x)[kept].tolist() for x in columns), strict=True))
    expected = collections.Counter((int(u), int(p), int(n)) for u, p, n in triples)
    assert drawn.keys() == expected.keys()
    table = np.array([[each[key] for key in expected] for each in (drawn, expected)])
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-4


def test_the_number_of_examples_is_binomial(train):
    """In one batch, where no epoch is too short for the batches before its last one."""
    sampler = sampling.build_sampler(SAMPLERS["published"](), train, ITEMS)
    keys = jax.random.split(jax.random.key(1), EPOCHS)
    counts = jax.device_get(jax.jit(jax.vmap(lambda key: sampler.count(key, train.nnz)))(keys))
    chance = np.array([math.comb(train.nnz, n) * 0.5**train.nnz for n in range(train.nnz + 1)])  # half have items
    common = EPOCHS * chance >= 5
    expected = EPOCHS * chance[common]
    found = np.bincount(counts, minlength=train.nnz + 1)[common]
    assert scipy.stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > 1e-4


def test_only_the_last_batch_is_short_and_it_has_an_example(train, ours):
    batches = ours.weight.sum(2)
    assert (batches[:, :-1] == BATCH).all()
    assert batches[:, -1].min() >= 1
    assert len(set(batches[:, -1].tolist())) > 1
    assert (np.diff(ours.weight, axis=2) <= 0).all()  # padding comes last


def test_no_more_examples_are_planned_than_an_epoch_can_have(train):
    """Where all users have items, every draw gives one."""
    everyone = csr.from_pairs(np.arange(4), np.arange(4), (4, 5))
    sampler = sampling.build_sampler(SAMPLERS["published"](), everyone, 5)
    assert sampler.num_examples == 4
    assert sampler.count(jax.random.key(0), 3) == 4
    some = csr.from_pairs(np.repeat(np.arange(100), 20), np.tile(np.arange(20), 100), (200, 30))
    assert sampling.build_sampler(SAMPLERS["published"](), some, 30).num_examples == 1000 + 135  # 6 * sqrt(500) = 134.2
