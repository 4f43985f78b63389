"""Each baseline in float64 against its formula in dense NumPy, on a small world with people and things of no pair."""

import dataclasses

import jax
import numpy as np
import oracle
import pytest

import lgcn_jax as lg
from lgcn_jax.baselines import BASELINES, baseline, ease, sgfcf, singular
from lgcn_jax.baselines.matrices import matrix_from_arrays, train_matrix
from lgcn_jax.data import csr
from lgcn_jax.errors import InputError


@pytest.fixture(scope="module")
def world():
    made = lg.load("synthetic", num_users=60, num_items=45, num_interactions=500)
    users, items = csr.row_of_entry(made.train), made.train.indices
    return dataclasses.replace(made, train=csr.filter_entries(made.train, (users != 3) & (items != 7)))


@pytest.fixture(scope="module")
def train(world):
    return oracle.dense(world.train, world.num_items)


@pytest.fixture(autouse=True, scope="module")
def x64():
    with jax.enable_x64(True):
        yield


def scores(name, world, **settings):
    """All scores, by chunks of unequal users that come twice."""
    baseline = BASELINES[name](**settings)
    scorer = jax.device_put(baseline.scorer(baseline.solve(world, np.float64)))
    users = np.array([*range(world.num_users), 0, 0, 59, 3])
    found = np.asarray(jax.jit(lambda scorer, users: scorer.scores(users))(scorer, users.astype(np.int32)))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[60:], found[[0, 0, 59, 3]], atol=1e-12)
    return found[:60]


def power(degrees, exponent):
    return np.where(degrees > 0, np.maximum(degrees, 1) ** exponent, 0.0)


def normalized(train):
    return power(train.sum(1), -0.5)[:, None] * train * power(train.sum(0), -0.5)


def similarities(columns, kind, shrink):
    """Of the columns of a 0/1 matrix, by the definitions; those of a column without a pair are 0."""
    centered = columns - columns.mean(0) if kind == "pearson" else columns
    length = np.linalg.norm(centered, axis=0)
    divisor = np.outer(length, length) + shrink
    found = np.where(divisor > 0, centered.T @ centered / np.where(divisor > 0, divisor, 1), 0)
    return found * (1 - np.eye(len(found)))


def nearest(similar, count):
    kept = np.zeros_like(similar)
    for row, values in enumerate(similar):
        best = np.argsort(-np.round(values, 12), kind="stable")[:count]
        kept[row, best] = np.maximum(values[best], 0)
    return kept


@pytest.mark.parametrize("kind", ["cosine", "pearson"])
@pytest.mark.parametrize("whole", [True, False])
def test_itemknn(world, train, kind, whole):
    similar = nearest(similarities(train, kind, 0.5), 5)
    mean = np.zeros(world.num_items)
    if whole:
        similar /= np.maximum(similar.sum(1, keepdims=True), 1e-300)
        mean = train.mean(0)
    expected = (train - mean) @ similar.T + mean
    found = scores("itemknn", world, neighbors=5, similarity=kind, shrink=0.5, normalize=whole, center=whole)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["cosine", "pearson"])
def test_userknn(world, train, kind):
    expected = nearest(similarities(train.T, kind, 0), 7) @ train
    np.testing.assert_allclose(scores("userknn", world, neighbors=7, similarity=kind), expected, atol=1e-12)


@pytest.mark.parametrize("block", [4096, 45, 16])
def test_ease(world, train, monkeypatch, block):
    """Solved as one block, and as several with a rest."""
    monkeypatch.setattr(ease, "BLOCK", block)
    inverse = np.linalg.inv(train.T @ train + 20 * np.eye(world.num_items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    np.testing.assert_allclose(scores("ease", world, l2=20), train @ weights, atol=1e-12)


def test_ease_says_that_l2_is_too_small_for_its_numbers():
    alike = np.ones((3, 3), np.float32)  # three items of the same users
    with pytest.raises(InputError, match=r"--l2: found .* not positive definite in float32"):
        ease._invert_symmetric(alike)


def low_pass(train, rank, exponent):
    """[num_items, num_items], on the right of the users' rows."""
    vectors = np.linalg.svd(normalized(train))[2][:rank].T
    return power(train.sum(0), -exponent)[:, None] * (vectors @ vectors.T) * power(train.sum(0), exponent)


@pytest.mark.parametrize("alpha", [0.3, 0.0])
def test_gfcf(world, train, alpha):
    graph = normalized(train).T @ normalized(train)
    expected = train @ graph + alpha * train @ low_pass(train, 6, 0.5)
    np.testing.assert_allclose(scores("gf-cf", world, rank=6, alpha=alpha), expected, atol=1e-11)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_chebycf(world, train, order):
    """As the published code, which interpolates from values at the other points of Chebyshev's, rounded."""
    graph = np.eye(world.num_items) - 2 * normalized(train).T @ normalized(train)
    points = np.round(np.cos((order - np.arange(order + 1)) / order * np.pi), 3)
    values = np.round(0.5 + np.where(points < 0, 0.5, -0.5) * np.abs(points) ** 1.5, 3)
    nodes = np.cos((order + 1 + 0.5 - np.arange(1, order + 2)) / (order + 1) * np.pi)
    fitted = np.polynomial.Chebyshev(np.linalg.solve(np.polynomial.chebyshev.chebvander(nodes, order), values))
    eigenvalues, vectors = np.linalg.eigh(graph)
    degree, filtered = train.sum(0), vectors * fitted(eigenvalues) @ vectors.T
    expected = power(degree, -0.4)[:, None] * filtered * power(degree, 0.4)
    expected = train @ (expected + 0.2 * low_pass(train, 6, 0.4))
    np.testing.assert_allclose(scores("chebycf", world, order=order, rank=6), expected, atol=1e-11)


@pytest.mark.parametrize("solver", ["euler", "rk4"])
@pytest.mark.parametrize(("average", "sharpen_ideal"), [(False, True), (True, True), (False, False)])
def test_bspm(world, train, solver, average, sharpen_ideal):
    """The solvers are those of any equation dy/dt = f(y)."""
    graph, step = normalized(train).T @ normalized(train), 1.5 / 3

    def after_a_step(y):
        def f(y):
            return -y @ graph

        if solver == "euler":
            return y + step * f(y)
        first = f(y)
        second = f(y + step / 2 * first)
        third = f(y + step / 2 * second)
        return y + step / 6 * (first + 2 * second + 2 * third + f(y + step * third))

    blurred, ideal = train @ graph, 0.2 * train @ low_pass(train, 6, 0.5)
    states = [blurred + ideal * sharpen_ideal]
    for _ in range(3):
        states.append(after_a_step(states[-1]))
    expected = np.mean([blurred, *states[1:]], 0) if average else states[-1]
    expected = expected if sharpen_ideal else expected + ideal
    settings = {"solver": solver, "average": average, "sharpen_ideal": sharpen_ideal}
    found = scores("bspm", world, rank=6, time=1.5, steps=3, **settings)
    np.testing.assert_allclose(found, expected, atol=1e-11)


def test_slim(world, train):
    """The best weights: the gradient is 0 where a weight is positive, and not below 0 where it is 0."""
    found = BASELINES["slim"](neighbors=6, l1=0.5, l2=2, sweeps=400).solve(world, np.float64)
    weights = matrix_from_arrays(found, "weights", world.num_items).toarray()
    allowed = nearest(similarities(train, "cosine", 0), 6).T > 0
    gradient = train.T @ (train @ weights - train) + 2 * weights + 0.5
    assert ((weights > 0) <= allowed).all()
    assert (weights > 0).sum() > world.num_items
    np.testing.assert_allclose(gradient[weights > 0], 0, atol=1e-10)
    assert gradient[allowed & (weights == 0)].min() > -1e-10
    settings = {"neighbors": 6, "l1": 0.5, "l2": 2, "sweeps": 400}
    np.testing.assert_allclose(scores("slim", world, **settings), train @ weights, atol=1e-12)


def test_ials(world, train):
    """Row by row, from the same first vectors."""
    users, items = np.zeros((world.num_users, 4)), np.zeros((world.num_items, 4))
    items[:] = np.random.default_rng(5).standard_normal(items.shape) * 0.1 / 2
    for _ in range(3):
        for own, others, pairs in ((users, items, train), (items, users, train.T)):
            for row, has in enumerate(pairs):
                penalty = 0.02 * (has.sum() + 0.3 * len(others)) ** 0.7
                chosen = others[has > 0]
                square = chosen.T @ chosen + 0.3 * others.T @ others + penalty * np.eye(4)
                own[row] = np.linalg.solve(square, chosen.sum(0))
    found = scores("ials", world, width=4, unobserved=0.3, l2=0.02, nu=0.7, sweeps=3, seed=5)
    np.testing.assert_allclose(found, users @ items.T, atol=1e-10)


def homophily(rows):
    """Pair by pair."""
    found = np.zeros(len(rows))
    for row, has in enumerate(rows):
        columns = np.flatnonzero(has)
        pairs = [(a, b) for a in columns for b in columns if a != b]
        others = np.delete(rows, row, axis=0)
        found[row] = sum(bool((others[:, a] * others[:, b]).any()) for a, b in pairs) / max(len(pairs), 1)
    return found


@pytest.mark.parametrize("block", [1024, 16])
def test_sgfcf(world, train, monkeypatch, block):
    """With pairs counted in one block, and in several with a rest."""
    monkeypatch.setattr(sgfcf, "BLOCK", block)
    normal = power(train.sum(1) + 2, -0.4)[:, None] * train * power(train.sum(0) + 2, -0.4)
    left, values, right = np.linalg.svd(normal)
    left, values, right = left[:, :6], values[:6], right.T[:, :6]
    found = [homophily(train), homophily(train.T)]
    low, high = zip(*[(each.min(), each.max()) for each in found], strict=True)
    own = [0.5 + (2 - 0.5) * (each - a) / (b - a) for each, a, b in zip(found, low, high, strict=True)]
    spectrum = (values / values.max())[None, :]
    rated = (left * spectrum ** own[0][:, None]) @ (right * spectrum ** own[1][:, None]).T
    smooth = normal @ normal.T @ normal
    someone = (train.sum(1) > 0)[:, None]
    rated, smooth = (each * someone / np.where(someone, each.sum(1, keepdims=True), 1) for each in (rated, smooth))
    settings = {"rank": 6, "alpha": 2, "eps": 0.4, "gamma": 0.7, "beta_low": 0.5, "beta_high": 2}
    np.testing.assert_allclose(scores("sgfcf", world, **settings), rated + 0.7 * smooth, atol=1e-9)


@pytest.mark.parametrize("name", ["gf-cf", "chebycf", "bspm", "sgfcf"])
def test_a_rank_above_the_matrix_s_is_refused(world, name):
    for rank, limit in ((46, "at most 45, the smaller of"), (45, "at most 44, the rank of")):
        with pytest.raises(InputError, match=f"--rank: found {rank}, expected {limit}"):
            BASELINES[name](rank=rank).solve(world)


@pytest.mark.parametrize(
    ("small", "needed", "of"),
    [
        (2048, 3 * 8 * 45**2, "the decomposition of 45 x 45 numbers"),
        (0, 3 * 8 * 27**2 + (27 + 6) * 45 * 4, "27 vectors of 45 numbers, of which 6 singular vectors are made"),
    ],
)
def test_a_rank_that_has_no_room_is_refused(world, monkeypatch, small, needed, of):
    monkeypatch.setattr(singular, "SMALL", small)
    monkeypatch.setattr(baseline, "total_bytes", lambda: needed)
    assert BASELINES["gf-cf"](rank=6).solve(world)["users"].shape == (60, 6)
    monkeypatch.setattr(baseline, "total_bytes", lambda: needed - 1)
    with pytest.raises(InputError, match=rf"--rank=6: found 0\.0 GB needed for {of}, expected at most the 0\.0 GB"):
        BASELINES["gf-cf"](rank=6).solve(world)


def test_singular_vectors_of_a_large_matrix_are_those_of_a_decomposition(monkeypatch):
    """By Lanczos' iteration, in either orientation."""
    made = lg.load("synthetic", num_users=400, num_items=300, num_interactions=6000)
    matrix = train_matrix(made, np.float64)
    expected = np.linalg.svd(matrix.toarray(), full_matrices=False)
    monkeypatch.setattr(singular, "SMALL", 0)
    monkeypatch.setattr(singular, "TOLERANCE", 1e-12)
    for given, vectors in ((matrix, expected[2].T), (matrix.T.tocsr(), expected[0])):
        values, found = singular.right_singular_vectors(given, 20)
        np.testing.assert_allclose(values, expected[1][:20], rtol=1e-10)
        np.testing.assert_allclose(found @ found.T, vectors[:, :20] @ vectors[:, :20].T, atol=1e-8)
