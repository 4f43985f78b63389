"""Orders of the table's rows: permutations that a product does not notice."""

import numpy as np
import pytest

from lgcn_jax import csr, graph, order

USERS, ITEMS = 400, 300


@pytest.fixture(scope="module")
def matrix():
    """Two communities whose members alternate by id, a hub, and nodes without an edge."""
    random = np.random.default_rng(0)
    users = random.integers(0, USERS - 5, 6000)
    items = random.integers(0, (ITEMS - 5) // 2, 6000) * 2 + users % 2
    users, items = np.append(users, np.arange(USERS)), np.append(items, np.zeros(USERS, int))
    return graph.normalized(csr.from_pairs(users, items, (USERS, ITEMS)), ITEMS)


def orders(matrix):
    degree = np.diff(matrix.indptr)
    return {
        "natural": order.natural(USERS + ITEMS),
        "local": order.local(matrix, USERS),
        **{f"dealt {n}": order.dealt(degree, USERS, n) for n in (1, 2, 3, 7)},
    }


def test_rows_and_nodes_are_each_others_inverse(matrix):
    for name, placed in orders(matrix).items():
        assert len(set(placed.row.tolist())) == USERS + ITEMS, name
        np.testing.assert_array_equal(placed.node[placed.row], np.arange(USERS + ITEMS), err_msg=name)
        assert (placed.node == -1).sum() == placed.num_rows - USERS - ITEMS, name


def test_an_arranged_matrix_gives_the_same_product_in_the_other_order(matrix):
    x = np.random.default_rng(1).standard_normal((USERS + ITEMS, 3))
    for name, placed in orders(matrix).items():
        there = np.zeros((placed.num_rows, 3))
        there[placed.row] = x
        arranged = order.arranged(matrix, placed)
        np.testing.assert_allclose((arranged @ there)[placed.row], matrix @ x, atol=1e-12, err_msg=name)
        assert arranged.has_sorted_indices, name


def test_the_local_order_keeps_users_before_items_and_communities_together(matrix):
    placed = order.local(matrix, USERS)
    assert placed.row[:USERS].max() < USERS <= placed.row[USERS:].min()
    connected = np.diff(matrix.indptr)[:USERS] > 1
    community = np.argsort(placed.row[:USERS])
    community = (community % 2)[connected[community]]
    assert (
        np.abs(np.diff(community)).sum() < 80
    )  # of about 400 changes in the order of ids; parts are cut at equal edges


@pytest.mark.parametrize("shares", [2, 3, 7])
def test_dealt_rows_hold_equal_numbers_of_edges_and_each_share_ends_without_a_node(matrix, shares):
    degree = np.diff(matrix.indptr)
    placed = order.dealt(degree, USERS, shares)
    size = placed.num_rows // shares
    edges = np.bincount(placed.row // size, degree, minlength=shares)
    assert edges.max() - edges.min() <= degree.max()  # nobody can cut the hub
    assert (placed.node[size - 1 :: size] == -1).all()
    for share in placed.node.reshape(shares, size):
        nodes = share[share >= 0]
        assert (np.diff(nodes) > 0).all()


def test_tiny_graphs_can_be_ordered():
    matrix = graph.normalized(csr.from_pairs([0], [0], (1, 1)), 1)
    assert sorted(order.local(matrix, 1).row.tolist()) == [0, 1]
