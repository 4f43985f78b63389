"""Orders of the table's rows: permutations that a product does not notice."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from lgcn_jax.data import csr
from lgcn_jax.graph import normalization, order

USERS, ITEMS = 400, 300

# sha256 of the rows of `golden` in local order, int32 of little end. A change here means that runs before and after it
# differ in the last bits of their numbers: the changelog must say so.
GOLDEN = "24518e4b68322ebd5dc0a88a603af711b2d38190a20581c86be0f011566ac154"


def golden():
    """Three communities with hubs, nodes without an edge, and a pair of nodes apart, made without random numbers."""
    users, turns = np.divmod(np.arange(5_000 * 8), 8)
    items = (users * users + 7 * turns * users + turns**3) % 990 // 3 * 3 + users % 3
    items[turns == 0] %= 30
    pairs = np.append(users, 5_009), np.append(items, 999)
    return normalization.normalized_adjacency(csr.from_pairs(*pairs, (5_010, 1_000)), 1_000), 5_010


def digest(placed):
    return hashlib.sha256(placed.row_of_node.astype("<i4").tobytes()).hexdigest()


@pytest.fixture(scope="module")
def matrix():
    """Two communities whose members alternate by id, a hub, and nodes without an edge."""
    random = np.random.default_rng(0)
    users = random.integers(0, USERS - 5, 6000)
    items = random.integers(0, (ITEMS - 5) // 2, 6000) * 2 + users % 2
    users, items = np.append(users, np.arange(USERS)), np.append(items, np.zeros(USERS, int))
    return normalization.normalized_adjacency(csr.from_pairs(users, items, (USERS, ITEMS)), ITEMS)


def orders(matrix):
    degree = np.diff(matrix.indptr)
    return {
        "natural": order.identity_order(USERS + ITEMS),
        "local": order.locality_order(matrix, USERS),
        **{f"dealt {n}": order.balanced_order(degree, USERS, n) for n in (1, 2, 3, 7)},
    }


def test_rows_and_nodes_are_each_others_inverse(matrix):
    for name, placed in orders(matrix).items():
        assert len(set(placed.row_of_node.tolist())) == USERS + ITEMS, name
        np.testing.assert_array_equal(placed.node_of_row[placed.row_of_node], np.arange(USERS + ITEMS), err_msg=name)
        assert (placed.node_of_row == -1).sum() == placed.num_rows - USERS - ITEMS, name


def test_an_arranged_matrix_gives_the_same_product_in_the_other_order(matrix):
    x = np.random.default_rng(1).standard_normal((USERS + ITEMS, 3))
    for name, placed in orders(matrix).items():
        there = np.zeros((placed.num_rows, 3))
        there[placed.row_of_node] = x
        arranged = order.permute(matrix, placed)
        np.testing.assert_allclose((arranged @ there)[placed.row_of_node], matrix @ x, atol=1e-12, err_msg=name)
        assert arranged.has_sorted_indices, name


def test_the_local_order_keeps_users_before_items_and_communities_together(matrix):
    placed = order.locality_order(matrix, USERS)
    assert placed.row_of_node[:USERS].max() < USERS <= placed.row_of_node[USERS:].min()
    connected = np.diff(matrix.indptr)[:USERS] > 1
    community = np.argsort(placed.row_of_node[:USERS])
    community = (community % 2)[connected[community]]
    assert (
        np.abs(np.diff(community)).sum() < 80
    )  # of about 400 changes in the order of ids; parts are cut at equal edges


@pytest.mark.parametrize("shares", [2, 3, 7])
def test_dealt_rows_hold_equal_numbers_of_edges_and_each_share_ends_without_a_node(matrix, shares):
    degree = np.diff(matrix.indptr)
    placed = order.balanced_order(degree, USERS, shares)
    size = placed.num_rows // shares
    edges = np.bincount(placed.row_of_node // size, degree, minlength=shares)
    assert edges.max() - edges.min() <= degree.max()  # nobody can cut the hub
    assert (placed.node_of_row[size - 1 :: size] == -1).all()
    for share in placed.node_of_row.reshape(shares, size):
        nodes = share[share >= 0]
        assert (np.diff(nodes) > 0).all()


def test_tiny_graphs_can_be_ordered():
    matrix = normalization.normalized_adjacency(csr.from_pairs([0], [0], (1, 1)), 1)
    assert sorted(order.locality_order(matrix, 1).row_of_node.tolist()) == [0, 1]


def test_a_graph_without_an_edge_can_be_ordered():
    matrix = normalization.normalized_adjacency(csr.empty(350), 250)
    assert sorted(order.locality_order(matrix, 350).row_of_node.tolist()) == list(range(600))


def test_sums_over_the_largest_graph_do_not_overflow():
    """As many edges as an int32 counts, and points as far apart as they can be: cut where they differ most."""
    points, degree = np.zeros((400, order.VECTORS), np.int64), np.full(400, (2**31 - 1) // 400)
    points[:, 3] = np.where(np.arange(400) % 2, 1, -1) << order.POINT
    points[:, 5] = np.where(np.arange(400) % 4 < 2, 1, -1) << 12  # wins if the other's variance wraps around
    for half in order._bisect(points, degree, np.arange(400), 1):
        assert len(half) in (199, 201)  # a node on the cut goes to the second half
        assert np.bincount(half % 2, minlength=2).min() <= 1


def test_the_local_order_is_the_same_everywhere():
    assert digest(order.locality_order(*golden())) == GOLDEN


def test_the_local_order_does_not_depend_on_the_threads_or_kernels_of_linear_algebra():
    program = "import test_order as t; print(t.digest(t.order.locality_order(*t.golden())))"
    setting = {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Prescott"}
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    ran = [sys.executable, "-c", program]
    found = subprocess.run(ran, env=os.environ | setting | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert found.stdout.strip() == GOLDEN, found.stderr


def test_the_local_order_is_computed_in_integers(monkeypatch):
    """No array that a function of the module holds is of floats, nor are the matrix's values read."""
    for name in ("qr", "eigh", "eig", "svd", "norm", "inv", "solve", "cholesky"):
        monkeypatch.delattr(np.linalg, name)
    matrix, num_users = golden()
    matrix.data[:] = np.nan
    kinds = {}

    def profile(frame, event, _):
        if event == "return" and frame.f_code.co_filename == order.__file__:
            for name, value in frame.f_locals.items():
                if isinstance(value, np.ndarray | np.generic):
                    kinds.setdefault((frame.f_code.co_name, name), set()).add(value.dtype.kind)

    sys.setprofile(profile)
    try:
        placed = order.locality_order(matrix, num_users)
    finally:
        sys.setprofile(None)
    assert {("_spectral_embedding", "vectors"), ("_bisect", "points"), ("_bisect", "axis")} <= kinds.keys()
    assert set().union(*kinds.values()) <= set("iu"), kinds
    assert digest(placed) == GOLDEN
