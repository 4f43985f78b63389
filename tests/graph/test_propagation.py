"""Every layout against SciPy's product and the dense gradient."""

import contextlib
import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from lgcn_jax.data import csr
from lgcn_jax.graph import normalization, propagation
from lgcn_jax.graph.compressed import BcsrLayout
from lgcn_jax.graph.layout import max_padded_sizes
from lgcn_jax.graph.propagation import LAYOUTS

USERS, ITEMS, DIM = 150, 90, 16
WORKING = propagation.available_layouts()
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}


@pytest.fixture(params=TOLERANCE)
def dtype(request):
    with jax.enable_x64(True) if request.param == "float64" else contextlib.nullcontext():
        yield request.param


def matrix_of(dtype="float32"):
    """A random graph in which item 0 is everybody's, and some nodes have no edge."""
    random = np.random.default_rng(1)
    users = np.concatenate([random.integers(0, USERS - 10, 900), np.arange(USERS - 10)])
    items = np.concatenate([random.integers(0, ITEMS - 10, 900), np.zeros(USERS - 10, int)])
    return normalization.normalized_adjacency(csr.from_pairs(users, items, (USERS, ITEMS)), ITEMS, dtype=dtype)


def table(dtype="float32"):
    return jnp.asarray(np.random.default_rng(2).standard_normal((USERS + ITEMS, DIM)), dtype)


@pytest.mark.parametrize("name", WORKING)
def test_product_is_scipys(name, dtype):
    matrix = matrix_of(dtype)
    expected = matrix @ np.asarray(table(dtype))
    found = jax.jit(propagation.propagate)(propagation.make_layout(matrix, name), table(dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", WORKING)
def test_gradient_is_that_of_the_dense_product(name, dtype):
    matrix, x = matrix_of(dtype), table(dtype)
    layout, dense = propagation.make_layout(matrix, name), jnp.asarray(matrix.todense())

    def loss(product):
        return lambda x: jnp.sum(jnp.sin(product(x)))

    found = jax.jit(jax.grad(loss(lambda x: propagation.propagate(layout, x))))(x)
    expected = jax.grad(loss(lambda x: jnp.matmul(dense, x, precision="highest")))(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * TOLERANCE[dtype])


NODES = {
    "few": [3, 7, 7, USERS + 5, 3, USERS - 1],  # repeats, and a node without an edge
    "the hub": [USERS] * 3 + list(range(40)),
    "all, twice": [*range(USERS + ITEMS), *range(USERS + ITEMS)],  # more entries than Bcsr has capacity for
}


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("name", WORKING)
def test_rows_and_spread_are_a_product_and_its_transpose(name, nodes, dtype):
    matrix, x, nodes = matrix_of(dtype), table(dtype), jnp.asarray(NODES[nodes], jnp.int32)
    layout, dense = propagation.make_layout(matrix, name), np.asarray(matrix.todense())
    assert layout.num_rows == USERS + ITEMS
    found = jax.jit(lambda layout, x: layout.product_at(x, nodes))(layout, x)
    np.testing.assert_allclose(found, (dense @ np.asarray(x))[nodes], rtol=0, atol=TOLERANCE[dtype])
    rows = np.asarray(x)[np.arange(len(nodes)) % len(x)]
    sparse_table = np.zeros_like(np.asarray(x))
    np.add.at(sparse_table, np.asarray(nodes), rows)
    found = jax.jit(lambda layout, rows: layout.product_of_rows(rows, nodes))(layout, jnp.asarray(rows))
    np.testing.assert_allclose(found, dense @ sparse_table, rtol=0, atol=4 * TOLERANCE[dtype])


def test_the_cases_take_both_branches_of_bcsr():
    matrix = matrix_of()
    degree, padded_sizes = np.diff(matrix.indptr), matrix.nnz // BcsrLayout.SHARE
    entries = {case: degree[nodes].sum() for case, nodes in NODES.items()}
    assert 0 < entries["few"] < padded_sizes < entries["all, twice"]


@pytest.mark.parametrize("weights", [(1.0,), (0.25, 0.75), (0.1, 0.2, 0.3, 0.4)])
@pytest.mark.parametrize("name", WORKING)
def test_combined_rows_and_their_gradient_are_those_of_dense_powers(name, weights, dtype):
    matrix, x, nodes = matrix_of(dtype), table(dtype), jnp.asarray(NODES["few"], jnp.int32)
    layout, dense = propagation.make_layout(matrix, name), jnp.asarray(matrix.todense())

    def powers(x):
        layers = [x]
        for _ in weights[1:]:
            layers.append(jnp.matmul(dense, layers[-1], precision="highest"))
        return sum(weight * layer for weight, layer in zip(weights, layers, strict=True))[nodes], x[nodes]

    def loss(rows):
        return lambda x: sum(jnp.sum(jnp.sin(part)) for part in rows(x))

    def combined(x):
        return propagation.combine_layers_at(layout, weights, x, nodes)

    for found, expected in zip(jax.jit(combined)(x), powers(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype])
    found, expected = jax.jit(jax.grad(loss(combined)))(x), jax.grad(loss(powers))(x)
    assert float(jnp.abs(expected).max()) > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * TOLERANCE[dtype])


@pytest.mark.parametrize("weights", [(1.0,), (0.25, 0.75), (0.1, 0.2, 0.3, 0.4)])
@pytest.mark.parametrize("shared", [None, (7, 9, USERS)])
def test_the_gradient_of_rows_cut_over_devices_is_that_of_all(weights, shared):
    """On each device, and also where sums are rounded: node 7 has rows in both parts, and among the shared ones."""
    shared = None if shared is None else jnp.asarray(shared, jnp.int32)
    layout, x = propagation.make_layout(matrix_of(), "bcsr", "bfloat16"), table()
    nodes = jnp.asarray([[3, 7, 7, USERS], [USERS + 5, 3, 7, USERS - 1]], jnp.int32)  # two parts of a batch of four

    def gradient(nodes, axis=None):
        def loss(x):
            found = propagation.combine_layers_at(layout, weights, x, nodes, shared, axis)
            own = sum(jnp.sum(jnp.sin(part[: nodes.size])) for part in found)
            common = sum(jnp.sum(jnp.sin(part[nodes.size :])) for part in found)  # both devices have it
            return own + (0.5 if axis else 1.0) * common

        return jax.grad(loss)(x)

    halves = jnp.stack(jnp.split(nodes, 2, axis=1))
    found = jax.pmap(lambda nodes: gradient(nodes, "data"), axis_name="data")(halves)
    expected = jax.jit(gradient)(nodes)
    assert float(jnp.abs(expected).max()) > 0.1
    for place in found:
        np.testing.assert_allclose(place, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", WORKING)
def test_blocks_in_one_room_have_equal_shapes_and_add_up(name, dtype):
    """Of a matrix cut into two rows and three columns of blocks, one of them without an entry."""
    matrix, x = matrix_of(dtype), table(dtype)
    edges = [0, 100, 230, USERS + ITEMS]
    blocks = [[matrix[rows, a:b].tocsr() for a, b in itertools.pairwise(edges)] for rows in (slice(0, 100), [3] * 100)]
    blocks[1][2] = scipy.sparse.csr_matrix(blocks[1][2].shape, dtype=dtype)
    for start, column in zip(edges, zip(*blocks, strict=True), strict=False):
        padded_sizes = max_padded_sizes([LAYOUTS[name].padded_sizes(block) for block in column])
        made = [LAYOUTS[name].prepare(block, padded_sizes) for block in column]
        assert len({str(jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), one)) for one in made}) == 1
        for block, one in zip(column, made, strict=True):
            part = x[start : start + block.shape[1]]
            found, nodes = jax.device_put(one).product(part), jnp.asarray([99, 0, 99])
            np.testing.assert_allclose(found, block @ np.asarray(part), rtol=0, atol=TOLERANCE[dtype])
            np.testing.assert_allclose(
                jax.device_put(one).product_at(part, nodes), found[nodes], rtol=0, atol=TOLERANCE[dtype]
            )


@pytest.mark.parametrize("name", WORKING)
def test_a_graph_of_one_edge(name):
    layout = propagation.make_layout(normalization.normalized_adjacency(csr.from_pairs([0], [0], (1, 1)), 1), name)
    np.testing.assert_array_equal(
        propagation.propagate(layout, jnp.asarray([[1.0, 2.0], [3.0, 4.0]])), [[3, 4], [1, 2]]
    )


@pytest.mark.parametrize("name", ["bcsr", "bucket"])
def test_no_temporary_grows_with_edges_times_width(name):
    random = np.random.default_rng(3)
    train = csr.from_pairs(random.integers(0, 300, 40_000), random.integers(0, 200, 40_000), (300, 200))
    matrix, x = normalization.normalized_adjacency(train, 200), jnp.ones((500, 64))
    compiled = jax.jit(propagation.propagate).lower(propagation.make_layout(matrix, name), x).compile()
    edges_times_width = matrix.nnz * 64 * 4
    assert compiled.memory_analysis().temp_size_in_bytes < edges_times_width / 10


def with_dtype(x):
    return np.asarray(jnp.asarray(x, jnp.bfloat16), x.dtype)


@pytest.mark.parametrize("name", WORKING)
def test_bfloat16_rounds_what_a_product_reads_and_nothing_else(name, dtype):
    matrix, x, nodes = matrix_of(dtype), np.asarray(table(dtype)), jnp.asarray(NODES["few"], jnp.int32)
    layout, dense = propagation.make_layout(matrix, name, "bfloat16"), matrix.toarray()
    found = jax.jit(propagation.propagate)(layout, x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, dense @ with_dtype(x), rtol=0, atol=TOLERANCE[dtype])

    @jax.jit
    def rows_and_gradient(x):
        found, pull = jax.vjp(lambda x: propagation.combine_layers_at(layout, (0.5, 0.3, 0.2), x, nodes)[0], x)
        return found, pull(found)[0]

    found, gradient = rows_and_gradient(x)
    inner = np.asarray(0.3, dtype) * x + np.asarray(0.2, dtype) * (dense @ with_dtype(x))
    expected = 0.5 * x + dense @ with_dtype(inner)
    np.testing.assert_allclose(found, expected[np.asarray(nodes)], rtol=0, atol=2e-3)  # `inner` is rounded too
    # Backwards, the sums of equal nodes are rounded.
    summed = np.zeros_like(x)
    np.add.at(summed, np.asarray(nodes), np.asarray(found))
    last = dense @ with_dtype(np.asarray(0.2, dtype) * summed) + np.asarray(0.3, dtype) * summed
    np.testing.assert_allclose(gradient, dense @ with_dtype(last) + 0.5 * summed, rtol=0, atol=2e-3)


def step_for(name, dtype, platform):
    """The text of the rows of three layers and their gradient, lowered for a platform that need not be there."""
    matrix, nodes = matrix_of(), jnp.asarray(NODES["the hub"], jnp.int32)
    layout = LAYOUTS[name].prepare(matrix)
    layout = propagation.LowPrecisionLayout(layout) if dtype == "bfloat16" else layout

    def loss(x, layout):
        return jnp.sum(jnp.sin(propagation.combine_layers_at(layout, (0.25,) * 4, x, nodes)[0]))

    return jax.jit(jax.grad(loss)).trace(table(), layout).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_on_a_gpu_has_no_scatter_that_collides(dtype):
    text = step_for("bucket", dtype, "cuda")
    scatters = [line for line in text.splitlines() if '"stablehlo.scatter"' in line]
    assert scatters
    assert all("unique_indices = true" in line for line in scatters)
    assert ("bf16" in text) == (dtype == "bfloat16")


def test_cusparse_is_lowered_to_cusparse(monkeypatch):
    """With a stand-in for the part of JAX that asks cuSPARSE for a buffer size, which needs a GPU."""
    gpu_sparse = pytest.importorskip("jax._src.lib").gpu_sparse
    stand_in = types.SimpleNamespace(build_csr_matmat_descriptor=lambda *_: (8, b""))
    monkeypatch.setattr(gpu_sparse, "_cusparse", stand_in)
    text = step_for("cusparse", "float32", "cuda")
    assert text.count("cusparse_csr_matmat") == 6


def test_only_the_layout_without_scatters_claims_the_same_bits_on_a_gpu():
    assert [name for name, layout in LAYOUTS.items() if "gpu" in layout.DETERMINISTIC] == ["bucket"]


def test_cusparse_does_not_work_on_a_cpu():
    assert [name for name in LAYOUTS if name not in WORKING] == ["cusparse"]


def test_auto_is_the_platforms_layout():
    assert propagation.resolve_layout_name("auto") == "bcsr"
    assert propagation.resolve_layout_name("bucket") == "bucket"
    assert isinstance(propagation.make_layout(matrix_of()), BcsrLayout)
