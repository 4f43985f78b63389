"""Runs compared: by users and seeds, what is refused, and the files that are written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import lgcn_jax as lg
from lgcn_jax.cli.main import main
from lgcn_jax.config import Config
from lgcn_jax.errors import InputError
from lgcn_jax.reporting import comparable

SYNTHETIC = {"num_users": 60, "num_items": 40, "num_interactions": 600}


@pytest.fixture(scope="module")
def interactions():
    return lg.load("synthetic", **SYNTHETIC)


def train(interactions, folder, **settings):
    stated = {"epochs": 2, "learning_rate": 0.05, "embedding_dim": 4, "num_layers": 1, "top_k": (5,)} | settings
    lg.LightGCN(**stated).fit(interactions, workdir=folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def runs(interactions, tmp_path_factory):
    """Two losses with two seeds each."""
    home = tmp_path_factory.mktemp("runs")
    return [
        train(interactions, home / f"{loss}-{seed}", loss=loss, seed=seed)
        for loss in ("bpr", "enhanced")
        for seed in (1, 2)
    ]


@pytest.fixture(scope="module")
def by_seed(runs):
    return lg.compare(*runs, by="seed", metrics=["ndcg@5"])


def values(run, interactions, metric="ndcg@5"):
    """The metric of each user by way of the loaded model."""
    return lg.load_model(run).evaluate(interactions, k=5, metrics=("ndcg", "recall"), per_user=True).per_user[metric]


def test_users_of_two_runs_are_paired(runs, interactions):
    (row,) = lg.compare(runs[0], runs[2], metrics="ndcg@5", interactions=interactions).differences
    first, second = (values(run, interactions).astype(float) for run in (runs[0], runs[2]))
    assert (row.first, row.second, row.over, row.found.pairs) == ("bpr-1", "enhanced-1", "users", len(first))
    assert row.means == pytest.approx((first.mean(), second.mean()))
    assert row.found.mean == pytest.approx((second - first).mean())
    assert row.found.low <= row.found.mean <= row.found.high
    assert row.corrected == row.found.p_value


def test_runs_are_ranked_by_what_they_chose(tmp_path):
    """With the weights and the prior of result.json, which is how they are served."""
    data = lg.load("synthetic", **SYNTHETIC, validation_fraction=0.3)
    auto = {"eval_split": "valid", "inference_weights": "auto", "popularity_prior": "auto"}
    run = train(data, tmp_path / "run", loss="ssm", **auto)
    again = shutil.copytree(run, tmp_path / "again")
    tested = json.loads((run / "result.json").read_text())["test"]["ndcg@5"]
    (row,) = lg.compare(run, again, metrics="ndcg@5").differences
    assert row.means == pytest.approx((tested, tested), abs=1e-6)
    trained = lg.load_model(run, inference_weights=(), popularity_prior=0.0).evaluate(data, k=5)
    assert abs(trained["ndcg@5"] - tested) > 1e-3
    (again / "result.json").write_text(json.dumps({"status": "completed"}))
    with pytest.raises(InputError, match="not chosen yet, since the run has not ended"):
        lg.compare(run, again)


def test_groups_that_differ_in_the_seed_are_compared_by_seed_and_by_user(runs, interactions, by_seed):
    users, seeds = by_seed.differences
    assert (users.first, users.second) == (seeds.first, seeds.second)
    assert users.first.startswith("loss=bpr")
    assert "loss=enhanced" in users.second
    whole = np.stack([values(run, interactions) for run in runs]).astype(float).reshape(2, 2, -1)
    assert seeds.found.pairs == 2
    assert seeds.found.mean == pytest.approx((whole[1] - whole[0]).mean())
    np.testing.assert_allclose(users.means, whole.mean((1, 2)))
    difference = (whole[1] - whole[0]).mean(0)
    assert users.found.p_value == pytest.approx(scipy.stats.wilcoxon(difference, zero_method="pratt").pvalue)


def test_runs_that_are_ranked_otherwise_are_another_group():
    """Where their data lie, and on what they were computed, makes none."""
    stated = [{"seed": 1}, {"seed": 2, "mesh": "data:2"}, *({"seed": n, "popularity_prior": 0.25} for n in (1, 2))]
    configs = {Path(str(number)): Config.of(**settings) for number, settings in enumerate(stated)}
    found = comparable.group_runs(configs, "seed")
    assert found == {
        "popularity_prior=0.0": {1: Path("0"), 2: Path("1")},
        "popularity_prior=0.25": {1: Path("2"), 2: Path("3")},
    }


def test_p_values_are_corrected_for_all_metrics(runs):
    rows = lg.compare(*runs[:3]).differences
    assert [(row.second, row.metric) for row in rows] == [
        (run.name, metric) for run in runs[1:3] for metric in ("recall@5", "ndcg@5")
    ]
    smallest = min(rows, key=lambda row: row.found.p_value)
    assert smallest.corrected == pytest.approx(min(1, 4 * smallest.found.p_value))


def test_what_was_found_can_be_written(by_seed, tmp_path):
    by_seed.save(tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["dataset"] == "synthetic"
    assert found["differences"][1]["over"] == "seeds"
    assert found["differences"][0]["mean"] == by_seed.differences[0].found.mean
    for name in ("found.svg", "found.png"):
        by_seed.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 2000
    with pytest.raises(InputError, match=r"found 'found.txt', expected a file name that ends in .json, .svg"):
        by_seed.save(tmp_path / "found.txt")


def test_the_command_prints_a_table_and_writes_the_files(runs, tmp_path, capsys):
    assert main(["compare", *map(str, runs), "--by=seed", f"--out={tmp_path}/a.json,{tmp_path}/a.svg"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("synthetic, test part; epochs chosen on the test part, evaluated every 10")
    assert "2 seeds" in out
    assert "recall@5" in out
    assert "p (Holm)" in out
    assert (tmp_path / "a.json").exists()
    assert (tmp_path / "a.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([0], "compare: found 1 runs, 1 of them different, expected two or more, once each"),
        ([0, 0], "compare: found 2 runs, 1 of them different, expected two or more, once each"),
        ([0, 2, "--by=users"], "--by=users: found 'users', expected None or 'seed'"),
        ([0, 2, "--metrics=gini@5"], "--metrics: found 'gini@5', expected some of recall@5, ndcg@5"),
        ([0, 1, "--by=seed"], "found runs of one group (all), expected at least two that differ in more than the seed"),
        ([0, 1, 2, "--by=seed"], "found seeds 1, expected 1, 2, as"),
        ([0, 2, "--out=a.txt"], "--out=a.txt: found 'a.txt', expected a file name that ends in .json"),
    ],
)
def test_what_cannot_be_compared_is_one_line(runs, arguments, line, capsys):
    given = [str(runs[each]) if isinstance(each, int) else each for each in arguments]
    assert main(["compare", *given]) == 2
    assert line in capsys.readouterr().err


def test_runs_of_other_data_or_another_protocol_or_unfinished_ones_are_refused(runs, interactions, tmp_path):
    other = train(lg.load("synthetic", **SYNTHETIC | {"data_seed": 1}), tmp_path / "other", loss="bpr")
    with pytest.raises(InputError, match="found a run on other data, expected those of"):
        lg.compare(runs[0], other)
    unfinished = tmp_path / "unfinished"
    shutil.copytree(runs[0], unfinished)
    (unfinished / "result.json").unlink()
    with pytest.raises(InputError, match="found a run that is unfinished, expected one that is completed"):
        lg.compare(runs[0], unfinished)
    protocol = tmp_path / "protocol"
    shutil.copytree(runs[0], protocol)
    config = json.loads((protocol / "config.json").read_text())
    (protocol / "config.json").write_text(json.dumps(config | {"epochs": 3}))
    with pytest.raises(InputError, match=r"found --epochs=3, expected 2, as"):
        lg.compare(runs[0], protocol)
    with pytest.raises(InputError, match="found no run, expected a folder that train has filled"):
        lg.compare(runs[0], tmp_path)
    lg.Popularity().fit(interactions).save(tmp_path / "saved")
    with pytest.raises(InputError, match="found a saved model, which has no epochs, expected a run that was trained"):
        lg.compare(runs[0], tmp_path / "saved")
