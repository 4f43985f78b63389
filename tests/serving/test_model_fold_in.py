"""Folding in as users call it: forms of histories, known and new nodes, what is left out, and what is refused."""

import copy
import dataclasses

import numpy as np
import pytest

import lgcn_jax as lg
from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError

SETTINGS = {"embedding_dim": 8, "epochs": 3, "top_k": (5,), "batch_size": 512, "learning_rate": 0.01, "num_layers": 2}


@pytest.fixture(scope="module")
def data() -> Interactions:
    """Raw ids that are no numbers of the model: users 1000, 1010, ..., items as text."""
    plain = lg.load("synthetic", num_users=120, num_items=60, num_interactions=2500, validation_fraction=0.1)
    return dataclasses.replace(plain, user_ids=1000 + 10 * plain.user_ids, item_ids=texts(plain.num_items))


def texts(count: int) -> np.ndarray:
    return np.array([f"item{number:02}" for number in range(count)], object)


@pytest.fixture(scope="module")
def model(data) -> lg.LightGCN:
    return lg.LightGCN(**SETTINGS).fit(data, quiet=True)


@pytest.fixture(scope="module")
def weighted(data) -> lg.LightGCN:
    weights = np.random.default_rng(0).lognormal(0, 1, data.train.nnz).astype(np.float32)
    return lg.LightGCN(**SETTINGS).fit(dataclasses.replace(data, weights=weights), quiet=True)


def reference(model, data: Interactions, histories: list[dict[int, float]], weights=None) -> np.ndarray:
    """float64[n, d]: new users by dense products, from {number of an item: weight} each."""
    table = model._trained.table.astype(np.float64)
    a = np.zeros((len(table),) * 2)
    a[csr.row_of_entry(data.train), data.num_users + data.train.indices] = 1 if weights is None else weights
    a += a.T
    degree = a.sum(0)
    scale = np.array([1 / np.sqrt(d) if d else 0.0 for d in degree])
    a_hat = scale[:, None] * a * scale
    messages = (table + a_hat @ table)[data.num_users :] / 3  # K = 2, alpha = 1/3
    found = []
    for history in histories:
        item, weight = np.array(list(history)), np.array(list(history.values()))
        found.append(1.5 * (weight / np.sqrt(weight.sum() * (degree[data.num_users + item] + weight))) @ messages[item])
    return np.array(found)


HISTORIES = {5: ["item03", "item07"], 7: ["item59"], 6: ["item07", "item03", "item11"]}
NUMBERS = [{3: 1, 7: 1}, {59: 1}, {7: 1, 3: 1, 11: 1}]


def test_new_users_have_the_vectors_of_the_dense_reference(model, data):
    found = model.fold_in(HISTORIES, k=4)
    assert found.ids.tolist() == found.recommendations.users.tolist() == [5, 7, 6]
    assert not found.known.any()
    np.testing.assert_allclose(found.vectors, reference(model, data, NUMBERS), rtol=1e-5, atol=1e-7)


def test_recommendations_are_the_best_unseen_items(model):
    found = model.fold_in(HISTORIES, k=4)
    scores = found.vectors.astype(np.float64) @ model.item_embeddings.astype(np.float64).T
    for place, history in enumerate(NUMBERS):
        scores[place, list(history)] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :4]
    assert found.recommendations.ids.tolist() == model.items[best].tolist()
    np.testing.assert_allclose(found.recommendations.scores, np.take_along_axis(scores, best, 1), rtol=1e-4)
    everything = model.fold_in(HISTORIES, k=60, exclude_seen=False).recommendations
    assert np.isfinite(everything.scores).all()
    few = model.fold_in(HISTORIES, k=3, candidates=["item03", "item20", "item21"], exclude=["item21"]).recommendations
    assert few.columns()["item"].tolist() == ["item20", *sorted_by(found, 1, ["item03", "item20"], model), "item20"]


def sorted_by(found, place, items, model):
    scores = model.item_embeddings[[int(item[4:]) for item in items]] @ found.vectors[place]
    return [item for _, item in sorted(zip(-scores, items, strict=True))]


def test_all_forms_of_the_same_histories_are_one(model, data):
    users, items = zip(*[(user, item) for user, items in HISTORIES.items() for item in items], strict=True)
    ascending = [0, 2, 1]  # arrays have no order of users, so theirs is that of the ids
    expected = model.fold_in(HISTORIES, k=3).vectors[ascending]
    interactions = lg.read((list(users), list(items)), test=([5], ["item09"]))
    forms = [(list(users), list(items)), (np.array(users), np.array(items)), (users, items, None), interactions]
    for form in forms:
        found = model.fold_in(form, k=3)
        assert found.ids.tolist() == [5, 6, 7]
        np.testing.assert_array_equal(found.vectors, expected)
    twice = {user: [*items, *items] for user, items in HISTORIES.items()}
    np.testing.assert_array_equal(model.fold_in(twice, k=3).vectors[ascending], expected)  # a pair counts once


def test_a_known_user_without_news_has_the_trained_vector(model):
    found = model.fold_in({1000: [], 1010: []}, k=3)
    np.testing.assert_allclose(found.vectors, model.user_embeddings[:2], rtol=1e-5, atol=1e-7)
    assert found.known.all()
    lists = model.recommend([1000, 1010], k=3)
    assert found.recommendations.ids.tolist() == lists.ids.tolist()


def test_a_known_users_news_are_added_and_what_was_seen_is_left_out(model, data):
    seen = csr.take_rows(data.seen("test"), np.array([1]))
    new = int(np.setdiff1d(np.arange(60), seen.indices)[0])
    had = model.items[data.train.indices[data.train.indptr[1]]]
    found = model.fold_in({1010: [model.items[new], had]}, k=60)
    ranked = found.recommendations.columns()["item"].tolist()
    assert sorted(ranked) == sorted(set(model.items) - set(model.items[seen.indices]) - {model.items[new]})
    again = model.fold_in({1010: [model.items[new]]}, k=60)  # what the graph has already is no news
    np.testing.assert_array_equal(found.vectors, again.vectors)
    assert np.abs(found.vectors[0] - model.user_embeddings[1]).max() > 1e-4


def test_users_do_not_depend_on_each_other(model):
    together = model.fold_in(HISTORIES, k=3)
    for place, (user, items) in enumerate(HISTORIES.items()):
        alone = model.fold_in({user: items}, k=3)
        np.testing.assert_allclose(alone.vectors[0], together.vectors[place], rtol=1e-6, atol=1e-8)


def test_weights_are_those_of_the_definition(model, weighted, data):
    source = ([5, 5, 5, 6], ["item03", "item07", "item03", "item11"], [1.0, 0.5, 2.0, 4.0])
    histories = [{3: 3.0, 7: 0.5}, {11: 4.0}]
    for fitted, weights in ((model, None), (weighted, weighted._trained.weights)):
        found = fitted.fold_in(source, k=2)
        np.testing.assert_allclose(found.vectors, reference(fitted, data, histories, weights), rtol=1e-5, atol=1e-7)


def test_events_of_a_weighted_graph_add_up(weighted, data):
    """A known user's known item once more: its weight is one more, in the user's sum and in the item's."""
    first = data.train.indices[data.train.indptr[0]]
    once, twice = (weighted.fold_in({1000: [weighted.items[first]] * n}, k=2).vectors for n in (1, 2))
    assert np.abs(once - weighted.user_embeddings[0]).max() > 1e-5
    assert np.abs(twice - once).max() > 1e-5
    given = weighted.fold_in(([1000], [weighted.items[first]], [2.0]), k=2).vectors
    np.testing.assert_allclose(given, twice, rtol=1e-6)


@pytest.mark.parametrize("name", ["model", "weighted"])
def test_items_are_folded_in_like_users(name, request, data):
    fitted = request.getfixturevalue(name)
    turned = csr.from_pairs(data.train.indices, csr.row_of_entry(data.train), (60, 120))
    kept = fitted.fold_in_items({"item04": [], "item05": []})
    np.testing.assert_allclose(kept.vectors, fitted.item_embeddings[4:6], rtol=1e-5, atol=1e-7)
    table, weights = fitted._trained.table.astype(np.float64), fitted._trained.weights
    a = np.zeros((180, 180))
    a[csr.row_of_entry(data.train), 120 + data.train.indices] = 1 if weights is None else weights
    a += a.T
    degree = a.sum(0)
    scale = np.array([1 / np.sqrt(d) if d else 0.0 for d in degree])
    messages = (table + scale[:, None] * a * scale @ table)[:120] / 3
    found = fitted.fold_in_items({"new": [1000, 1050]})
    expected = 1.5 * (1 / np.sqrt(2 * (degree[[0, 5]] + 1))) @ messages[[0, 5]]
    np.testing.assert_allclose(found.vectors[0], expected, rtol=1e-5, atol=1e-7)
    assert (turned.nnz, found.known.tolist()) == (data.train.nnz, [False])


@pytest.mark.parametrize("name", ["model", "weighted"])
def test_a_saved_model_folds_in_the_same(name, request, tmp_path):
    fitted = request.getfixturevalue(name)
    fitted.save(tmp_path / "saved")
    loaded = lg.load_model(tmp_path / "saved")
    for source in (HISTORIES, {1010: ["item07"]}):
        first, second = (each.fold_in(source, k=3) for each in (fitted, loaded))
        np.testing.assert_array_equal(first.vectors, second.vectors)
        assert first.recommendations.ids.tolist() == second.recommendations.ids.tolist()


def test_the_model_of_a_run_folds_in_the_same(data, tmp_path):
    fitted = lg.LightGCN(**SETTINGS).fit(data, tmp_path / "run", quiet=True)
    loaded = lg.load_model(tmp_path / "run", data)
    np.testing.assert_array_equal(loaded.fold_in(HISTORIES, k=3).vectors, fitted.fold_in(HISTORIES, k=3).vectors)


def test_pairs_are_saved_once_where_the_graph_has_all_that_was_seen(data):
    whole = dataclasses.replace(data, valid=csr.empty(data.num_users))
    fitted = lg.LightGCN(**SETTINGS | {"epochs": 1}).fit(whole, quiet=True)
    assert set(fitted._graph_arrays(fitted._seen)) == {"table"}


def test_a_model_that_was_saved_before_folding_in_says_so(model, tmp_path):
    old = copy.copy(model)
    old._trained = None
    old.save(tmp_path / "old")
    with pytest.raises(InputError, match=r"fold_in: found a model that was saved without its layer-0 table"):
        lg.load_model(tmp_path / "old").fold_in(HISTORIES, k=3)


def test_on_unknown_skip_leaves_out_items_and_users_who_are_left_without(model):
    found = model.fold_in({5: ["item03", "none"], 6: ["none"], 7: ["item07"], 1000: ["none"]}, k=2, on_unknown="skip")
    assert found.ids.tolist() == [5, 7, 1000]
    expected = model.fold_in({5: ["item03"], 7: ["item07"], 1000: []}, k=2)
    np.testing.assert_array_equal(found.vectors, expected.vectors)


def test_nobody_is_folded_in_where_nobody_is_asked_for(model):
    found = model.fold_in({}, k=3)
    assert (found.vectors.shape, found.recommendations.ids.shape) == ((0, 8), (0, 3))


BAD = [
    ({5: ["item03", "none"]}, {}, r"items: found 1 unknown ids, such as none, expected items that the model knows"),
    ({5: []}, {}, r"users: found 5, who is new and has an empty history, expected at least one of the items"),
    ({5: [3]}, {}, r"items: found 3 of type int, expected ids that are text"),
    ({"five": ["item03"]}, {}, r"users: found 'five' of type str, expected ids that are integers"),
    ([5, 6], {}, r"histories: found a list, expected a mapping"),
    (([5, 6], ["item03"]), {}, r"histories: found 2 users and 1 items"),
    (([5], ["item03"], [0.0]), {}, r"weights: found 1 weights such as 0\.0"),
    (([5], ["item03"], [np.nan]), {}, r"weights: found 1 weights such as nan"),
    (([5], ["item03"], [1.0, 2.0]), {}, r"weights: found weights of shape \(2,\)"),
    (HISTORIES, {"k": 61}, r"k: found 61, expected an integer from 1 to 60"),
    (HISTORIES, {"on_unknown": "popular"}, r"on_unknown: found 'popular', expected one of raise, skip"),
    (HISTORIES, {"candidates": ["none"]}, r"candidates: found 1 unknown ids"),
]


@pytest.mark.parametrize(("source", "more", "line"), BAD, ids=range(len(BAD)))
def test_bad_input_is_one_line(model, source, more, line):
    with pytest.raises(InputError, match=line) as error:
        model.fold_in(source, **more)
    assert "\n" not in str(error.value)


def test_a_model_without_layers_says_so(data):
    fitted = lg.LightGCN(**SETTINGS | {"num_layers": 0, "epochs": 1}).fit(data, quiet=True)
    with pytest.raises(InputError, match=r"fold_in: found the model lightgcn, which embeds no new node, exp"):
        fitted.fold_in(HISTORIES, k=3)


def test_a_model_that_was_not_fitted_says_so():
    with pytest.raises(InputError, match="was not fitted"):
        lg.LightGCN().fold_in(HISTORIES)
    with pytest.raises(InputError, match="was not fitted"):
        lg.LightGCN().fold_in_items({})
