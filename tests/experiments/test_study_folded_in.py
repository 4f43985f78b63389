"""Users who are left out of the study's trainings and folded in: in a tiny world, and in the report of it."""

import copy
import dataclasses
import json
import re

import findings
import folding
import left_out
import numpy as np
import parts
import portraits
import pytest
import records
import report
import run
from differences import Results
from programs import call, refusal

import lgcn_jax as lg
from lgcn_jax.data import csr

WORLD = {"num_users": 60, "num_items": 40, "num_interactions": 900}
PARTS = ("train", "valid", "test")
LEFT_OUT = {"share": 0.2, "seed": 7}
TINY = parts.Experiment(
    "folded-in",
    "Do they?",
    "synthetic",
    parts.BOTH_LOSSES,
    (0, 1),
    epochs=3,
    eval_every=1,
    held_out=0.2,
    shared={"embedding_dim": 4, "num_layers": 1, "batch_size": 256},
    data=WORLD,
    left_out=LEFT_OUT,
)


@pytest.fixture(scope="module")
def interactions():
    return lg.load("synthetic", validation_fraction=0.2, **WORLD)


@pytest.fixture(scope="module")
def users(interactions) -> np.ndarray:
    """Those who are left out."""
    return left_out.drawn(interactions, **LEFT_OUT)


@pytest.fixture(scope="module")
def found(made) -> dict:
    return records.read(made / "folded-in.json")


def test_nobody_who_is_left_out_is_in_what_is_trained_on(interactions, users):
    rest = folding.trained_on(TINY, interactions)
    others = np.setdiff1d(np.arange(interactions.num_users), users)
    for split in PARTS:
        assert csr.degrees(rest.part(split))[users].sum() == 0
        kept, whole = (csr.take_rows(each.part(split), others) for each in (rest, interactions))
        assert all(np.array_equal(*pair) for pair in zip(kept, whole, strict=True))
    assert len(users) == round(0.2 * 60)
    assert folding.trained_on(dataclasses.replace(TINY, left_out={}), interactions) is interactions


def test_weights_and_dislikes_of_those_left_out_go_with_them(interactions, users):
    weights = np.arange(1, interactions.train.nnz + 1, dtype=np.float32)
    data = dataclasses.replace(interactions, weights=weights, disliked=interactions.test)
    rest, left = left_out.without(data, users), np.isin(csr.row_of_entry(data.train), users)
    assert rest.weights.tolist() == weights[~left].tolist()
    assert rest.disliked.nnz == rest.test.nnz < data.test.nnz


def test_folded_users_are_those_of_a_solo_run_folded_in_by_hand(interactions, users, found):
    """The front door trains the same model without these users; their vectors are sums of their items' rows."""
    theirs = next(each for each in found["runs"] if (each["condition"], each["seed"]) == ("both", 1))
    settings = theirs["settings"] | {"seed": 1}
    model = lg.Model(**settings).fit(left_out.without(interactions, users), quiet=True)
    table, degree = model._trained.table[60:], np.bincount(model._trained.train.indices, minlength=40)
    recalls, hits = [], []
    for user in users:
        mine, held, wanted = (csr.take_rows(interactions.part(name), [user]).indices for name in PARTS)
        vector = (table[mine] / np.sqrt(len(mine) * (degree[mine] + 1.0))[:, None]).sum(0)
        scores = model.item_embeddings @ vector
        scores[mine] = scores[held] = -np.inf
        hits.append(np.isin(wanted, np.argsort(-scores)[:20]).sum())
        recalls.append(hits[-1] / len(wanted))
    assert theirs["folded_in"]["recall@20"] == pytest.approx(np.mean(recalls), abs=2e-6)
    assert theirs["folded_in"]["hits"] == "".join(portraits.DIGITS[count] for count in hits)


def test_popularity_is_that_of_the_others(interactions):
    """Of so many users left out that the others' is not that of all."""
    experiment = dataclasses.replace(TINY, left_out={"share": 0.8, "seed": 7})
    users = left_out.drawn(interactions, **experiment.left_out)
    rest = left_out.without(interactions, users)
    recalls = {"others": [], "all": []}
    for name, train in (("others", rest.train), ("all", interactions.train)):
        for user in users:
            mine, held, wanted = (csr.take_rows(interactions.part(part), [user]).indices for part in PARTS)
            scores = np.bincount(train.indices, minlength=40).astype(float)
            scores[mine] = scores[held] = -np.inf
            recalls[name].append(np.isin(wanted, np.argsort(-scores, kind="stable")[:20]).mean())
    told = folding.popularity(experiment, interactions)["recall@20"]
    assert told == pytest.approx(np.mean(recalls["others"]), abs=2e-6)
    assert told != pytest.approx(np.mean(recalls["all"]), abs=1e-3)


def test_a_file_says_who_is_left_out_and_takes_no_others(made, found, interactions, users, tmp_path, capsys):
    assert found["left_out"] == LEFT_OUT
    assert found["users"]["relevant"] == csr.degrees(interactions.test)[users].tolist()
    popular = folding.popularity(TINY, interactions)
    for each in found["runs"]:
        assert each["folded_in"].keys() == {"recall@20", "ndcg@20", "popularity", "hits"}
        assert each["folded_in"]["popularity"] == popular
    other = found | {"left_out": {"share": 0.2, "seed": 8}}
    (tmp_path / "folded-in.json").write_text(records.written(other))
    assert "left_out {'share': 0.2, 'seed': 8}" in refusal(capsys, run, "folded-in", f"--results={tmp_path}")


def test_what_is_finished_is_kept(found, tiny, tmp_path, capsys):
    cut = found | {"runs": [each | {"seconds": 12345.0} for each in found["runs"][:3]]}
    (tmp_path / "folded-in.json").write_text(records.written(cut))
    call(run, "--list", "folded-in", f"--results={tmp_path}")
    assert "  1 of   4 runs are missing" in capsys.readouterr().out
    call(run, "folded-in", f"--results={tmp_path}")
    again = records.read(tmp_path / "folded-in.json")
    assert [each["seconds"] == 12345.0 for each in again["runs"]] == [True] * 3 + [False]
    assert again["runs"][3]["folded_in"] == found["runs"][3]["folded_in"]


def test_differences_are_arithmetic(found):
    """Each user of the paper's loss' second run finds an item, all others none."""
    runs = copy.deepcopy(found["runs"])
    for number, each in enumerate(runs):
        each["folded_in"] |= {"recall@20": [0.1, 0.2, 0.4, 0.3][number], "hits": "0001"[number] * 12}
        each["chosen"]["valid"]["recall@20"] = [0.5, 0.6, 0.7, 0.9][number]
    part = findings.folded_in({"folded-in": Results(found | {"runs": runs})})
    row, users = part["differences"][0], part["users"][0]
    assert row["values"] == pytest.approx([0.3, 0.1])
    assert (row["difference"], row["means"]) == (pytest.approx(0.2), pytest.approx([0.15, 0.35]))
    assert users["difference"] == pytest.approx(np.mean([0.5 / count for count in found["users"]["relevant"]]))
    assert (users["pairs"], part["left out"]) == (12, LEFT_OUT | {"users": 12})
    assert part["table"][0]["recall@20"]["mean"] == pytest.approx(0.15)
    assert part["trained on"][0]["values"] == pytest.approx([0.2, 0.3])
    assert part["popularity"] == runs[0]["folded_in"]["popularity"]


def test_the_page_has_its_section(made):
    page = report.report(findings.findings(*findings.read_all(made)))
    text = page["REPORT.md"].split("## d. Users who are folded in")[1].split("\n## ")[0]
    part = json.loads(page["findings.json"])["folded in"]
    row = part["differences"][0]
    assert f"Folded in: {row['means'][1]:.4f} against {row['means'][0]:.4f} with BPR" in text
    assert f"would have {part['popularity']['recall@20']:.4f}." in text
    assert "12 users, 20.0 % of those" in text
    assert "| folded in, popularity |" in text
    assert set(re.findall(r"figures/[\w.-]+", text)) == {"figures/folded-in-differences.svg"} <= set(page)
    assert "Of 12 users on LastFM whom no training has seen" in page["REPORT.md"]


def test_a_page_without_results_says_what_to_run():
    text = report.report(findings.findings({}, None))["REPORT.md"]
    assert "Not run yet: python experiments/study/run.py folded-in." in text
    assert "折入" not in text
