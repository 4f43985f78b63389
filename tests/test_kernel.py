"""The Pallas kernel: interpreted here for its numbers, and lowered for a GPU as far as that needs none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from lgcn_jax.kernel import ROWS, UNROLLED, Pieces

WIDTH = Pieces.WIDTH


def matrix_of(degrees, columns=400):
    """A matrix whose rows have these degrees, of distinct random neighbours."""
    random = np.random.default_rng(4)
    rows = [np.sort(random.choice(columns, degree, replace=False)) for degree in degrees]
    starts = np.concatenate([[0], np.cumsum(degrees)])
    indices = np.concatenate(rows).astype(np.int32)
    values = random.standard_normal(len(indices)).astype(np.float32)
    return scipy.sparse.csr_matrix((values, indices, starts), shape=(len(degrees), columns))


DEGREES = {
    "short": [3, 0, 1, 7, 2],
    "at the edges of pieces": [WIDTH - 1, WIDTH, WIDTH + 1, 2 * WIDTH, 2 * WIDTH + 1, 5],
    "hubs among many": [1, 300] * 10 + [0] * 20,
    "nothing": [0] * 3,
}


@pytest.mark.parametrize("dim", [1, 20, 64, 130])
@pytest.mark.parametrize("degrees", DEGREES)
def test_product_is_scipys(degrees, dim):
    matrix = matrix_of(DEGREES[degrees])
    x = np.random.default_rng(5).standard_normal((matrix.shape[1], dim)).astype(np.float32)
    found = jax.jit(Pieces.product)(jax.device_put(Pieces.prepare(matrix)), x)
    np.testing.assert_allclose(found, matrix @ x, rtol=0, atol=1e-4)


def test_a_narrow_table_is_summed_in_the_matrix_s_dtype():
    matrix = matrix_of(DEGREES["hubs among many"])
    x = jax.random.normal(jax.random.key(0), (matrix.shape[1], 16)).astype(jnp.bfloat16)
    layout = jax.device_put(Pieces.prepare(matrix))
    found = layout.product(x)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, layout.product(x.astype(jnp.float32)))


def test_no_piece_is_longer_than_the_width_and_the_longest_come_first():
    matrix = matrix_of(DEGREES["hubs among many"])
    layout = Pieces.prepare(matrix)
    turns = np.diff(layout.pieces.turns)
    assert turns.max() * UNROLLED == WIDTH
    assert (np.diff(turns) <= 0).all()
    assert layout.num_parts == 10 * 3
    whole = [row for row in range(40) if matrix[row].nnz <= WIDTH]
    targets = np.sort(layout.pieces.targets)
    np.testing.assert_array_equal(targets[:60], [*whole, *range(40, 70)])
    assert (targets[60:] == 70).all()  # nowhere


def test_padding_is_little_where_degrees_differ_much():
    degrees = np.random.default_rng(6).zipf(1.8, 4000).clip(1, 400)
    room = Pieces.room(matrix_of(degrees))
    assert room["pieces: turns"] * UNROLLED * ROWS < 2.5 * degrees.sum()  # of zipf's ones, UNROLLED - 1 are padding


@pytest.mark.parametrize(("dim", "dtype"), [(64, "float32"), (64, "bfloat16"), (20, "float32"), (300, "float32")])
def test_it_lowers_to_triton_for_cuda(dim, dtype):
    layout = Pieces.prepare(matrix_of(DEGREES["hubs among many"]))
    traced = jax.jit(Pieces.product).trace(layout, jax.ShapeDtypeStruct((400, dim), dtype))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("custom_call") == 2  # pieces, joins
    assert "triton" in text
    assert "scatter" not in text
