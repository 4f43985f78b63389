"""Neighbors against sorted cosines."""

import numpy as np
import pytest

import lgcn_jax as lg

ITEMS = np.array(["b", "d", "f", "h", "j"], object)


@pytest.fixture(scope="module")
def model():
    users, items = np.array([3, 3, 5, 8, 8, 8, 13]), ITEMS[[0, 1, 2, 0, 3, 4, 1]]
    made = lg.LightGCN(embedding_dim=4, epochs=1, top_k=(2,)).fit(lg.read((users, items)), quiet=True)
    made.item_titles = np.array(["B", None, "F", "H", "J"], object)
    made.item_embeddings = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    made.item_embeddings[3] = made.item_embeddings[1] * 7  # cosine 1
    made.item_embeddings[4] = 0
    return made


def expected(vectors, number: int, k: int):
    scores = vectors.astype(np.float64) @ vectors[number]
    scores[number] = -np.inf
    order = np.argsort(-scores, kind="stable")[:k]
    return order, scores[order]


def test_neighbors_are_the_nearest_others(model):
    lengths = np.linalg.norm(model.item_embeddings, axis=1, keepdims=True)
    cosines = model.item_embeddings / np.where(lengths > 0, lengths, 1)
    for mesh in ("data:1,nodes:1", "data:2,nodes:2"):
        for metric, vectors in (("cosine", cosines), ("dot", model.item_embeddings)):
            found = model.similar_items(["d", "b"], k=3, metric=metric, mesh=mesh)
            for row, number in enumerate((1, 0)):
                order, scores = expected(vectors, number, 3)
                assert found.ids[row].tolist() == ITEMS[order].tolist()
                assert found.titles[row].tolist() == model.item_titles[order].tolist()
                np.testing.assert_allclose(found.scores[row], scores, atol=1e-6)


def test_neighbors_of_users(model):
    found = model.similar_users(8, k=3)
    lengths = np.linalg.norm(model.user_embeddings, axis=1, keepdims=True)
    order, scores = expected(model.user_embeddings / lengths, 2, 3)
    assert found.ids.tolist() == [model.users[order].tolist()]
    assert found.columns()["user"].tolist() == [8, 8, 8]
    np.testing.assert_allclose(found.scores[0], scores, atol=1e-6)
    assert found.titles is None


def test_a_vector_of_length_zero_is_like_nothing(model):
    assert model.similar_items("j", k=4).scores.tolist() == [[0, 0, 0, 0]]
    assert model.similar_items("j", k=4).ids.tolist() == [["b", "d", "f", "h"]]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"items": "x"}, "items: found 1 unknown ids, such as x"),
        ({"items": 3}, "items: found 3 of type int, expected ids that are text"),
        ({"k": 5}, "k: found 5, expected an integer from 1 to 4, the number of other items"),
        ({"metric": "euclid"}, "metric: found 'euclid', expected one of cosine, dot"),
        ({"mesh": "data:99"}, "--mesh: found data:99: 99 devices"),
    ],
)
def test_bad_arguments_are_refused(model, arguments, text):
    with pytest.raises(lg.InputError) as error:
        model.similar_items(**{"items": "b", "k": 2} | arguments)
    assert str(error.value).startswith(text)
