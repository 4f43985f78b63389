"""Mixtures of two models against their definition in NumPy."""

import dataclasses
import json

import numpy as np
import oracle
import pytest

import lgcn_jax as lg
from lgcn_jax.cli import main
from lgcn_jax.data import csr

SIZE = {"num_users": 120, "num_items": 80, "num_interactions": 2500, "validation_fraction": 0.2}
FLAGS = ["--dataset=synthetic", *(f"--{name}={value}" for name, value in SIZE.items()), "--top_k=5"]
SETTINGS = {"embedding_dim": 8, "batch_size": 400, "learning_rate": 0.05, "epochs": 3, "eval_every": 3, "top_k": (5,)}


@pytest.fixture(scope="module")
def interactions():
    return lg.load("synthetic", **SIZE)


@pytest.fixture(scope="module")
def run(interactions, tmp_path_factory):
    """A run folder, and its model."""
    folder = tmp_path_factory.mktemp("mixture") / "run"
    return folder, lg.LightGCN(**SETTINGS).fit(interactions, folder, quiet=True)


@pytest.fixture(scope="module")
def filtered(interactions):
    return lg.GFCF(rank=8).fit(interactions)


def raw(model):
    """float64[120, 80], the scores of a model."""
    return np.asarray(model.scorer.scores(np.arange(120, dtype=np.int32)), np.float64)


def standardized(scores):
    deviation = scores.std(1, keepdims=True)
    return (scores - scores.mean(1, keepdims=True)) / np.where(deviation > 0, deviation, 1)


def test_scores_are_those_of_the_definition(run, filtered, interactions):
    model = lg.Mixture(run[1], filtered, weight=0.7, top_k=5).fit(interactions)
    expected = 0.7 * standardized(raw(run[1])) + 0.3 * standardized(raw(filtered))
    np.testing.assert_allclose(raw(model), expected, atol=2e-5)
    found = model.recommend(interactions.user_ids, k=4, exclude_seen=False)
    np.testing.assert_allclose(found.scores, -np.sort(-expected, axis=1)[:, :4], atol=2e-5)
    np.testing.assert_allclose(
        model.predict(interactions.user_ids[7], interactions.item_ids[:3]), expected[7, :3], atol=2e-5
    )
    oracles = oracle.metrics(expected, interactions, "test", (5,))
    assert model.evaluate(interactions, k=5) == pytest.approx(oracles, abs=2e-3)


def test_a_user_with_equal_scores_has_a_mixture_of_zero_and_the_other(run, interactions):
    """Who has no train item gets nothing of a filter."""
    train = csr.filter_entries(interactions.train, csr.row_of_entry(interactions.train) != 5)
    data = dataclasses.replace(interactions, train=train)
    filtered = lg.GFCF(rank=8).fit(data)
    assert not raw(filtered)[5].any()
    popular = lg.Popularity().fit(data)
    found = raw(lg.Mixture(popular, filtered, weight=0.5, top_k=5).fit(data))
    np.testing.assert_allclose(found[5], 0.5 * standardized(raw(popular))[5], atol=1e-5)


def test_the_weight_is_the_best_of_those_tried_on_the_validation_part(run, filtered, interactions):
    model = lg.Mixture(run[1], filtered, weight="auto", top_k=5).fit(interactions)
    assert [row["weight"] for row in model.tried] == pytest.approx(np.arange(11) / 10)
    parts, recalls = [standardized(raw(each)) for each in (run[1], filtered)], []
    for row in model.tried:
        scores = row["weight"] * parts[0] + (1 - row["weight"]) * parts[1]
        expected = oracle.metrics(scores, interactions, "valid", (5,))
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=2e-3)
        recalls.append(row["recall@5"])
    assert model.weight == model.tried[int(np.argmax(recalls))]["weight"]
    assert len(set(recalls)) > 3
    assert model.get_params() == {"first": run[1], "second": filtered, "weight": "auto", "top_k": 5}  # to fit another
    assert model.evaluate(interactions, "valid", k=5)["recall@5"] == pytest.approx(max(recalls), abs=1e-6)


def test_the_choice_does_not_look_at_the_test_part(filtered, interactions):
    other = dataclasses.replace(interactions, test=csr.take_rows(interactions.test, np.arange(120)[::-1]))
    one, two = (lg.Mixture("popularity", filtered, top_k=5).fit(data) for data in (interactions, other))
    assert one.tried == two.tried
    assert one.evaluate(interactions, k=5) != two.evaluate(other, k=5)


def test_two_models_with_vectors_are_one_with_both_widths(run, interactions, tmp_path):
    factors = lg.IALS(width=6, sweeps=4).fit(interactions)
    model = lg.Mixture(run[0], factors, weight=0.4).fit(interactions)
    assert (model.user_embeddings.shape, model.item_embeddings.shape) == ((120, 14), (80, 14))
    expected = 0.4 * standardized(raw(run[1])) + 0.6 * standardized(raw(factors))
    found = model.user_embeddings.astype(np.float64) @ model.item_embeddings.T.astype(np.float64)
    np.testing.assert_allclose(found - found.mean(1, keepdims=True), expected, atol=2e-5)
    np.testing.assert_array_equal(np.argsort(-found)[:, :20], np.argsort(-expected)[:, :20])
    model.save(tmp_path / "model")
    assert main.main(["export", f"--workdir={tmp_path / 'model'}", f"--out={tmp_path / 'vectors'}"]) == 0
    with np.load(tmp_path / "vectors" / "vectors.npz") as file:
        np.testing.assert_array_equal(
            file["user_embeddings"] @ file["item_embeddings"].T, model.user_embeddings @ model.item_embeddings.T
        )
    assert model.similar_items(interactions.item_ids[3], k=2).ids.shape == (1, 2)
    np.testing.assert_array_equal(
        model.recommend(interactions.user_ids, k=3, mesh="data:2,nodes:2").ids,
        model.recommend(interactions.user_ids, k=3).ids,
    )


def test_a_mixture_survives_its_folder_and_can_be_mixed_again(run, filtered, interactions, tmp_path):
    model = lg.Mixture(run[0], filtered, top_k=5).fit(interactions)
    model.save(tmp_path / "model")
    found = lg.load_model(tmp_path / "model")
    assert (found.weight, found.top_k, found.tried) == (model.weight, 5, model.tried)
    np.testing.assert_array_equal(raw(found), raw(model))
    assert isinstance(found.first, lg.Model)
    assert found.first.config == run[1].config
    assert found.evaluate(interactions, k=5) == model.evaluate(interactions, k=5)
    twice = lg.Mixture(tmp_path / "model", lg.Popularity(), weight=0.9).fit(interactions)
    expected = 0.9 * standardized(raw(model)) + 0.1 * standardized(raw(lg.Popularity().fit(interactions)))
    np.testing.assert_allclose(raw(twice), expected, atol=2e-5)
    twice.save(tmp_path / "twice")
    np.testing.assert_array_equal(raw(lg.load_model(tmp_path / "twice")), raw(twice))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda data: lg.Mixture("ease", "popularity", weight=1.5), "weight: found 1.5, expected a number from 0 to 1"),
        (lambda data: lg.Mixture("ease", "popularity", weight="best"), "weight: found 'best', expected a number from"),
        (lambda data: lg.Mixture("easy", "popularity").fit(data), "first: found 'easy', expected the folder of a run"),
        (lambda data: lg.Mixture("ease", 3).fit(data), "second: found a int, expected the folder of a run or model"),
        (lambda data: lg.Mixture("ease", "popularity", top_k=81).fit(data), "k: found 81, expected an integer from 1"),
        (
            lambda data: lg.Mixture("ease", "popularity").fit(
                lg.load("synthetic", **SIZE | {"validation_fraction": 0})
            ),
            "weight: found auto, expected a number, or data with a validation part",
        ),
        (
            lambda data: lg.Mixture("ease", "gf-cf", weight=1).fit(data),
            "second: found a GFCF model with rank 256, expected at most 80, the smaller of the numbers of users and",
        ),
        (
            lambda data: lg.Mixture("ease", lg.EASE().fit(lg.load("synthetic", **SIZE | {"data_seed": 7}))).fit(data),
            "second: found a EASE model of other data, expected one of synthetic, read and split as here",
        ),
        (
            lambda data: lg.Mixture("ease", "popularity", weight=1).fit(data).export("vectors"),
            "Mixture: found one with a EASE model, without vectors, expected two models with vectors",
        ),
        (lambda data: lg.Mixture("ease", "popularity").recommend(3), "Mixture: found a model that was not fitted"),
    ],
)
def test_bad_input_is_refused_in_one_line(interactions, make, text):
    with pytest.raises(lg.InputError) as error:
        make(interactions)
    assert str(error.value).startswith(text)


def test_train_mixes_a_run_and_a_baseline_into_a_folder(run, interactions, tmp_path, capsys):
    command = [
        "train",
        "--model=mixture",
        f"--first={run[0]}",
        "--second=ease",
        *FLAGS,
        f"--workdir={tmp_path / 'mix'}",
    ]
    assert main.main(command) == 0
    model, out = lg.load_model(tmp_path / "mix"), capsys.readouterr().out
    record = json.loads((tmp_path / "mix" / "result.json").read_text())
    assert record["best"]["recall@5"] == pytest.approx(model.evaluate(interactions, k=5)["recall@5"], abs=1e-6)
    assert (record["config"]["weight"], record["vector_width"]) == (model.weight, None)
    expected = lg.Mixture(run[1], "ease", top_k=5).fit(interactions)
    assert (model.weight, model.tried) == (expected.weight, expected.tried)
    for each in (run[1], lg.EASE().fit(interactions), model):
        assert f"{each.evaluate(interactions, k=5)['recall@5']:.4f}" in out
    assert main.main(["recommend", f"--workdir={tmp_path / 'mix'}", "--user=3", "--k=2"]) == 0
    assert str(model.recommend(3, k=2).ids[0, 0]) in capsys.readouterr().out
    assert main.main(["evaluate", f"--workdir={tmp_path / 'mix'}", *FLAGS]) == 0
    assert f"{model.evaluate(interactions, k=5)['recall@5']:.4f}" in capsys.readouterr().out
    for flags, said in (
        ([], "found a model, expected a new folder, or --overwrite"),
        (["--overwrite", "--second="], "--second: found nothing, expected the folder of a run or model, or the name"),
        (["--overwrite", "--second=easy"], "--second: found 'easy', expected the folder of a run or model, or one of"),
        (["--overwrite", "--weight=2"], "--weight: found 2.0, expected a number from 0 to 1, or auto"),
        (["--overwrite", "--epochs=2"], "--epochs: found 2, expected nothing with --model=mixture, whose models have"),
        (["--overwrite", "--validation_fraction=0"], "--weight: found auto, expected a number, or data with a valid"),
        (["--overwrite", "--data_seed=3", "--weight=.5"], ", as trained on"),
        (["--overwrite", "--model=ease"], "--first: found "),
        (["--overwrite", "--model=lightgcn"], "--first: found "),
    ):
        assert main.main([*command, *flags]) == 2
        assert (found := capsys.readouterr().err).count("\n") == 1
        assert said in found, found
    assert lg.load_model(tmp_path / "mix").weight == model.weight
