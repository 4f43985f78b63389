"""Evaluation at the front door, in raw ids."""

import numpy as np
import pytest

import lgcn_jax as lg
from lgcn_jax.evaluation import results

TRAIN = [("ann", "tea"), ("ann", "rye"), ("bob", "tea"), ("cid", "fig"), ("dot", "tea"), ("dot", "fig")]
TEST = [("ann", "fig"), ("bob", "fig"), ("bob", "rye")]


@pytest.fixture(scope="module")
def interactions():
    return lg.read(np.array(TRAIN), test=np.array(TEST))


@pytest.fixture(scope="module")
def model(interactions):
    """Ranks tea before fig before rye: 3, 2 and 1 users have them."""
    return lg.Popularity().fit(interactions)


def test_metrics_are_chosen_by_name(model, interactions):
    # Of ann's list, fig, all is relevant; of bob's, fig and rye, both are.
    found = model.evaluate(interactions, k=(1, 2), metrics=("map", "recall", "average_popularity", "coverage"))
    expected = {"map@1": 1, "recall@1": 1 / 2 * (1 + 1 / 2), "average_popularity@1": 2, "coverage@1": 1 / 3}
    expected |= {"map@2": 1, "recall@2": 1, "average_popularity@2": 1 / 3 * (2 + 2 + 1), "coverage@2": 2 / 3}
    assert found == pytest.approx(expected)
    assert list(found) == list(expected)


def test_users_are_chosen_by_raw_ids(model, interactions):
    for users in (["bob"], "bob", np.array(["bob", "bob", "dot"], object)):
        assert model.evaluate(interactions, k=1, users=users, metrics=("recall",)) == {"recall@1": 1 / 2}


def test_each_user_is_had_by_raw_id(model, interactions):
    found = model.evaluate(interactions, k=1, users=["dot", "bob"], metrics=("recall", "gini"), per_user=True)
    assert isinstance(found, lg.EvaluationResult)
    columns = {name: column.tolist() for name, column in found.columns().items()}
    assert columns == {"user": ["bob"], "degree": [1], "relevant": [2], "recall@1": [0.5]}
    assert (found.interactions.tolist(), found.left_out, found.num_users) == ([3], 1, 4)
    assert dict(zip(found.items.ids, found.items.exposure[1].tolist(), strict=True)) == {"fig": 1, "rye": 0, "tea": 0}
    assert found.means() == pytest.approx({"recall@1": 1 / 2, "gini@1": 2 / 3})


def test_a_trained_model_has_what_a_pass_of_training_finds(interactions):
    model = lg.LightGCN(embedding_dim=4, epochs=1, top_k=(2,)).fit(interactions, quiet=True)
    found = model.evaluate(interactions, k=2, metrics=results.METRICS, per_user=True).means()
    assert model.evaluate(interactions, k=2) == pytest.approx({name: found[name] for name in list(found)[:3]})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"metrics": ("auc",)}, "metrics: found 'auc', expected some of precision, recall"),
        ({"users": ["eve", "bob"]}, "users: found 1 unknown ids, such as eve"),
        ({"users": [3]}, "users: found 3 of type int, expected ids that are text"),
        ({"users": []}, "users: found 0 users without an item"),
        ({"users": ["cid", "dot"]}, "users: found 2 users without an item in the test part, expected one with some"),
    ],
)
@pytest.mark.parametrize("per_user", [False, True])
def test_bad_arguments_are_refused(model, interactions, arguments, text, per_user):
    with pytest.raises(lg.InputError) as error:
        model.evaluate(interactions, k=1, per_user=per_user, **arguments)
    assert str(error.value).startswith(text)
