"""All-ranking evaluation: masking, ties, chunks, and the published popularity baseline."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from events_of import pairs

from lgcn_jax.baselines.popularity import Popularity, popularity_metrics
from lgcn_jax.data import csr, datasets
from lgcn_jax.data.interactions import assemble
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.evaluation import ranking
from lgcn_jax.evaluation.scorers import DotProduct
from lgcn_jax.evaluation.task import EvaluationTask, shard_evaluation_tasks


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Fixed:
    """Scores that are given."""

    table: jax.Array

    def scores(self, users):
        return self.table[users]


def world():
    """Three users, five items; user 1 has no test item, user 2 two."""
    return assemble("three", pairs([(0, 0), (1, 1), (2, 2), (2, 3), (2, 4)]), pairs([(0, 1), (2, 0), (2, 1)]))


def test_seen_items_are_masked_and_ties_go_to_the_lowest_id():
    task = EvaluationTask.of(world(), "test")
    ranked = ranking.recommend(Fixed(jnp.zeros((3, 5))), task, jnp.int32(0), 2)
    np.testing.assert_array_equal(ranked, [[1, 2], [0, 1]])  # user 0 has item 0, user 2 has items 2, 3 and 4


def test_metrics_are_means_over_users_with_a_test_item():
    scores = jnp.asarray([[9.0, 1, 2, 0, 0], [0, 0, 0, 0, 0], [3.0, 1, 9, 9, 2]])
    found = ranking.evaluate(Fixed(scores), EvaluationTask.of(world(), "test"), (1, 2))
    # User 0 ranks 2, 1, ...: a hit at rank 2. User 2 ranks 0, 1: two hits. User 1 does not count.
    assert found["recall@1"] == pytest.approx((0 + 1 / 2) / 2)
    assert found["precision@2"] == pytest.approx((1 / 2 + 2 / 2) / 2)
    assert found["ndcg@2"] == pytest.approx((1 / np.log2(3) + 1) / 2)


def test_k_may_be_the_number_of_items():
    found = ranking.evaluate(Fixed(jnp.zeros((3, 5))), EvaluationTask.of(world(), "test"), (5,))
    assert found["recall@5"] == 1


@pytest.fixture(scope="module")
def synthetic():
    return datasets.load(DataSettings(dataset="synthetic", num_users=200, num_items=150, num_interactions=3000))


@pytest.mark.parametrize("chunk_users", [1, 3, 64, 199, 1000])
def test_chunks_change_no_metric(synthetic, chunk_users):
    random = np.random.default_rng(0)
    scorer = DotProduct(*(jnp.asarray(random.standard_normal((n, 4)), jnp.float32) for n in (200, 150)))
    whole = ranking.evaluate(scorer, EvaluationTask.of(synthetic, "test"), (5, 20))
    cut = ranking.evaluate(scorer, EvaluationTask.of(synthetic, "test", chunk_users * 150), (5, 20))
    assert cut == pytest.approx(whole, rel=1e-6)


def test_several_lists_in_one_pass_are_those_of_several_passes(synthetic):
    scorer, task = Popularity().fit(synthetic), EvaluationTask.of(synthetic, "test")
    together = ranking.evaluate(scorer, task, (1, 10, 50))
    apart = {}
    for k in (1, 10, 50):
        apart |= ranking.evaluate(scorer, task, (k,))
    assert together == pytest.approx(apart, rel=1e-6)


def test_no_seen_item_is_recommended_to_anybody(synthetic):
    task = EvaluationTask.of(synthetic, "test", 16 * 150)
    for number in range(task.users.shape[0]):
        ranked = ranking.recommend(Popularity().fit(synthetic), task, jnp.int32(number), 50)
        device = csr.CSR(*map(jnp.asarray, synthetic.train))
        users = jnp.broadcast_to(task.users[number][:, None], ranked.shape)
        counted = np.asarray(task.relevant.indptr[1:] > task.relevant.indptr[:-1])[number * 16 : number * 16 + 16]
        assert not np.asarray(csr.contains(device, users, ranked))[counted].any()


def cut_world():
    """Four users, of whom user 1 has no test item."""
    train = [(0, 0), (1, 1), (2, 2), (2, 3), (2, 4), (3, 1), (3, 2)]
    return assemble("four", pairs(train), pairs([(0, 1), (2, 0), (2, 1), (3, 4)]))


def holds(task: EvaluationTask, **expected) -> bool:
    """Whether the task's arrays are int32 and hold this."""
    arrays = {"indptr": task.relevant.indptr, "indices": task.relevant.indices, **vars(task)}
    assert all(arrays[name].dtype == np.int32 for name in expected)
    return {name: arrays[name].tolist() for name in expected} == expected


def test_a_task_of_one_place():
    ((task,),) = shard_evaluation_tasks(cut_world(), "test", 10)  # two users of five items a chunk
    assert holds(task, users=[[0, 2], [3, 0]], indptr=[0, 1, 3, 4, 4], indices=[1, 0, 1, 4], seen_start=[0, 4, 6])
    # The four places more are for a slice as long as the longest, which begins at the end.
    assert holds(task, seen_row=[0, 1, 1, 1, 0, 0, *[0] * 4], seen_item=[0, 2, 3, 4, 1, 2, *[0] * 4])
    assert (task.items, task.width, task.num_users, task.num_items, task.axes) == (None, 4, 3, 5, (None, None))


def test_a_task_cut_over_users_and_items():
    """Place 0 has the items 0 and 2; the first two users are of share 0, the third and padding of share 1."""
    owners, axes = np.array([0, 1, 0, 1, 1]), ("data", "nodes")
    cut = shard_evaluation_tasks(cut_world(), "test", 6, 2, owners, 2, axes)
    for share, tasks in enumerate(cut):
        for place, task in enumerate(tasks):
            assert holds(task, items=([0, 2, 5], [1, 3, 4])[place], users=([[0, 2]], [[3, 0]])[share])
            assert holds(task, indptr=([0, 1, 3], [0, 1, 1])[share], indices=([1, 0, 1], [4, 0, 0])[share])
            assert (task.width, task.num_users, task.num_items, task.axes) == (2, 3, 5, axes)
    assert holds(cut[0][0], seen_start=[0, 2], seen_row=[0, 1, 0, 0], seen_item=[0, 1, 0, 0])
    assert holds(cut[0][1], seen_start=[0, 2], seen_row=[1, 1, 0, 0], seen_item=[1, 2, 0, 0])
    assert holds(cut[1][0], seen_start=[0, 1], seen_row=[0, 0, 0, 0], seen_item=[1, 0, 0, 0])
    assert holds(cut[1][1], seen_start=[0, 1], seen_row=[0, 0, 0, 0], seen_item=[0, 0, 0, 0])


def test_the_validation_part_is_masked_when_the_test_part_is_ranked():
    data = assemble("valid", pairs([(0, 0)]), pairs([(0, 2)]), pairs([(0, 1)]))
    first = [
        int(ranking.recommend(Fixed(jnp.zeros((1, 3))), EvaluationTask.of(data, part), jnp.int32(0), 1)[0, 0])
        for part in ("valid", "test")
    ]
    assert first == [1, 2]


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("ks", [(1,), (5, 20), (150,)])
def test_popularity_of_few_items_is_that_of_all(split, ks):
    """Many items are equally popular; of one user's train items all are the most popular."""
    world = {"num_users": 200, "num_items": 150, "num_interactions": 3000, "validation_fraction": 0.1}
    data = datasets.load(DataSettings(dataset="synthetic", **world))
    popular = np.argsort(-csr.column_counts(data.train, 150), kind="stable")[:40]
    users, items = csr.row_of_entry(data.train), data.train.indices
    users, items = (
        np.concatenate(both) for both in ((users[users != 3], np.full(40, 3)), (items[users != 3], popular))
    )
    data = dataclasses.replace(data, train=csr.from_pairs(users, items, (200, 150)))
    whole = ranking.evaluate(Popularity().fit(data), EvaluationTask.of(data, split), ks)
    assert popularity_metrics(data, split, ks) == pytest.approx(whole, rel=1e-6)


def test_popularity_of_few_items_breaks_ties_by_the_lowest_id():
    """All items are equally popular, so everybody is recommended the first one that they do not have."""
    count = 3000
    train = pairs([(user, item % count) for user in range(count) for item in (user, user + 1)])
    first = {0: 2, count - 1: 1}
    data = assemble("equal", train, pairs([(user, first.get(user, 0)) for user in range(count)]))
    assert popularity_metrics(data, "test", (1,))["recall@1"] == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(("name", "recall", "ndcg"), [("gowalla", 0.0416, 0.0317), ("yelp2018", 0.0125, 0.0101)])
def test_popularity_has_its_published_numbers(published, name, recall, ndcg):
    interactions = datasets.load(DataSettings(dataset=name, data_dir=published(name)))
    found = ranking.evaluate(Popularity().fit(interactions), EvaluationTask.of(interactions, "test"), (20,))
    assert found["recall@20"] == pytest.approx(recall, abs=2e-4)
    assert found["ndcg@20"] == pytest.approx(ndcg, abs=2e-4)
