"""A layout mapped over members is the layout of each member alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lgcn_jax.data import csr
from lgcn_jax.graph import normalization, propagation
from lgcn_jax.graph.members import FEW, MemberLayout
from lgcn_jax.graph.propagation import combine_layers_at

USERS, ITEMS, DIM, MEMBERS = 60, 40, 4, 3
NODES = USERS + ITEMS


@pytest.fixture(scope="module")
def matrix():
    random = np.random.default_rng(1)
    pairs = random.integers(0, USERS, 300), random.integers(0, ITEMS, 300)
    return normalization.normalized_adjacency(csr.from_pairs(*pairs, (USERS, ITEMS)), ITEMS)


def random(*shape):
    return jnp.asarray(np.random.default_rng(2).standard_normal(shape), jnp.float32)


def nodes(count):
    return jnp.asarray(np.random.default_rng(3).integers(0, NODES, (MEMBERS, count)), jnp.int32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("count", [NODES // FEW - 2, NODES])
@pytest.mark.parametrize("dtype", propagation.DTYPES)
@pytest.mark.parametrize("name", propagation.available_layouts())
def test_each_member_has_its_own_rows_and_gradient(matrix, name, dtype, count, axis):
    """Few rows, which are computed member by member, and many, which are computed for all at once."""
    alone, at, slope = propagation.make_layout(matrix, name, dtype), nodes(count), random(MEMBERS, 2, count, DIM)
    tables, weights = random(MEMBERS, NODES, DIM), (0.4, 0.3, 0.2, 0.1)

    def rows_and_gradient(layout, table, at, slope):
        rows, back = jax.vjp(lambda table: combine_layers_at(layout, weights, table, at), table)
        return *rows, *back(tuple(slope))

    mapped = jax.vmap(rows_and_gradient, (None, axis, 0, 0))
    found = jax.jit(mapped)(MemberLayout(alone), jnp.moveaxis(tables, 0, axis), at, slope)
    one = jax.jit(rows_and_gradient)
    expected = [one(alone, *each) for each in zip(tables, at, slope, strict=True)]
    for here, there in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(here, there, rtol=0, atol=2e-2 if dtype == "bfloat16" else 2e-6)


def test_alone_it_is_the_layout_inside(matrix):
    alone, x, at = propagation.make_layout(matrix), random(NODES, DIM), nodes(9)[0]
    layout = MemberLayout(alone)
    np.testing.assert_array_equal(layout.product(x), alone.product(x))
    np.testing.assert_array_equal(layout.product_at(x, at), alone.product_at(x, at))
    np.testing.assert_array_equal(layout.product_of_rows(x[at], at), alone.product_of_rows(x[at], at))
    np.testing.assert_array_equal(layout.gather(x, at), alone.gather(x, at))


def test_what_all_members_share_is_read_once_or_repeated(matrix):
    """Nodes that are the same for all members, and one table of which each member asks other rows."""
    layout, x, at = MemberLayout(propagation.make_layout(matrix)), random(MEMBERS, NODES, DIM), nodes(NODES)
    found = jax.vmap(layout.product_at, (0, None))(x, at[0])
    np.testing.assert_allclose(found, [layout.product(each)[at[0]] for each in x], rtol=0, atol=2e-6)
    np.testing.assert_array_equal(jax.vmap(layout.gather, (None, 0))(x[0], at), x[0][at])


def test_the_matrix_is_read_once_for_all_members(matrix):
    """One product in the program, of all members' columns."""
    layout = MemberLayout(propagation.make_layout(matrix, "bcsr"))
    text = str(jax.make_jaxpr(jax.vmap(layout.product))(random(MEMBERS, NODES, DIM)))
    assert text.count("bcsr_dot_general[") == 1
    assert f"f32[{NODES},{MEMBERS * DIM}]" in text
