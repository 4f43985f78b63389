"""Every layout against SciPy's product and the dense gradient."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from lgcn_jax import csr, graph, propagation

USERS, ITEMS, DIM = 150, 90, 16
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}


@pytest.fixture(params=TOLERANCE)
def dtype(request):
    with jax.enable_x64(True) if request.param == "float64" else contextlib.nullcontext():
        yield request.param


def adjacency(dtype="float32"):
    """A random graph in which item 0 is everybody's, and some nodes have no edge."""
    random = np.random.default_rng(1)
    users = np.concatenate([random.integers(0, USERS - 10, 900), np.arange(USERS - 10)])
    items = np.concatenate([random.integers(0, ITEMS - 10, 900), np.zeros(USERS - 10, int)])
    return graph.adjacency(csr.from_pairs(users, items, (USERS, ITEMS)), ITEMS, dtype)


def table(dtype="float32"):
    return jnp.asarray(np.random.default_rng(2).standard_normal((USERS + ITEMS, DIM)), dtype)


@pytest.mark.parametrize("name", propagation.LAYOUTS)
def test_product_is_scipys(name, dtype):
    matrix = adjacency(dtype)
    entries = np.asarray(matrix.data), np.asarray(matrix.indices).T
    expected = scipy.sparse.coo_matrix(entries, matrix.shape).tocsr() @ np.asarray(table(dtype))
    found = jax.jit(propagation.propagate)(propagation.prepare(matrix, name), table(dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", propagation.LAYOUTS)
def test_gradient_is_that_of_the_dense_product(name, dtype):
    matrix, x = adjacency(dtype), table(dtype)
    layout, dense = propagation.prepare(matrix, name), matrix.todense()

    def loss(product):
        return lambda x: jnp.sum(jnp.sin(product(x)))

    found = jax.jit(jax.grad(loss(lambda x: propagation.propagate(layout, x))))(x)
    expected = jax.grad(loss(lambda x: jnp.matmul(dense, x, precision="highest")))(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * TOLERANCE[dtype])


@pytest.mark.parametrize("name", propagation.LAYOUTS)
def test_a_graph_of_one_edge(name):
    layout = propagation.prepare(graph.adjacency(csr.from_pairs([0], [0], (1, 1)), 1), name)
    np.testing.assert_array_equal(
        propagation.propagate(layout, jnp.asarray([[1.0, 2.0], [3.0, 4.0]])), [[3, 4], [1, 2]]
    )


@pytest.mark.parametrize("name", ["bcsr", "bucket"])
def test_no_temporary_grows_with_edges_times_width(name):
    random = np.random.default_rng(3)
    train = csr.from_pairs(random.integers(0, 300, 40_000), random.integers(0, 200, 40_000), (300, 200))
    matrix, x = graph.adjacency(train, 200), jnp.ones((500, 64))
    compiled = jax.jit(propagation.propagate).lower(propagation.prepare(matrix, name), x).compile()
    edges_times_width = matrix.nse * 64 * 4
    assert compiled.memory_analysis().temp_size_in_bytes < edges_times_width / 10


def test_auto_is_the_platforms_layout():
    assert propagation.choose("auto") == "bcsr"
    assert propagation.choose("bucket") == "bucket"
    assert isinstance(propagation.prepare(adjacency()), propagation.Bcsr)


def test_bcoo_is_kept_as_it_was_built():
    matrix = adjacency()
    assert propagation.prepare(matrix, "bcoo").matrix is matrix
