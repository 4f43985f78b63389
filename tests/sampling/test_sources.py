"""Negatives drawn uniformly, by popularity, for the whole batch or as candidates: what they promise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lgcn_jax import losses, sampling
from lgcn_jax.config import Config
from lgcn_jax.data import csr, datasets
from lgcn_jax.errors import InputError
from lgcn_jax.losses import EmbeddedBatch, Embeddings
from lgcn_jax.sampling import NEGATIVES, SAMPLERS, popularity
from lgcn_jax.training import loop
from lgcn_jax.training.setup import build_setup

ITEMS = 8
LIKED = {0: [0, 1, 2], 1: [5], 2: [0, 4], 3: [0, 1, 2, 4, 5, 6], 4: [6, 0]}  # 3 and 7 are nobody's


def train() -> csr.CSR:
    users, items = zip(*[(user, item) for user, items in LIKED.items() for item in items], strict=True)
    return csr.from_pairs(np.array(users), np.array(items), (len(LIKED), ITEMS))


def drawn(size: int, sampler: str = "user", **settings) -> sampling.Batch:
    name = settings.pop("negatives")
    built = sampling.build_sampler(SAMPLERS[sampler](), train(), ITEMS, NEGATIVES[name](**settings))
    return jax.device_get(jax.jit(lambda: built.draw(jax.random.key(4), jnp.int32(0), size))())


def likely(found: np.ndarray, expected: np.ndarray) -> None:
    """Asserts that items have the probabilities that are expected, and that impossible ones are never found."""
    count = np.bincount(found.ravel(), minlength=ITEMS)
    assert (count[expected == 0] == 0).all()
    possible = expected > 0
    assert scipy.stats.chisquare(count[possible], expected[possible] / expected.sum() * count.sum()).pvalue > 1e-4


@pytest.mark.parametrize("settings", [{"negatives": "uniform", "num_negatives": 3}, {"negatives": "dns"}])
def test_uniform_ones_are_uniform_among_the_items_that_a_user_does_not_have(settings):
    batch = drawn(3000, **settings)
    assert batch.negative.shape == (3000, 3 if "num_negatives" in settings else 32)
    for user, items in LIKED.items():
        likely(batch.negative[batch.user == user], np.isin(np.arange(ITEMS), items, invert=True).astype(float))


def test_several_negatives_of_an_example_are_independent():
    negative = drawn(20000, negatives="uniform", num_negatives=2).negative
    table = np.zeros((ITEMS, ITEMS))
    mine = drawn(20000, negatives="uniform", num_negatives=2).user == 1
    np.add.at(table, (negative[mine, 0], negative[mine, 1]), 1)
    kept = np.delete(np.delete(table, 5, 0), 5, 1)
    assert scipy.stats.chi2_contingency(kept).pvalue > 1e-4


@pytest.mark.parametrize("beta", [0.0, 0.75, 2.0])
def test_popular_ones_are_drawn_by_a_power_of_popularity(beta):
    batch = drawn(12000, negatives="popularity", beta=beta, num_negatives=2)
    popularity = np.bincount(train().indices, minlength=ITEMS).astype(float) ** beta
    for user, items in LIKED.items():
        expected = np.where(np.isin(np.arange(ITEMS), items), 0, popularity)
        if expected.any():
            likely(batch.negative[batch.user == user], expected)


def test_a_user_whom_no_popular_item_is_left_gets_uniform_ones():
    """User 3 has all items that anybody has."""
    batch = drawn(6000, negatives="popularity", beta=1.0)
    likely(batch.negative[batch.user == 3], np.array([0, 0, 0, 1.0, 0, 0, 0, 1.0]))


def test_a_product_of_32_bits_is_that_of_python():
    random = np.random.default_rng(0)
    bits = np.concatenate([random.integers(0, 2**32, 200), [0, 2**32 - 1]]).astype(np.uint32)
    span = np.concatenate([random.integers(1, 2**31, 200), [2**31 - 1] * 2]).astype(np.int32)
    expected = [int(b) * int(s) >> 32 for b, s in zip(bits, span, strict=True)]
    np.testing.assert_array_equal(popularity.integers_below(jnp.asarray(bits), jnp.asarray(span)), expected)


def test_masses_are_those_of_the_formula_and_fit_an_int32():
    found = popularity.item_masses(np.array([0, 1, 5, 1000, 10**6]), 0.5)
    assert found[0] == 0
    np.testing.assert_allclose(
        found[1:] / found.sum(), np.sqrt([1, 5, 1000, 10**6]) / np.sqrt([1, 5, 1e3, 1e6]).sum(), 1e-6
    )
    assert popularity.item_masses(np.ones(10**6), 1.0).sum() < 2**31 - 1
    extreme = popularity.item_masses(np.array([1, 10**6]), 6.0)
    assert extreme[0] == 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_shared_ones_are_uniform_and_the_same_for_all(sampler):
    batch = drawn(8, sampler, negatives="shared", num_shared=20000)
    assert batch.negative.shape == (20000,)
    likely(batch.negative, np.ones(ITEMS))
    np.testing.assert_allclose(batch.negative_probability, 1 / ITEMS)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_probabilities_are_how_often_items_are_drawn(sampler):
    size = 14 if sampler == "edge" else 20000
    batch = drawn(size, sampler, negatives="in-batch")
    assert batch.negative is None
    assert batch.negative_probability is None
    share = np.zeros(ITEMS)
    share[batch.positive] = batch.positive_probability
    assert share.sum() == pytest.approx(1)
    if sampler != "edge":
        likely(batch.positive, share)
    else:
        np.testing.assert_allclose(share, np.bincount(batch.positive, minlength=ITEMS) / 14, rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.BPR(), losses.BPR(score="cosine"), losses.CCL(), losses.SSM()], ids=repr)
def test_of_candidates_the_best_scored_are_kept(loss):
    """By what the loss takes for scores: of cosines, the length of a candidate does not count."""
    random = np.random.default_rng(0)
    user, negative = random.standard_normal((3, 2)), random.standard_normal((5, 3, 2))
    rows = Embeddings(*(jnp.asarray(each, jnp.float32) for each in (user, user, negative)))
    plain = EmbeddedBatch(rows, rows, None, None, None, None)
    kept = losses.keep_hardest_negatives(plain, loss, 2)
    cosine = negative / np.linalg.norm(negative, axis=2, keepdims=True)
    for b in range(3):
        by_dot, by_cosine = (np.argsort(-(each[:, b] @ user[b]))[:2] for each in (negative, cosine))
        best = by_dot if loss == losses.BPR() else by_cosine
        for found in (kept.final, kept.initial):
            np.testing.assert_allclose(found.negative[:, b], negative[best, b], rtol=1e-6)
    assert by_dot.tolist() != by_cosine.tolist()
    assert losses.keep_hardest_negatives(plain, loss, 5) is plain
    assert (
        losses.keep_hardest_negatives(plain._replace(final=rows._replace(negative=None)), loss, 1).final.negative
        is None
    )


RUNS = [
    {"negatives": "dns", "num_candidates": 8, "num_hardest": 2},
    {"negatives": "in-batch"},
    {"loss": "ssm", "negatives": "popularity", "num_negatives": 5, "logq": True},
    {"loss": "directau"},
]
LONG_RUNS = [
    {"negatives": "uniform", "num_negatives": 3},
    {"negatives": "popularity", "num_negatives": 2, "beta": 0.5},
    {"loss": "ccl", "num_negatives": 6},
]


def named(runs: list[dict[str, Any]], *marks) -> list:
    return [pytest.param(run, id="-".join(map(str, run.values())), marks=marks) for run in runs]


@pytest.mark.parametrize("settings", named(RUNS) + named(LONG_RUNS, pytest.mark.long))
def test_runs_are_the_same_on_several_devices_and_go_on_bit_for_bit(small, settings):
    config = small.replace(sampler="edge", epochs=2, eval_split="none", batch_size=1024, **settings)
    data = datasets.load(config.data)
    whole = loop.fit(build_setup(config, data))
    more = loop.fit(build_setup(config.replace(mesh="data:2,nodes:2"), data)).table
    np.testing.assert_allclose(whole.table, more, rtol=0, atol=2e-5)
    half = loop.fit(build_setup(config.replace(epochs=1), data))
    goes_on = loop.fit(build_setup(config, data), start=half.snapshot)
    assert goes_on.to_json()["parameters_sha256"] == whole.to_json()["parameters_sha256"]


def test_more_than_all_candidates_cannot_be_kept():
    with pytest.raises(InputError, match=r"--num_hardest: found 3, expected at most --num_candidates=2"):
        Config.of(negatives="dns", num_candidates=2, num_hardest=3)
