"""Sums at repeated nodes: the way of accelerators, run on a CPU, beside NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lgcn_jax.graph import scatter

SIZE = 50
NODES = {
    "distinct": np.arange(40)[::-1],
    "all equal": np.full(700, 7),
    "a hub and others": np.where(np.arange(600) % 3 == 0, 4, np.arange(600) % SIZE),
    "one": np.array([49]),
    "none": np.array([], int),
    "one more than a power of the radix": np.random.default_rng(0).integers(0, 3, scatter.RADIX**2 + 1),
}


def case(nodes):
    nodes = NODES[nodes].astype(np.int32)
    rows = np.random.default_rng(1).integers(-8, 8, (len(nodes), 5)).astype(np.float32)  # whole: exact in any order
    x = np.random.default_rng(2).integers(-8, 8, (SIZE, 5)).astype(np.float32)
    expected = x.copy()
    np.add.at(expected, nodes, rows)
    return jnp.asarray(x), jnp.asarray(rows), jnp.asarray(nodes), expected


@pytest.mark.parametrize("way", [scatter.add_by_scatter, scatter.add_by_sort, scatter.scatter_add])
@pytest.mark.parametrize("nodes", NODES)
def test_rows_are_added_at_their_nodes(nodes, way):
    x, rows, nodes, expected = case(nodes)
    np.testing.assert_array_equal(jax.jit(way)(x, rows, nodes), expected)


@pytest.mark.parametrize("way", [scatter.coalesce_by_scatter, scatter.coalesce_by_sort, scatter.coalesce])
@pytest.mark.parametrize("nodes", NODES)
def test_merged_rows_have_one_row_for_each_node(nodes, way):
    x, rows, nodes, expected = case(nodes)
    found, at = jax.jit(way, static_argnums=2)(rows, nodes, SIZE)
    np.testing.assert_array_equal(x.at[at].add(found), expected)
    np.testing.assert_array_equal(np.sort(at), np.sort(nodes))
    last = scatter.last_occurrence(at, SIZE)
    table = jnp.concatenate([found, jnp.zeros((1, 5))])[last]  # -1, nowhere, is the row of zeros
    np.testing.assert_array_equal(x + table, expected)


def test_off_the_cpu_no_node_is_written_twice():
    x, rows, nodes, _ = case("a hub and others")
    for_cuda = jax.jit(scatter.scatter_add).trace(x, rows, nodes).lower(lowering_platforms=("cuda",)).as_text()
    scatters = [line for line in for_cuda.splitlines() if '"stablehlo.scatter"' in line]
    assert len(scatters) == 1
    assert "unique_indices = true" in scatters[0]


def test_infinite_rows_stay_at_their_nodes():
    rows = jnp.asarray([[jnp.inf], [1.0], [2.0]])
    np.testing.assert_array_equal(
        scatter.add_by_sort(jnp.zeros((3, 1)), rows, jnp.asarray([1, 0, 0])), [[3], [jnp.inf], [0]]
    )
