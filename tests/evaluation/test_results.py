"""Evaluation in detail: each user, each item, all lists; held against plain NumPy and against ir-measures."""

import ir_measures
import jax.numpy as jnp
import numpy as np
import oracle
import pandas
import polars
import pyarrow.parquet
import pytest
from events_of import pairs
from ir_measures import AP, RR, P, R, Success, nDCG
from test_evaluation import Fixed

import lgcn_jax as lg
from lgcn_jax.baselines.popularity import Popularity
from lgcn_jax.data import csr, datasets
from lgcn_jax.data.interactions import assemble
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.evaluation import metrics, ranking, results
from lgcn_jax.evaluation.task import EvaluationTask
from lgcn_jax.system import files

KS = (1, 5, 140)  # 140: more than some users have left


@pytest.fixture(scope="module")
def synthetic():
    return datasets.load(DataSettings(dataset="synthetic", num_users=200, num_items=150, num_interactions=6000))


@pytest.fixture(scope="module")
def scores():
    """Many are equal, and no user has a score of some items."""
    random = np.random.default_rng(3)
    table = random.integers(0, 40, (200, 150)).astype(np.float32)
    table[:, random.permutation(150)[:20]] = -np.inf
    return table


@pytest.fixture(scope="module")
def lists(synthetic, scores):
    """The items recommended to each user with a test item, best first, the lower number first in a tie."""
    masked = scores.copy()
    masked[oracle.dense(synthetic.train, 150) > 0] = -np.inf
    order = np.argsort(-masked, axis=1, kind="stable")
    users = np.flatnonzero(csr.degrees(synthetic.test))
    return {int(user): [int(i) for i in order[user] if masked[user, i] > -np.inf] for user in users}


@pytest.fixture(scope="module")
def found(synthetic, scores):
    return results.evaluate(Fixed(jnp.asarray(scores)), synthetic, "test", KS, wanted=results.METRICS)


def test_each_user_has_the_metrics_of_ir_measures(synthetic, lists, found):
    relevant = {str(user): {str(i): 1 for i in oracle.rows(synthetic.test)[user]} for user in lists}
    run = {str(user): {str(i): 1.0 - place for place, i in enumerate(ranked)} for user, ranked in lists.items()}
    kinds = {"precision": P, "recall": R, "ndcg": nDCG, "mrr": RR, "hit_rate": Success, "map": AP}
    named = {kind @ k: f"{name}@{k}" for name, kind in kinds.items() for k in KS}
    expected = {name: np.full(len(lists), np.nan) for name in named.values()}
    place = {str(user): n for n, user in enumerate(lists)}
    for one in ir_measures.iter_calc(list(named), relevant, run):
        expected[named[one.measure]][place[one.query_id]] = one.value
    for k in KS:  # trec_eval divides average precision by the number of relevant items
        expected[f"map@{k}"] *= found.relevant / np.minimum(found.relevant, k)
    assert (found.relevant > 5).any()
    assert min(map(len, lists.values())) < 140
    for name, values in expected.items():
        np.testing.assert_allclose(found.values[name], values, rtol=0, atol=1e-6, err_msg=name)
        assert found.means()[name] == pytest.approx(values.mean(), abs=1e-6)


def test_items_have_the_lists_that_they_are_in(synthetic, lists, found):
    wanted = oracle.rows(synthetic.test)
    for k in KS:
        exposure, hits, recall = np.zeros(150), np.zeros(150), np.zeros(150)
        for user, ranked in lists.items():
            for item in ranked[:k]:
                exposure[item] += 1
                hits[item] += item in wanted[user]
                recall[item] += (item in wanted[user]) / len(wanted[user]) / len(lists)
        np.testing.assert_array_equal(found.items.exposure[k], exposure)
        np.testing.assert_array_equal(found.items.hits[k], hits)
        np.testing.assert_allclose(found.items.recall[k], recall, atol=1e-6)
    np.testing.assert_array_equal(found.items.relevant, oracle.dense(synthetic.test, 150).sum(0))
    np.testing.assert_array_equal(found.items.degrees, oracle.dense(synthetic.train, 150).sum(0))


def test_metrics_of_all_lists_are_those_of_the_exposure(lists, found):
    recommended = [item for ranked in lists.values() for item in ranked[:5]]
    popularity = found.items.degrees[recommended]
    assert found.means()["coverage@5"] == len(set(recommended)) / 150
    assert found.means()["average_popularity@5"] == pytest.approx(popularity.mean())
    assert found.means()["novelty@5"] == pytest.approx(-np.log2(popularity / 200).mean())
    assert 0 < found.means()["gini@5"] < 1


def test_items_without_a_score_are_never_recommended():
    """User 0 has nothing left, and user 2 a relevant item with a score of -inf: their lists are empty."""
    world = assemble("three", pairs([(0, 0), (1, 1), (2, 2)]), pairs([(0, 1), (1, 2), (2, 0)]))
    nothing = -np.inf
    scores = jnp.asarray([[9.0, nothing, nothing], [5.0, 9.0, 4.0], [nothing, nothing, 9.0]])
    found = results.evaluate(Fixed(scores), world, "test", (3,), wanted=results.METRICS)
    assert found.values["recall@3"].tolist() == [0, 1, 0]
    assert found.values["mrr@3"].tolist() == [0, 1 / 2, 0]
    assert found.items.exposure[3].tolist() == [1, 0, 1]
    assert found.means()["coverage@3"] == 2 / 3
    fused = ranking.evaluate(Fixed(scores), EvaluationTask.of(world, "test"), (3,))
    assert fused == pytest.approx({name: found.means()[name] for name in fused})


def test_a_list_of_all_that_is_left_ends_there():
    world = assemble("two", pairs([(0, 0), (0, 1), (1, 2)]), pairs([(0, 2), (1, 0)]))
    found = results.evaluate(Fixed(jnp.zeros((2, 3))), world, "test", (3,))
    assert found.items.exposure[3].tolist() == [1, 1, 1]
    assert found.values["precision@3"].tolist() == pytest.approx([1 / 3, 1 / 3])


def test_in_a_tie_the_lower_item_comes_first():
    world = assemble("one", pairs([(0, 1), (1, 0)]), pairs([(0, 2), (0, 3)]))
    found = results.evaluate(Fixed(jnp.zeros((2, 4))), world, "test", (1, 2))
    assert [found.items.exposure[k].tolist() for k in (1, 2)] == [[1, 0, 0, 0], [1, 0, 1, 0]]


@pytest.mark.parametrize("size", [1, 7, 199])
def test_chunks_change_nothing(synthetic, scores, found, size, monkeypatch):
    shard = results.EvaluationTask.of
    monkeypatch.setattr(
        results.EvaluationTask, "of", lambda data, split, users=None: shard(data, split, size * 150, users)
    )
    again = results.evaluate(Fixed(jnp.asarray(scores)), synthetic, "test", KS)
    for name, values in found.values.items():
        np.testing.assert_allclose(again.values[name], values, rtol=1e-6)
    for k in KS:
        np.testing.assert_array_equal(again.items.exposure[k], found.items.exposure[k])
        np.testing.assert_array_equal(again.items.hits[k], found.items.hits[k])


def test_the_means_of_training_are_those_of_the_users(synthetic, scores, found):
    scorer = Fixed(jnp.asarray(scores))
    fused = ranking.evaluate(scorer, EvaluationTask.of(synthetic, "test"), KS)
    assert results.evaluate_means(scorer, synthetic, "test", KS) == fused  # to the bit
    only = results.evaluate_means(scorer, synthetic, "test", KS, wanted=("recall",))
    assert only == {f"recall@{k}": fused[f"recall@{k}"] for k in KS}
    wanted = ("recall", "map", "precision", "ndcg")
    more = results.evaluate_means(scorer, synthetic, "test", KS, wanted=wanted)
    assert list(more) == [f"{name}@{k}" for k in KS for name in wanted]
    assert {name: more[name] for name in fused} == pytest.approx(fused, rel=1e-6)
    assert more["map@5"] == found.means()["map@5"]


def test_some_users_have_what_they_have_among_all(synthetic, scores, found):
    chosen = np.array([150, 3, 3, 77, 20])
    some = results.evaluate(Fixed(jnp.asarray(scores)), synthetic, "test", KS, users=chosen)
    kept = np.isin(found.users, chosen)
    assert some.users.tolist() == sorted({*chosen.tolist()} & {*found.users.tolist()})
    np.testing.assert_allclose(some.values["ndcg@5"], found.values["ndcg@5"][kept], rtol=1e-6)
    np.testing.assert_array_equal(some.degrees, found.degrees[kept])
    assert sum(some.items.relevant) == sum(some.relevant)
    assert some.items.exposure[5].sum() == 5 * kept.sum()


def test_users_without_a_relevant_item_are_counted():
    world = assemble("three", pairs([(0, 0), (1, 1), (2, 2)]), pairs([(0, 1), (2, 0)]))
    scorer = Fixed(jnp.zeros((3, 3)))
    assert results.evaluate(scorer, world, "test", (1,)).left_out == 1
    assert results.evaluate(scorer, world, "test", (1,), users=np.array([2, 1, 1, 0])).left_out == 1
    assert results.evaluate(scorer, world, "test", (1,), users=np.array([2])).left_out == 0
    with pytest.raises(InputError, match="users: found 1 users without an item in the test part"):
        results.evaluate(scorer, world, "test", (1,), users=np.array([1]))
    with pytest.raises(InputError, match="users: found 0 users"):
        results.evaluate(scorer, world, "test", (1,), users=np.zeros(0, np.int64))


@pytest.mark.parametrize("wanted", [("recal",), (), "recall", ("recall", "recall"), ("recall@20",), None, (3,), ([],)])
def test_metrics_that_do_not_exist_are_refused(synthetic, wanted):
    with pytest.raises(InputError, match=r"metrics: found .* expected some of precision, recall"):
        results.evaluate_means(Popularity().fit(synthetic), synthetic, "test", (5,), wanted=wanted)


def test_groups_add_up_to_the_whole(synthetic, found):
    users, items = found.user_groups(), found.item_groups()
    assert users["users"].sum() == len(found.users)
    assert users["users"] @ users["map@5"] / len(found.users) == pytest.approx(found.means()["map@5"])
    assert items["items"].sum() == 150
    assert items["train"].sum() == synthetic.train.nnz
    assert items["relevant"].sum() == synthetic.test.nnz
    for k in KS:
        assert items[f"recall@{k}"].sum() == pytest.approx(found.means()[f"recall@{k}"], rel=1e-5)
        assert items[f"exposure@{k}"].sum() == pytest.approx(1)
    assert found.item_groups((3, 9))["up_to"][:2].tolist() == [3, 9]


def world_of_texts():
    return lg.read((["b", "a", "ü", "ü"], ["x", "x", "x", "0"]), test=(["a", "ü"], ["0", "y"]))


@pytest.fixture
def of_texts():
    world = world_of_texts()
    return lg.Popularity().fit(world).evaluate(world, k=(1, 2), metrics=("recall", "gini"), per_user=True)


def test_frames_have_the_raw_ids(of_texts, found):
    rows = {"user": ["a", "ü"], "degree": [1, 2], "relevant": [1, 1], "recall@1": [1, 1], "recall@2": [1, 1]}
    assert of_texts.to_arrow().to_pydict() == rows
    assert of_texts.to_pandas().to_dict("list") == rows
    assert of_texts.to_polars().to_dict(as_series=False) == rows
    assert isinstance(of_texts.to_pandas(), pandas.DataFrame)
    assert of_texts.to_polars().schema["user"] == polars.String
    whole = found.to_arrow()
    assert whole.num_rows == len(found.users)
    assert whole.column_names[3:] == [f"{name}@{k}" for k in KS for name in metrics.PER_USER]


def test_a_parquet_file_is_written_whole_or_not_at_all(of_texts, tmp_path, monkeypatch):
    of_texts.save(tmp_path / "users.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "users.parquet") == of_texts.to_arrow()
    before = (tmp_path / "users.parquet").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(WriteError, match=r"users.parquet could not be written: No space left"):
        of_texts.save(tmp_path / "users.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["users.parquet"]
    assert (tmp_path / "users.parquet").read_bytes() == before


def test_other_files_than_parquet_are_refused(of_texts, tmp_path):
    with pytest.raises(InputError, match=r"'users.csv', expected a file name that ends in .parquet"):
        of_texts.save(tmp_path / "users.csv")
