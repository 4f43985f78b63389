"""Noise between propagations: its distribution, its independence of order and devices, its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lgcn_jax.data import csr
from lgcn_jax.graph import normalization, order, propagation
from lgcn_jax.graph.order import Order
from lgcn_jax.graph.perturbation import MessageDropout, Noise, combine_noisy_layers_at
from lgcn_jax.graph.propagation import Adjacency

USERS, ITEMS, DIM, MAGNITUDE = 30, 20, 4, 0.25
WEIGHTS = ((0.1, 0.2, 0.3, 0.4), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def adjacency_of(dtype="float32", shuffled=False) -> Adjacency:
    random = np.random.default_rng(0)
    pairs = csr.from_pairs(random.integers(0, USERS, 200), random.integers(0, ITEMS - 1, 200), (USERS, ITEMS))
    matrix = normalization.normalized_adjacency(pairs, ITEMS, dtype=dtype)
    placed = order.identity_order(USERS + ITEMS)
    if shuffled:
        placed = Order(random.permutation(USERS + ITEMS).astype(np.int32), USERS + ITEMS)
    return Adjacency(propagation.make_layout(order.permute(matrix, placed)), jnp.asarray(placed.row_of_node))


def directions(noise: Noise, shape=(USERS + ITEMS, DIM), number=1) -> np.ndarray:
    """float[rows, d]: what is added to embeddings of positive elements."""
    return np.asarray(noise.add_to_layer(jnp.ones(shape), number) - 1)


def test_noise_has_the_length_that_is_stated_and_the_signs_of_the_embedding():
    noise = Noise.of(jax.random.key(3), adjacency_of(), MAGNITUDE)
    x = jnp.asarray(np.random.default_rng(1).standard_normal((USERS + ITEMS, DIM)), jnp.float32)
    x = x.at[5].set(0).at[6, 2].set(0)
    moved = np.asarray(noise.add_to_layer(x, 1) - x)
    assert (moved[5] == 0).all()  # as the published code: sign(0) is 0
    assert moved[6, 2] == 0
    assert (np.sign(moved[:5]) == np.sign(x[:5])).all()
    np.testing.assert_allclose(np.linalg.norm(np.delete(moved, [5, 6], 0), axis=1), MAGNITUDE, rtol=1e-4)


def test_directions_are_those_of_uniform_elements_and_differ():
    """Of every two of key, layer, node and place: a direction's elements over its largest are what they are to be."""
    many = 20_000
    noise = Noise(jax.random.bits(jax.random.key(0), (2,), jnp.uint32), jnp.arange(many, dtype=jnp.int32), 1.0)
    found = directions(noise, (many, DIM))
    drawn = np.random.default_rng(5).uniform(size=(many, DIM))
    expected = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    for place in range(DIM):
        assert scipy.stats.ks_2samp(found[:, place], expected[:, place]).pvalue > 1e-3
    others = [directions(noise, (many, DIM), 2)]
    others += [directions(Noise.of(jax.random.key(1), adjacency_of(), 1.0)), np.roll(found, 1, 0), np.roll(found, 1, 1)]
    own = np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]
    assert abs(own) < 0.02
    for other in others:
        size = len(other)
        related = scipy.stats.spearmanr(found[:size].ravel(), other.ravel()).statistic
        bound = abs(scipy.stats.spearmanr(expected[:size].ravel(), np.roll(expected[:size], 1, 1).ravel()).statistic)
        assert abs(related) < max(bound, 0) + 5 / np.sqrt(other.size)


def test_noise_is_a_node_s_whatever_the_order_of_the_rows():
    plain, other = adjacency_of(), adjacency_of(shuffled=True)
    key = jax.random.key(7)
    expected, found = (directions(Noise.of(key, each, MAGNITUDE)) for each in (plain, other))
    np.testing.assert_array_equal(found[np.asarray(other.row_of_node)], expected)
    noise, rows = Noise.of(key, other, MAGNITUDE), other.row_of_node[jnp.asarray([3, 41, 3])]
    some = noise.add_to_rows(other.layout, jnp.ones((3, DIM)), rows, 1) - 1
    np.testing.assert_array_equal(some, expected[[3, 41, 3]])


@pytest.mark.parametrize("shared", [None, [2, 2, 49]])
def test_rows_and_gradients_are_those_of_layers_written_out(shared):
    with jax.enable_x64(True):
        adjacency = adjacency_of("float64", shuffled=True)
        noise = Noise.of(jax.random.key(3), adjacency, MAGNITUDE)
        table = jnp.asarray(np.random.default_rng(4).standard_normal((USERS + ITEMS, DIM)))
        nodes = jnp.asarray([[0, 7, 7], [33, 49, 33]], jnp.int32)
        more = None if shared is None else jnp.asarray(shared, jnp.int32)
        at = jnp.concatenate([nodes.ravel(), *([] if more is None else [more])])

        def written_out(table):
            layers = [table]
            for number in (1, 2, 3):
                layers.append(noise.add_to_layer(propagation.propagate(adjacency.layout, layers[-1]), number))
            sums = [sum(w * layer for w, layer in zip(each, layers, strict=True)) for each in WEIGHTS]
            return *(each[at] for each in sums), table[at]

        def ours(table):
            return combine_noisy_layers_at(adjacency.layout, noise, WEIGHTS, table, nodes, more)

        def loss(rows):
            return sum(jnp.sin((number + 1) * each).sum() for number, each in enumerate(rows))

        for found, expected in zip(ours(table), written_out(table), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        slopes = (jax.grad(lambda table, way=way: loss(way(table)))(table) for way in (ours, written_out))
        np.testing.assert_allclose(*slopes, rtol=0, atol=1e-12)


def test_dropout_drops_its_rate_of_every_layer_and_keeps_the_mean():
    many = 20_000
    dropout = MessageDropout(
        jax.random.bits(jax.random.key(0), (2,), jnp.uint32), jnp.arange(many, dtype=jnp.int32), 0.3
    )
    kept = [np.asarray(dropout.applied(jnp.ones((many, DIM)), number)) for number in (1, 2)]
    np.testing.assert_allclose(np.unique(kept[0]), [0, 1 / 0.7], rtol=1e-6)
    for found in kept:
        counts = (found == 0).sum(0)
        assert (
            scipy.stats.chisquare(np.stack([counts, many - counts]), many * np.array([[0.3], [0.7]])).pvalue.min()
            > 1e-3
        )
    for other in (kept[1], np.roll(kept[0], 1, 0), np.roll(kept[0], 1, 1)):
        assert abs(np.corrcoef(kept[0].ravel(), other.ravel())[0, 1]) < 0.02


def test_dropout_is_that_of_the_node_whatever_its_row():
    straight, shuffled = adjacency_of(), adjacency_of(shuffled=True)
    ones = jnp.ones((USERS + ITEMS, DIM))
    found, moved = (MessageDropout.of(jax.random.key(2), each, 0.5).applied(ones, 1) for each in (straight, shuffled))
    np.testing.assert_array_equal(moved[shuffled.row_of_node], found)
    assert (np.asarray(MessageDropout.of(jax.random.key(3), straight, 0.5).applied(ones, 1)) != found).any()
    assert (MessageDropout.of(jax.random.key(2), straight, 0.0).applied(ones, 1) == ones).all()
    assert np.isfinite(MessageDropout.of(jax.random.key(2), straight, 1 - 2**-40).applied(ones, 1)).all()
