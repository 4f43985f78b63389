"""The study: its runner in a tiny world, its statistics as arithmetic, and its report of made-up results."""

import copy
import json
import re
from pathlib import Path

import answer
import differences
import findings
import numpy as np
import parts
import portraits
import pytest
import records
import report
import run
from differences import Results, verdict
from programs import call, refusal

import lgcn_jax as lg
from lgcn_jax.config import Config

STUDY = Path(run.__file__).parent
WORLD = {"num_users": 60, "num_items": 40, "num_interactions": 900}
SMALL = {"embedding_dim": 4, "num_layers": 1, "batch_size": 256}
TINY = parts.Experiment(
    "losses",
    "Does it?",
    "synthetic",
    parts.BOTH_LOSSES,
    (0, 1),
    epochs=3,
    eval_every=1,
    held_out=0.2,
    shared=SMALL,
    data=WORLD,
    portraits=True,
)


REAL = parts.EXPERIMENTS["losses"]


def test_a_run_has_both_curves_and_what_each_protocol_chooses(made):
    found = records.read(made / "losses.json")
    assert [(each["condition"], each["seed"]) for each in found["runs"]] == [
        (condition, seed) for condition in ("bpr", "both") for seed in (0, 1)
    ]
    interactions = lg.load("synthetic", validation_fraction=0.2, **WORLD)
    for each in found["runs"]:
        curve = each["curve"]
        assert curve["epoch"] == [1, 2, 3]
        best = int(np.argmax(curve["valid"]["recall@20"]))
        assert each["chosen"]["valid"] == {
            "epoch": best + 1,
            "recall@20": curve["test"]["recall@20"][best],
            "ndcg@20": curve["test"]["ndcg@20"][best],
        }
        assert each["chosen"]["test"]["recall@20"] == max(curve["test"]["recall@20"])
        assert "epoch 480" not in each["chosen"]
    relevant = np.diff(interactions.test.indptr)
    assert found["users"]["relevant"] == relevant[relevant > 0].tolist()


def test_curves_and_vectors_are_those_of_a_solo_run(made):
    """The same settings by the front door, once evaluated on each part, give the same numbers."""
    theirs = next(each for each in records.read(made / "losses.json")["runs"] if each["condition"] == "both")
    settings = {k: v for k, v in theirs["settings"].items() if k != "eval_split"} | {"seed": theirs["seed"]}
    interactions = lg.load("synthetic", validation_fraction=0.2, **WORLD)
    for split in ("valid", "test"):
        model = lg.Model(**settings, eval_split=split).fit(interactions, quiet=True)
        rows = [row for row in model.history if row["split"] == split]
        ours = [row["recall@20"] for row in rows]
        assert theirs["curve"][split]["recall@20"] == pytest.approx(ours, abs=2e-6)
        if split == "valid":
            found = model.evaluate(interactions, split="test", k=20, metrics=("recall",), per_user=True)
            hits = np.rint(found.values["recall@20"] * found.relevant).astype(int)
            assert theirs["portrait"]["hits"] == "".join(portraits.DIGITS[count] for count in hits)
            assert theirs["chosen"]["valid"]["recall@20"] == pytest.approx(found.means()["recall@20"], abs=2e-6)


def test_finished_runs_are_kept_and_missing_ones_made(made, tiny, tmp_path, capsys):
    whole = records.read(made / "losses.json")
    cut = copy.deepcopy(whole)
    del cut["runs"][1]
    cut["runs"][0]["seconds"] = 12345.0  # would be lost if it were made anew
    (tmp_path / "losses.json").write_text(records.written(cut))
    call(run, "losses", f"--results={tmp_path}")
    again = records.read(tmp_path / "losses.json")
    assert capsys.readouterr().out.count("losses: ") == 1
    assert again["runs"][0]["seconds"] == 12345.0
    assert again["runs"][1]["curve"] == whole["runs"][1]["curve"]
    assert [each["seed"] for each in again["runs"]] == [0, 1, 0, 1]
    call(run, "losses", f"--results={tmp_path}")
    assert capsys.readouterr().out == ""
    call(run, "--list", "losses", f"--results={tmp_path}", "--seeds=0-3")
    assert "  4 of   8 runs are missing" in capsys.readouterr().out


def test_conditions_that_differ_in_numbers_alone_are_trained_together():
    experiment = parts.EXPERIMENTS["margin-temperature"]
    together, alone = run.alike(experiment, list(experiment.conditions))
    assert (len(together), alone) == (9, ["bpr"])
    assert run.alike(experiment, ["bpr"]) == [["bpr"]]


def test_bad_input_ends_in_one_line(made, tmp_path, capsys):
    assert "no experiment" in refusal(capsys, run)
    assert "'loses'" in refusal(capsys, run, "loses")
    assert "--seeds" in refusal(capsys, run, "losses", "--seeds=3-1")
    assert "each seed once" in refusal(capsys, run, "losses", "--seeds=1,0-2")
    assert "--conditions" in refusal(capsys, run, "losses", "--conditions=none")
    (tmp_path / "losses.json").write_text("{")
    assert "no file of results" in refusal(capsys, run, "losses", f"--results={tmp_path}")
    assert "no file of results" in refusal(capsys, report, f"--results={tmp_path}", f"--out={tmp_path}")
    other = records.read(made / "losses.json") | {"held_out": 0.5}
    (tmp_path / "losses.json").write_text(records.written(other))
    assert "held_out 0.5" in refusal(capsys, run, "losses", f"--results={tmp_path}")


@pytest.mark.parametrize("name", parts.EXPERIMENTS)
def test_every_condition_has_settings_that_go_together(name):
    experiment = parts.EXPERIMENTS[name]
    for condition in experiment.conditions:
        Config.of(dataset=experiment.dataset, **experiment.settings(condition))
    assert len({json.dumps(records.stated(experiment, each), sort_keys=True) for each in experiment.conditions}) == len(
        experiment.conditions
    )


def test_a_file_of_results_reads_back_as_it_was(made):
    found = records.read(made / "losses.json")
    assert json.loads(records.written(found)) == found
    assert (made / "losses.json").read_text(encoding="utf-8").count("\n") < 200


# Made-up results: 8 seeds, recalls that are whole thousandths, so that every number can be done in one's head.
SEEDS = tuple(range(8))
EPOCHS = [100, 300, 480, 520]


def made_up_run(condition: str, seed: int, settings: dict, recall: list[float], portrait: dict | None) -> dict:
    curve = {"epoch": EPOCHS}
    for split in ("test", "valid"):
        curve[split] = {"recall@20": recall, "ndcg@20": [round(value - 0.05, 6) for value in recall]}
    run = {"condition": condition, "seed": seed, "settings": settings, "seconds": 10.0}
    run |= {"chosen": records.chosen(curve), "curve": curve, "environment": 0}
    return run | ({"portrait": portrait} if portrait else {})


def made_up(made: Path, lead: float, name: str = "losses", seeds=SEEDS) -> dict:
    """A file in which the paper's loss is ahead by .02 at first, and by `lead` +- .001 at the end."""
    found = records.read(made / "losses.json")
    portrait = found["runs"][0]["portrait"]
    runs = []
    for condition, settings in found["conditions"].items():
        for seed in seeds:
            ours = condition == "both"
            start = 0.2 + 0.001 * seed + (0.02 if ours else 0)
            end = 0.26 + 0.001 * seed + (lead + (0.001 if seed % 2 else -0.001) if ours else 0)
            runs.append(made_up_run(condition, seed, settings, [start, 0.25, end - 0.002, end], portrait))
    return found | {"name": name, "runs": runs}


def test_differences_are_arithmetic(made):
    results = Results(made_up(made, 0.01))
    row = differences.by_seed(results, "bpr", "both", "valid", "recall@20")
    assert row["values"] == pytest.approx([0.009, 0.011] * 4)
    assert row["difference"] == pytest.approx(0.01)
    assert row["means"] == pytest.approx([0.2635, 0.2735])
    assert row["relative"][0] == pytest.approx(100 * 0.01 / 0.2635)
    assert row["p"] == pytest.approx(2 / 2**8)  # all eight of one sign: the least there is
    assert 0.009 <= row["low"] < 0.01 < row["high"] <= 0.011
    assert differences.summary(np.array([1.0, 2.0, 3.0])) == {"mean": 2.0, "sd": 1.0}
    lead = differences.lead_by_epoch(results, "bpr", "both")
    assert lead["mean"] == pytest.approx([0.02, 0.0, 0.01, 0.01], abs=1e-9)
    assert lead["ahead"] == [8, 0, 8, 8]


def test_differences_of_users_are_those_of_their_means_over_seeds(made):
    found = made_up(made, 0.01, seeds=(0, 1))
    relevant = found["users"]["relevant"]
    for each in found["runs"]:
        count = 1 if each["condition"] == "both" and each["seed"] == 1 else 0
        each["portrait"] = each["portrait"] | {"hits": portraits.DIGITS[count] * len(relevant)}
    row = differences.by_user(Results(found), "bpr", "both")
    assert row["difference"] == pytest.approx(np.mean([0.5 / count for count in relevant]))
    assert (row["pairs"], row["higher"], row["lower"]) == (len(relevant), len(relevant), 0)


def test_p_values_of_a_family_are_corrected_together(made):
    rows = differences.family(Results(made_up(made, 0.01)), [("bpr", "both")], "valid")
    assert [row["metric"] for row in rows] == ["recall@20", "ndcg@20"]
    assert [row["p (Holm)"] for row in rows] == pytest.approx([2 * 2 / 2**8] * 2)


@pytest.mark.parametrize(
    ("lead", "seeds", "said"),
    [
        (0.01, SEEDS, "Yes, on LastFM"),
        (-0.01, SEEDS, "No: on LastFM it does harm"),
        (0.0, SEEDS, "No gain at the end of training can be shown"),
        (0.01, (0, 1, 2), "It cannot be said yet: there are too few seeds"),
    ],
)
def test_the_answer_says_what_the_interval_says(made, lead, seeds, said):
    files = {"losses": Results(made_up(made, lead, seeds=seeds))}
    found = findings.findings({}, None) | {"losses": findings.losses(files)}
    assert answer.lead(found).startswith(said)
    remarks = " ".join(answer.section(found).remarks)
    melted = "It learns faster, and the lead is gone at the end"
    assert (melted in remarks) == (lead <= 0 and len(seeds) > 5)


def test_a_difference_of_few_pairs_is_never_called_sure():
    row = {"pairs": 5, "p (Holm)": None, "family size": 0, "low": 0.1, "high": 0.2}
    assert verdict(row | {"family size": 1}) == "too few"
    sure = row | {"pairs": 6, "p (Holm)": 0.04, "family size": 1}
    assert verdict(sure) == "better"
    assert verdict(sure | {"p (Holm)": 0.06}) == "unclear"
    assert verdict(sure | {"low": -0.2, "high": -0.1}) == "worse"
    assert verdict(sure | {"family size": 2}) == "too few"  # 2 * 2 / 2**6 is above .05


def test_differences_of_too_few_pairs_are_none_of_a_family(made):
    found = made_up(made, 0.01)
    few = {"pairs": 3, "p": 0.25}
    rows = differences.family(Results(found), [("bpr", "both")], "valid", ("recall@20",))
    rows = differences.corrected([*rows, few], "two")
    assert [row["p (Holm)"] for row in rows] == [pytest.approx(2 / 2**8), None]
    assert [row["family size"] for row in rows] == [1, 1]


def with_folded_in(found: dict) -> dict:
    """The same file as one of users who were left out: .05 below the others, and each finding what the others do."""
    for each in found["runs"]:
        own = {metric: round(each["chosen"]["valid"][metric] - 0.05, 6) for metric in records.METRICS}
        popularity = {"recall@20": 0.1234, "ndcg@20": 0.0567}
        each["folded_in"] = own | {"popularity": popularity, "hits": each.pop("portrait")["hits"]}
    return found | {"left_out": {"share": 0.25, "seed": 77}}


@pytest.fixture(scope="module")
def page(made, tmp_path_factory) -> dict[str, str]:
    """The files of the report on made-up results."""
    folder = tmp_path_factory.mktemp("made-up")
    for name, lead in (("losses", 0.003), ("printed", 0.001), ("ml-100k", -0.002)):
        (folder / f"{name}.json").write_text(records.written(made_up(made, lead, name)), encoding="utf-8")
    folded_in = with_folded_in(made_up(made, 0.004, "folded-in"))
    (folder / "folded-in.json").write_text(records.written(folded_in), encoding="utf-8")
    return report.report(findings.findings(*findings.read_all(folder)))


NUMBER = re.compile(r"(?<![\w.])[+\N{MINUS SIGN}-]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\d)")


def numbers_in(value) -> list[float]:
    if isinstance(value, dict):
        return [number for each in (*value, *value.values()) for number in numbers_in(each)]
    if isinstance(value, list):
        return [number for each in value for number in numbers_in(each)]
    if isinstance(value, str):
        return [float(text.replace(",", "").replace("\N{MINUS SIGN}", "-")) for text in NUMBER.findall(value)]
    return [] if value is None or isinstance(value, bool) else [float(value)]


def test_every_number_of_the_page_is_in_its_findings(page):
    """Up to the digits that are shown; what is said of settings and methods is written out in the sections."""
    known = np.array(numbers_in(json.loads(page["findings.json"])))
    written = numbers_in(Path(STUDY / "of_others.py").read_text(encoding="utf-8").replace("{", " "))
    strange = []
    for text in NUMBER.findall(page["REPORT.md"].split("## What this does not say")[0]):
        plain = text.replace(",", "").replace("\N{MINUS SIGN}", "-")
        digits = len(plain.partition("e")[0].partition(".")[2])
        exponent = int(plain.partition("e")[2] or 0)
        near = np.abs(known - float(plain)) <= 0.5000001 * 10.0 ** (exponent - digits)
        percent = np.abs(100 * known - float(plain)) <= 0.5000001 * 10.0**-digits
        if not near.any() and not percent.any() and float(plain) not in written:
            strange.append(text)
    assert set(strange) <= {"20", "95", "3", "2", "1", "0", "480", "100", "5", "0.001"}, strange


def test_the_page_has_its_pictures_and_where_its_numbers_come_from(page):
    text = page["REPORT.md"]
    pictures = re.findall(r"\]\((figures/[\w.-]+)\)", text)
    assert len(pictures) > 5
    assert set(pictures) == {name for name in page if name.startswith("figures/")}
    assert all(page[name].startswith("<svg ") for name in pictures)
    assert "Source: experiments/study/results/losses.json, made by python experiments/study/run.py losses" in text
    assert "Not run yet: python experiments/study/run.py gowalla." in text
    assert "摘要" in text


def test_the_page_has_the_users_who_are_folded_in(page):
    """Of eight pairs each ahead by .003 or .005; user by user nobody differs."""
    text = page["REPORT.md"]
    folded = re.search(r"Folded in: (.*)", text)[1]
    assert folded.startswith("0.2175 against 0.2135 with BPR, +0.0040 (+1.9 %; 95 % interval from +0.003")
    assert "By popularity alone the users folded in would have 0.1234." in text
    count = json.loads(page["findings.json"])["folded in"]["left out"]["users"]
    assert re.search(rf"fold-in\W+的 {count} 名用户\W+按种子配对\W差值 \+0.0040", text)


def test_pictures_and_page_are_well_formed(page):
    from xml.etree import ElementTree

    for name, text in page.items():
        if name.endswith(".svg"):
            ElementTree.fromstring(text)
    assert page["REPORT.html"].count("<svg ") > 5
    assert 'lang="zh-Hans"' in page["REPORT.html"]


def test_a_report_without_results_says_so():
    assert "Part a has no results yet" in report.report(findings.findings({}, None))["REPORT.md"]


def test_the_report_that_is_committed_is_that_of_the_results(monkeypatch):
    monkeypatch.setitem(parts.EXPERIMENTS, "losses", REAL)  # whatever `tiny` has there
    with pytest.raises(SystemExit) as stopped:
        call(report, "--check")  # README.md with it
    assert stopped.value.code == 0
