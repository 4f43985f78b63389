"""Recommendations against sorted scores, and what is left out of them."""

import copy
import pickle

import numpy as np
import pytest

import lgcn_jax as lg
from lgcn_jax.serving import lists

USERS, ITEMS = np.array([3, 5, 8, 13]), np.array([10, 20, 30, 40, 50])
TRAIN = [(3, 10), (3, 20), (5, 30), (8, 10), (8, 20), (8, 30), (8, 40), (13, 50)]
TEST = [(3, 30), (5, 40)]


@pytest.fixture(scope="module")
def model():
    interactions = lg.read(np.array(TRAIN), test=np.array(TEST))
    made = lg.LightGCN(embedding_dim=4, epochs=1, top_k=(2,)).fit(interactions, quiet=True)
    made.user_embeddings = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    made.item_embeddings = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    return made


def expected(model, user: int, k: int, left_out=()) -> list[int]:
    scores = model.item_embeddings @ model.user_embeddings[USERS.tolist().index(user)]
    return [item for item in ITEMS[np.argsort(-scores, kind="stable")].tolist() if item not in left_out][:k]


def seen(user: int) -> list[int]:
    return [item for other, item in TRAIN if other == user]


def test_lists_are_the_best_unseen_items_in_raw_ids(model):
    found = model.recommend([13, 3], k=2)
    assert found.users.tolist() == [13, 3]
    assert found.ids.tolist() == [expected(model, user, 2, seen(user)) for user in (13, 3)]
    assert (np.diff(found.scores) <= 0).all()


def test_one_id_is_one_list(model):
    assert model.recommend(5, k=3).ids.tolist() == [expected(model, 5, 3, seen(5))]


def test_ids_come_in_any_sequence(model):
    expected_ids = model.recommend([3, 13], k=2).ids.tolist()
    for users in ((3, 13), np.array([3, 13], np.int64), iter([3, 13]), {3: 0, 13: 0}.keys(), range(3, 14, 10)):
        assert model.recommend(users, k=2).ids.tolist() == expected_ids
    for user in (np.int32(3), np.array(3)):
        assert model.recommend(user, k=2).ids.tolist() == expected_ids[:1]


def test_list_lengths_may_be_numpys(model):
    assert model.recommend(3, k=np.int64(2)).ids.tolist() == model.recommend(3, k=2).ids.tolist()
    data = lg.read(np.array(TRAIN), test=np.array(TEST))
    for k in (np.int64(2), [2], np.array([2])):
        assert model.evaluate(data, k=k) == model.evaluate(data, k=2)


def test_seen_items_may_stay(model):
    assert model.recommend(3, k=5, exclude_seen=False).ids.tolist() == [expected(model, 3, 5)]


def test_candidates_and_exclusions(model):
    assert model.recommend(5, k=2, candidates=[10, 50, 20]).ids.tolist() == [expected(model, 5, 2, (30, 40))]
    assert model.recommend(5, k=2, exclude=[10]).ids.tolist() == [expected(model, 5, 2, (30, 10))]
    both = model.recommend(5, k=1, candidates=[10, 50], exclude=[50]).ids.tolist()
    assert both == [[10]]


def test_a_list_that_is_too_short_ends_with_minus_infinity(model):
    found = model.recommend(8, k=3)  # who has four of five items
    assert found.ids[0, 0] == 50
    assert np.isneginf(found.scores[0, 1:]).all()
    assert {name: column.tolist() for name, column in found.columns().items() if name != "score"} == {
        "user": [8],
        "item": [50],
        "rank": [1],
    }


def test_a_list_that_is_too_short_is_counted(model):
    assert model.recommend([8, 3], k=3).lengths.tolist() == [1, 3]
    assert model.recommend([3], k=4, candidates=[30, 50]).lengths.tolist() == [2]


def test_unknown_users_may_get_what_is_popular(model):
    """10 and 20 have two train pairs each, 30 two, 40 and 50 one: the lowest of equals comes first."""
    found = model.recommend([4, 3, 99], k=4, on_unknown="popular", exclude=[20])
    assert found.users.tolist() == [4, 3, 99]
    assert found.known.tolist() == [False, True, False]
    assert found.ids[[0, 2]].tolist() == [[10, 30, 40, 50]] * 2
    assert found.scores[[0, 2]].tolist() == [[2, 2, 1, 1]] * 2
    assert found.ids[1, :2].tolist() == expected(model, 3, 2, (*seen(3), 20))
    assert model.recommend([4], k=5, on_unknown="popular", candidates=[50]).lengths.tolist() == [1]
    assert model.recommend([3, 5], k=2, on_unknown="popular").known.all()
    with pytest.raises(lg.InputError, match="users: found 'u' of type str"):
        model.recommend(["u"], k=2, on_unknown="popular")


def test_the_lowest_of_equally_popular_items_comes_first():
    """Among more items than are sorted by insertion."""
    counts, allowed = np.random.default_rng(0).integers(0, 3, (2, 1000))
    found, scores = lists.most_popular(counts, allowed > 0, 500)
    order = sorted(np.flatnonzero(allowed > 0).tolist(), key=lambda item: (-counts[item], item))
    assert found.tolist() == order[:500]
    assert scores.tolist() == counts[order[:500]].tolist()


def test_pairs_are_predicted(model):
    scores = model.user_embeddings @ model.item_embeddings.T
    found = model.predict([3, 13, 13], [50, 10, 20])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scores[[0, 3, 3], [4, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(model.predict(5, ITEMS), scores[1], rtol=1e-6)
    assert model.predict([], []).shape == (0,)
    with pytest.raises(lg.InputError, match="predict: found 2 users and 3 items, expected one item for each user"):
        model.predict([3, 5], [10, 20, 30])
    with pytest.raises(lg.InputError, match="items: found 1 unknown ids, such as 11"):
        model.predict([3], [11])


def test_popularity_predicts_its_counts():
    popular = lg.Popularity().fit(lg.read(np.array(TRAIN), test=np.array(TEST)))
    assert popular.predict([3, 5], [10, 40]).tolist() == [2, 1]


def test_vectors_are_uploaded_once_and_anew_when_they_are_others(model):
    before = model._ranker("data:1,nodes:1"), model.scorer
    model.recommend(3, k=2)
    assert (model._ranker("data:1,nodes:1"), model.scorer) == before
    kept = model.item_embeddings
    try:
        model.item_embeddings = -kept
        assert model.recommend(3, k=5, exclude_seen=False).ids.tolist() == [expected(model, 3, 5)]
        assert model.predict(3, 10) == pytest.approx(-before[1].pair_scores(np.array([0]), np.array([0])))
    finally:
        model.item_embeddings = kept


def test_tables_have_a_row_for_each_recommendation(model):
    columns = model.recommend([3, 8], k=2).columns()
    assert columns["user"].tolist() == [3, 3, 8]
    assert columns["rank"].tolist() == [1, 2, 1]
    assert columns["item"].tolist()[:2] == expected(model, 3, 2, seen(3))


def test_unknown_users_are_refused_or_skipped(model):
    with pytest.raises(lg.InputError, match="users: found 1 unknown ids, such as 4, expected ids of the data set"):
        model.recommend([3, 4], k=2)
    assert model.recommend([3, 4, 13], k=1, on_unknown="skip").users.tolist() == [3, 13]
    assert model.recommend([4], k=2, on_unknown="skip").ids.shape == (0, 2)
    assert model.recommend([], k=2).ids.shape == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"users": "u3"}, "users: found 'u3' of type str, expected ids that are integers, such as 3"),
        ({"users": 3.0}, "users: found 3.0 of type float, expected ids that are integers"),
        ({"users": [[3]]}, "users: found an array of shape (1, 1), expected one id, or a sequence"),
        ({"users": 3, "k": 0}, "k: found 0, expected an integer from 1 to 5"),
        ({"users": 3, "k": 6}, "k: found 6, expected an integer from 1 to 5"),
        ({"users": 3, "k": 2.0}, "k: found 2.0, expected an integer"),
        ({"users": 3, "candidates": [60]}, "candidates: found 1 unknown ids, such as 60"),
        ({"users": 3, "on_unknown": "guess"}, "on_unknown: found 'guess', expected one of raise, skip, popular"),
        ({"users": 3, "mesh": "eight"}, "--mesh: found 'eight', expected data:D,nodes:M"),
    ],
)
def test_bad_arguments_are_refused(model, arguments, text):
    with pytest.raises(lg.InputError) as error:
        model.recommend(**{"k": 2} | arguments)
    assert str(error.value).startswith(text)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"k": 0}, "k: found 0"),
        ({"k": (1, 6)}, "k: found 6, expected an integer from 1 to 5"),
        ({"k": ()}, "k: found []"),
        ({"k": 2.5}, "k: found 2.5"),
        ({"k": True}, "k: found True"),
        ({"k": "2"}, "k: found '2'"),
        ({"k": None}, "k: found None"),
        ({"split": "train"}, "split: found 'train', expected one of test, valid"),
        ({"split": "valid"}, "split: found valid, which is empty"),
    ],
)
def test_bad_evaluations_are_refused(model, arguments, text):
    with pytest.raises(lg.InputError) as error:
        model.evaluate(lg.read(np.array(TRAIN), test=np.array(TEST)), **{"k": 2} | arguments)
    assert str(error.value).startswith(text)


def test_an_evaluation_on_other_items_is_refused(model):
    with pytest.raises(
        lg.InputError, match="interactions: found 4 users and 4 items, expected the 4 and 5 of the model"
    ):
        model.evaluate(lg.read(np.array([*TRAIN[:-1], (13, 40)]), test=np.array(TEST)), k=2)


def test_popularity_recommends_what_most_have():
    model = lg.Popularity().fit(lg.read(np.array(TRAIN), test=np.array(TEST)))
    assert model.recommend([5, 13], k=3).ids.tolist() == [[10, 20, 40], [10, 20, 30]]
    assert model.get_params() == {}


def test_copies_have_no_memory_of_devices(model):
    model.recommend(3, k=2)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert made.recommend([13, 3], k=2).ids.tolist() == model.recommend([13, 3], k=2).ids.tolist()
