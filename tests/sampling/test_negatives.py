"""Negatives that a data set knows: their distribution, their devices, and runs that go on."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lgcn_jax import sampling
from lgcn_jax.config import Config
from lgcn_jax.data import csr, datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.sampling import NEGATIVES, SAMPLERS
from lgcn_jax.settings import Settings
from lgcn_jax.training import loop
from lgcn_jax.training.setup import build_setup

ITEMS = 8
LIKED = {0: [0, 1, 2], 1: [5], 2: [3, 4]}
DISLIKED = {0: [4, 5, 6, 7], 1: [], 2: [0, 3]}  # 2 has liked 3 as well: it is trained on


def pairs(rows: dict[int, list[int]]) -> csr.CSR:
    users, items = zip(*[(user, item) for user, items in rows.items() for item in items], strict=True)
    return csr.from_pairs(np.array(users), np.array(items), (len(rows), ITEMS))


def drawn(name: str, size: int, epochs: int = 1, **settings) -> sampling.Batch:
    """The first batches of some epochs, one after the other."""
    negatives = NEGATIVES["explicit"](**settings)
    sampler = sampling.build_sampler(SAMPLERS[name](), pairs(LIKED), ITEMS, negatives, pairs(DISLIKED))
    keys = jax.random.split(jax.random.key(0), epochs)
    batches = jax.jit(jax.vmap(lambda key: sampler.draw(key, jnp.int32(0), size)))(keys)
    return sampling.Batch(*(np.asarray(column).reshape(-1, *column.shape[2:]) for column in batches[:4]))


@pytest.mark.parametrize("name", SAMPLERS)
def test_they_are_uniform_among_the_disliked_items_or_else_among_all_others(name):
    found = collections.defaultdict(collections.Counter)
    batch = drawn(name, *((9000,) if name == "user" else (6, 1500)))  # an epoch of edges has six examples
    assert batch.negative.shape == (9000, 1)
    for user, negative in zip(batch.user.tolist(), batch.negative[:, 0].tolist(), strict=True):
        found[user][negative] += 1
    for user, expected in {0: [4, 5, 6, 7], 1: [0, 1, 2, 3, 4, 6, 7], 2: [0]}.items():
        assert sorted(found[user]) == expected
        assert len(expected) == 1 or scipy.stats.chisquare(list(found[user].values())).pvalue > 1e-4


def test_several_of_an_example_are_independent():
    batch = drawn("user", 9000, num_negatives=2)
    assert batch.negative.shape == (9000, 2)
    for user, expected in {0: [4, 5, 6, 7], 1: [0, 1, 2, 3, 4, 6, 7], 2: [0]}.items():
        drawn_of_user = batch.negative[batch.user == user]
        first, second = np.searchsorted(expected, drawn_of_user).T
        assert np.isin(drawn_of_user, expected).all()
        table = np.zeros((len(expected),) * 2)
        np.add.at(table, (first, second), 1)
        assert len(expected) == 1 or scipy.stats.chisquare(table.ravel()).pvalue > 1e-4


def test_positive_and_negative_are_independent():
    batch = drawn("user", 9000)
    mine = batch.user == 0
    table = np.zeros((3, 4))
    np.add.at(table, (batch.positive[mine], batch.negative[mine, 0] - 4), 1)
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("disliked", [None, csr.empty(3), pairs({0: [0], 1: [], 2: [4]})])
def test_a_data_set_without_them_is_refused_in_one_line(disliked):
    """Also one whose disliked pairs are all trained on."""
    with pytest.raises(InputError, match=r"--negatives: found explicit .* no disliked pair, expected uniform, or"):
        sampling.build_sampler(SAMPLERS["user"](), pairs(LIKED), ITEMS, NEGATIVES["explicit"](), disliked)


def test_a_sampler_with_negatives_of_its_own_is_refused():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Own(sampling.SamplerSettings):
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SAMPLERS._parts, "own", Own)
        with pytest.raises(InputError, match=r"--negatives: found explicit, expected nothing with --sampler=own"):
            Config.of(sampler="own", negatives="explicit")
        assert isinstance(Config.of(sampler="own").negatives, Settings)


@pytest.fixture
def known(small) -> Interactions:
    """A third of the users dislike five items that they have not seen, most of the others' none."""
    plain = datasets.load(small.data)
    random = np.random.default_rng(0)
    users, items = random.integers(0, plain.num_users // 3, 500), random.integers(0, plain.num_items, 500)
    return dataclasses.replace(plain, disliked=csr.from_pairs(users, items, (plain.num_users, plain.num_items)))


@pytest.mark.parametrize("sampler", ["user", "edge"])
@pytest.mark.parametrize("mesh", ["data:2,nodes:2"])
def test_several_devices_draw_the_same(small, known, sampler, mesh):
    config = small.replace(negatives="explicit", num_negatives=3, sampler=sampler, epochs=1, batch_size=1024)
    one, more = (loop.fit(build_setup(c, known)).table for c in (config, config.replace(mesh=mesh)))
    np.testing.assert_allclose(one, more, rtol=0, atol=1e-5)


def test_disliked_pairs_are_not_in_the_graph(small, known):
    config = small.replace(propagation="bcoo", node_order="natural")
    plain = dataclasses.replace(known, disliked=None)
    first, second = (build_setup(config, data).adjacency.layout for data in (known, plain))
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.values, second.values)


def test_a_run_goes_on_bit_for_bit(small, known):
    config = small.replace(negatives="explicit", sampler="edge", epochs=3, batch_size=1024)
    whole = loop.fit(build_setup(config, known))
    half = loop.fit(build_setup(config.replace(epochs=2), known))
    setup = build_setup(config, known)
    goes_on = loop.fit(setup, start=half.snapshot)
    assert goes_on.to_json()["parameters_sha256"] == whole.to_json()["parameters_sha256"]
