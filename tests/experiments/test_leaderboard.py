"""The table of all models: made of tiny runs and a solved model, of facts, and as it stands in pages."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import leaderboard
import leaderboard_facts
import leaderboard_figure
import leaderboard_folders
import leaderboard_rows
import leaderboard_tables
import pytest
from leaderboard_facts import Measured, Row
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lgcn_jax.cli import main as program

ROOT = Path(__file__).resolve().parents[2]
MARK = "<!-- leaderboard: "
PAGES = [page for page in (ROOT / "README.md", leaderboard.FACTS / "README.md") if MARK in page.read_text("utf-8")]

WORLD = ["--dataset=synthetic", "--num_users=60", "--num_items=50", "--num_interactions=900", "--quiet"]
MODEL = ["--num_layers=1", "--embedding_dim=4", "--batch_size=256", "--epochs=2", "--eval_every=1"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs of one configuration, one that chose its epoch on the validation part, and a solved model."""
    made = tmp_path_factory.mktemp("runs")
    for seed in (3, 4):
        assert program.main(["train", *WORLD, *MODEL, f"--seed={seed}", f"--workdir={made / f'tiny-{seed}'}"]) == 0
    valid = ["--validation_fraction=0.2", "--eval_split=valid", f"--workdir={made / 'valid'}"]
    assert program.main(["train", *WORLD, *MODEL, *valid]) == 0
    assert program.main(["train", "--model=popularity", *WORLD, f"--workdir={made / 'popular'}"]) == 0
    return made


@pytest.fixture
def runs(folders, tmp_path):
    """A copy of them, to be changed."""
    return shutil.copytree(folders, tmp_path / "runs")


def result_of(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def change(folder: Path, **values) -> None:
    (folder / "result.json").write_text(json.dumps(result_of(folder) | values))


def run(*arguments) -> int:
    """The exit status of the program, whose flags are those of this call alone."""
    for name in leaderboard.FLAGS:
        leaderboard.FLAGS[name].unparse()
    try:
        leaderboard.main(["leaderboard.py", *map(str, arguments)])
    except SystemExit as stopped:
        return stopped.code
    return 0


def cells(text: str) -> list[dict[str, str]]:
    """The lines of the first table of a text, by the names of its columns."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if "|" in line]
    end = next((n for n, row in enumerate(rows[2:], 2) if len(row) != len(rows[0])), len(rows))
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:end]]


@pytest.mark.drawn
def test_a_table_and_a_figure_of_runs_and_a_solved_model(folders, tmp_path, capsys):
    names = ("tiny-3", "tiny-4", "valid", "popular")
    assert run(*(folders / name for name in names), f"--out={tmp_path / 'out'}") == 0
    found = {row["seeds"]: row for row in cells(capsys.readouterr().out)}
    assert found.keys() == {"3 4", "2020", "-"}
    recalls = [result_of(folders / name)["best"]["recall@20"] for name in ("tiny-3", "tiny-4")]
    mean, spread = sum(recalls) / 2, abs(recalls[0] - recalls[1]) / 2**0.5
    both = found["3 4"]
    assert both["recall@20"] == f"{mean:.4f} ± {spread:.4f}".replace("0.", ".")
    assert (both["loss"], both["epoch chosen on"], both["width"]) == ("enhanced", "test", "4")
    assert not any(name.startswith("to ") for name in both)  # nobody has set a goal for this data set
    assert found["2020"]["epoch chosen on"] == "validation"
    assert found["2020"]["recall@20"] == leaderboard_tables.decimal(result_of(folders / "valid")["test"]["recall@20"])
    assert found["2020"]["model"] == "lightgcn (eval_split valid, validation_fraction 0.2)"
    solved = found["-"]
    assert (solved["model"], solved["loss"], solved["epoch chosen on"], solved["width"]) == ("popularity", *"---")
    assert solved["recall@20"] == leaderboard_tables.decimal(result_of(folders / "popular")["best"]["recall@20"])
    for row in found.values():
        assert re.fullmatch(r"[\d.]+ GB", row["peak memory"])
        assert re.fullmatch(r"[\d.]+ (s|min)", row["whole command"])
        assert "cores" in row["device"]
    written = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert written.keys() == {"leaderboard.md", "leaderboard.json", "leaderboard.svg"}
    assert both["recall@20"] in written["leaderboard.md"]
    assert set(json.loads(written["leaderboard.json"])) == {"tiny", "valid", "popular"}
    for text in ("popularity", "lightgcn, enhanced (valid)", "synthetic, test part", "recall@20"):
        assert text in written["leaderboard.svg"]


def test_time_to_a_recall_has_all_from_the_start_of_the_command_evaluations_included(folders):
    """The lines of metrics.jsonl up to the evaluation that reached it, after what came before the first step."""
    row = leaderboard_folders.of_folder(folders / "tiny-3")
    lines = [json.loads(line) for line in (folders / "tiny-3" / "metrics.jsonl").read_text().splitlines()]
    assert [line["split"] for line in lines] == ["train", "test"] * 2
    first, used = lines[1]["recall@20"], result_of(folders / "tiny-3")["usage"]
    upto = lines[0]["seconds"] + lines[1]["seconds"]
    assert row.runs[0].reached(first - 1e-4) == pytest.approx(used["startup_seconds"] + upto, abs=0.02)
    assert row.runs[0].reached(1.1) is None
    assert row.runs[0].at[-1] <= used["wall_seconds"] - used["startup_seconds"] + 0.02


def test_seconds_of_training_and_of_evaluations_add_up(runs):
    """By hand: 10 + 1 and then 20 + 2."""
    path = runs / "tiny-3" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    seconds = zip(lines, (10.0, 1.0, 20.0, 2.0), strict=True)
    path.write_text("".join(json.dumps(line | {"seconds": took}) + "\n" for line, took in seconds))
    (run,) = leaderboard_folders.of_folder(runs / "tiny-3").runs
    assert (run.epochs, run.at) == ([1, 2], [11.0, 33.0])


def test_settings_that_are_folders_are_told_by_their_names(runs):
    config = result_of(runs / "popular")["config"] | {"first": "/somewhere/runs/one", "weight": 0.5, "second": "gf-cf"}
    change(runs / "popular", config=config)
    settings = leaderboard_folders.of_folder(runs / "popular").settings
    assert (settings["first"], settings["second"], settings["weight"]) == ("one", "gf-cf", 0.5)


def measured(**values) -> Measured:
    usual = {"seed": 1, "chosen": "test", "epoch": 3, "recall": 0.19, "ndcg": 0.16, "seconds": 30.0}
    usual |= {"compile_seconds": 2.0, "wall_seconds": 50.0, "startup_seconds": 8.0, "peak_bytes": 10**9}
    usual |= {"device_peak_bytes": None, "commit": "0123456789-dirty"}
    return Measured(**usual | {"epochs": [1, 2, 3], "at": [10.0, 20.0, 30.0], "recalls": [0.17, 0.184, 0.19]} | values)


def made(*runs: Measured, **values) -> Row:
    usual = {"name": "x", "label": "", "model": "lightgcn", "loss": "ssm", "dataset": "gowalla", "device": "a CPU"}
    usual |= {"content_sha256": "1", "evaluation_sha256": "2", "vector_width": 64, "settings": {"l2": 0.1}, "note": ""}
    return Row(**usual | {"runs": list(runs) or [measured()]} | values)


def shown(*rows: Row) -> list[dict[str, str]]:
    return cells(leaderboard_tables.results(rows, leaderboard.published()))


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([measured()], "28 s"),
        ([measured(), measured(seed=2, startup_seconds=18.0)], "33 s"),
        ([measured(), measured(seed=2, recalls=[0.1, 0.1, 0.18])], "-"),
        ([measured(startup_seconds=None)], "≥ 22 s"),
        ([measured(chosen="valid", epochs=[2], at=[30.0], recalls=[0.19])], "≤ 38 s"),
        ([measured(seed=None, chosen="", compile_seconds=None, epochs=[0], at=[30.0], recalls=[0.19])], "38 s"),
    ],
)
def test_time_to_the_papers_recall_says_what_it_does_not_know(runs, told):
    assert shown(made(*runs))[0]["to .1830"] == told


def test_published_figures_stand_beside_rows_of_the_same_model_and_loss():
    rows = [made(), made(loss="bpr"), made(model="gf-cf", loss=None), made(model="popularity", loss=None)]
    rows += [made(dataset="yelp2018", evaluation_sha256="3")]
    found = [shown(row)[0]["published"] for row in rows]
    assert found == [".1874 / .1571", ".1830 / .1554", ".1849 / .1518", "-", ".0736 / .0612"]


def test_what_is_not_known_is_a_dash_and_times_and_commits_are_short():
    old = measured(compile_seconds=None, wall_seconds=None, startup_seconds=None, peak_bytes=None, commit=None)
    row = shown(made(old, vector_width=None))[0]
    assert [row[name] for name in ("whole command", "peak memory", "width", "commit")] == ["-"] * 4
    row = shown(made(measured(seconds=25200.0, device_peak_bytes=2 * 10**9)))[0]
    assert (row["trained or solved in"], row["peak memory"], row["commit"]) == ("7.0 h", "1.0 GB + 2.0 GB", "0123456+")


def test_rows_are_the_best_first_and_are_told_apart_by_what_differs():
    rows = [
        made(settings={"l2": 0.1, "temperature": 0.2}),
        made(measured(recall=0.2), settings={"l2": 0.3, "temperature": 0.2}),
        made(measured(recall=0.1), label="mine", settings={"l2": 0.3}),
    ]
    assert [row["model"] for row in shown(*rows)] == ["lightgcn (l2 0.3)", "lightgcn (l2 0.1)", "mine"]


def test_the_time_of_what_a_row_is_made_of_is_added(folders, tmp_path):
    facts = tmp_path / "facts"
    assert run(f"--facts={facts}", "--collect", folders / "popular", "--name=alone") == 0
    assert (
        run(f"--facts={facts}", "--collect", folders / "popular", "--name=made", f"--after={folders / 'tiny-3'}") == 0
    )
    alone, made = (json.loads((facts / f"{name}.json").read_text())["runs"][0] for name in ("alone", "made"))
    whole = json.loads((folders / "tiny-3" / "result.json").read_text())["usage"]["wall_seconds"]
    for name in ("wall_seconds", "startup_seconds"):
        assert made[name] == pytest.approx(alone[name] + whole)
    assert made["seconds"] == alone["seconds"]


def test_an_epoch_that_was_evaluated_alone_was_not_chosen():
    best = {"split": "test", "epoch": 5}
    assert leaderboard_folders._chosen({"epochs": 5, "best": best}, [5]) == "none"
    assert leaderboard_folders._chosen({"epochs": 6, "best": best}, [5]) == "test"
    assert leaderboard_folders._chosen({"epochs": 5, "best": best}, [4, 5]) == "test"
    assert leaderboard_folders._chosen({"epochs": 5, "best": best | {"split": "valid"}}, [5]) == "valid"
    assert leaderboard_folders._chosen({"epochs": 0, "best": best}, [0]) == ""


def test_facts_of_a_row_are_all_that_the_table_needs(folders, tmp_path, capsys):
    """Written twice, they are the same; and seeds of facts and of a folder are one row."""
    facts = f"--facts={tmp_path / 'facts'}"
    both = [folders / "tiny-3", folders / "tiny-4"]
    assert run("--collect", facts, *both, folders / "popular") == 0
    assert run("--collect", facts, folders / "valid", "--name=chosen", "--label=Chosen", "--note=A note.") == 0
    assert {path.name for path in (tmp_path / "facts").iterdir()} == {"tiny.json", "popular.json", "chosen.json"}
    capsys.readouterr()
    assert run(facts) == 0
    of_facts = capsys.readouterr().out
    assert "Chosen: A note." in of_facts
    assert run(*both, folders / "popular", tmp_path / "facts" / "chosen.json") == 0
    assert capsys.readouterr().out == of_facts
    tiny = tmp_path / "facts" / "tiny.json"
    assert leaderboard_facts.written(leaderboard_facts.fact(tiny)) == tiny.read_text()
    assert str(folders) not in tiny.read_text()  # nothing of where it was made
    assert run("--collect", f"--facts={tmp_path / 'one'}", folders / "tiny-3") == 0
    capsys.readouterr()
    assert run(tmp_path / "one" / "tiny.json", folders / "tiny-4") == 0
    assert cells(capsys.readouterr().out)[0]["seeds"] == "3 4"


def other_data(runs):
    environment = result_of(runs / "tiny-4")["environment"]
    environment["dataset"]["evaluation_sha256"] = "f" * 64
    change(runs / "tiny-4", environment=environment)
    return "synthetic of other content (ffffffffffff), expected that of tiny ("


def unfinished(runs):
    change(runs / "tiny-4", status="interrupted", epochs=1)
    return "found a run that is interrupted after epoch 1, expected one that is completed"


def not_begun(runs):
    (runs / "tiny-4" / "result.json").unlink()
    return "found no result.json, expected a run that has ended, or a model that train has solved"


def unscored(runs):
    best = result_of(runs / "tiny-4")["best"] | {"split": "valid"}
    change(runs / "tiny-4", best=best)
    return "found a run without recall@20 and ndcg@20 of the test part, expected one that has them"


def same_seed(runs):
    shutil.copytree(runs / "tiny-3", runs / "again")
    shutil.rmtree(runs / "tiny-4")
    (runs / "again").rename(runs / "tiny-4")
    return "found seed 3 of tiny again, expected each seed of a configuration once"


def data_gone(runs):
    """An older run does not say what it was evaluated on, and its data are others now."""
    environment = result_of(runs / "valid")["environment"]
    del environment["dataset"]["evaluation_sha256"]
    environment["dataset"]["content_sha256"] = "0"
    change(runs / "tiny-4", environment=environment)
    return "found other data in synthetic, expected those that the run was trained on"


@pytest.mark.parametrize("damage", [other_data, unfinished, not_begun, unscored, same_seed, data_gone])
def test_what_cannot_be_in_one_table_is_refused_in_a_line_each(runs, capsys, damage):
    text = damage(runs)
    assert run(runs / "tiny-3", runs / "tiny-4", runs / "none") == 2
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert out == ""
    assert first.startswith(f"{runs / 'tiny-4'}: ")
    assert text in first
    assert (
        second
        == f"{runs / 'none'}: found no result.json, expected a run that has ended, or a model that train has solved"
    )


def test_a_run_of_an_older_version_is_read(runs, capsys):
    result = result_of(runs / "tiny-3")
    environment = result["environment"] | {"dataset": dict(result["environment"]["dataset"])}
    del environment["dataset"]["evaluation_sha256"], result["usage"], result["vector_width"]
    (runs / "tiny-3" / "result.json").write_text(json.dumps(result | {"environment": environment}))
    held_out = result_of(runs / "valid")["environment"]
    del held_out["dataset"]["evaluation_sha256"]
    change(runs / "valid", environment=held_out)
    # Without a validation part, the hash of what is evaluated is that of the content; else the data are read again.
    assert run(runs / "tiny-3", runs / "popular", runs / "valid") == 0
    row = next(row for row in cells(capsys.readouterr().out) if row["seeds"] == "3")
    assert [row[name] for name in ("whole command", "peak memory", "width")] == ["-"] * 3


def test_flags_without_sense_and_files_of_others_are_refused(folders, tmp_path, capsys):
    (tmp_path / "other.json").write_text("[]")
    (tmp_path / "page.md").write_text("no mark")
    for arguments, text in (
        ([f"--facts={tmp_path / 'none'}"], "leaderboard: found no run and no facts"),
        ([tmp_path / "other.json"], "other.json: found a list"),
        ([folders / "tiny-3", "--figure=x.txt"], "--figure: found 'x.txt', expected a file whose name ends in"),
        (["--nonsense", folders / "tiny-3"], "nonsense"),
        ([folders / "tiny-3", f"--write={tmp_path / 'page.md'}"], "page.md: found no marked place"),
        (["--collect", "--name=x", folders / "tiny-3", folders / "popular"], "--name and --label: found the rows"),
    ):
        assert run(*arguments) == 2
        err = capsys.readouterr().err
        assert text in err
        assert err.count("\n") == 1


GROUPS = {
    "metrics": {"recall@20": 0.19, "coverage@20": 0.25, "average_popularity@20": 123.4, "gini@20": 0.9},
    "user_groups": {"up_to": [24, 48], "users": [3, 4], "recall@20": [0.1, None]},
    "item_groups": {
        "up_to": [3, 9, 20],
        "train": [50, 30, 20],
        "relevant": [4, 6, 10],
        "exposure@20": [0.125, 0.5, 0.375],
        "found@20": [0.5, 0.1, 0.2],
    },
    "fold_in": {"users": 5, "folded_in": 0.15, "trained_in": 0.16},
}


def test_groups_of_users_and_items_are_a_table_of_their_own():
    """By hand: the tail is the first group, with half of the train pairs; 2 of its 4 test pairs were found."""
    text = leaderboard_tables.groups([made(cold_start=GROUPS), made(name="y", loss="bpr")])
    (row,) = cells(text)
    assert (row["model"], row["users ≤ 24"], row["users ≤ 48"]) == ("lightgcn", ".1000", "-")
    assert (row["folded in / trained in"], row["tail's share of lists"]) == (".1500 / .1600", "12.5%")
    assert (row["tail found"], row["coverage"], row["mean popularity"], row["Gini"]) == (
        ".5000",
        "25.0%",
        "123",
        "0.900",
    )
    assert leaderboard_tables.groups([made()]) == "No row was asked for groups."


def test_groups_of_another_state_of_the_run_are_refused(runs, capsys):
    path = leaderboard_folders.cold_start_file(runs / "tiny-3")
    path.write_text(json.dumps(GROUPS))
    assert run(runs / "tiny-3") == 2
    assert f"{path}: found groups of a model with recall@20 0.190000" in capsys.readouterr().err
    metrics = GROUPS["metrics"] | {"recall@20": result_of(runs / "tiny-3")["best"]["recall@20"]}
    path.write_text(json.dumps(GROUPS | {"metrics": metrics}))
    assert run(runs / "tiny-3", path) == 0  # as `runs/*` names both
    assert "| lightgcn | .1000 | - |" in capsys.readouterr().out


def test_labels_of_the_figure_cover_neither_each_other_nor_a_curve():
    """Ten curves that end at nearly the same place."""
    rows = [
        made(measured(recalls=[0.17, 0.18, 0.18 + n / 1e4]), name=str(n), settings={"l2": n}, label=f"curve {n}")
        for n in range(10)
    ]
    figure = leaderboard_figure.draw(rows, leaderboard.published())
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.axes[0].texts if text.get_text().startswith("curve")]
    assert len(texts) == 10
    boxes = [text.get_window_extent(renderer) for text in texts]
    overlaps = [(a, b) for n, a in enumerate(boxes) for b in boxes[n + 1 :] if a.shrunk(0.9, 0.8).overlaps(b)]
    assert overlaps == []


def test_published_rows_say_where_they_come_from_and_what_chose_their_epoch():
    others = leaderboard.published()
    for row in others["rows"]:
        assert row["source"]
        assert row["chosen"] in ("test", "no epochs")
        for recall, ndcg in row["results"].values():
            assert 0 < (ndcg or recall * 0.9) < recall or row["model"] == "x"
    for curve in others["curves"]:
        assert len(curve["epochs"]) == len(curve["recall@20"])
        assert max(curve["recall@20"]) <= curve["best"]
    assert {"gowalla", "yelp2018"} <= others["levels"].keys()


def test_the_tables_in_pages_are_those_of_the_committed_facts():
    """Made anew by `python experiments/leaderboard.py --write=README.md,experiments/leaderboard/README.md`."""
    rows, problems = leaderboard_rows.read(sorted(leaderboard.FACTS.glob("*.json")))
    assert problems == []
    assert leaderboard.FACTS / "README.md" in PAGES
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert leaderboard.filled(text, leaderboard.tables(rows), page) == text


def test_a_page_that_is_out_of_date_is_noticed():
    page = leaderboard.FACTS / "README.md"
    rows, _ = leaderboard_rows.read(sorted(leaderboard.FACTS.glob("*.json")))
    rows[0] = dataclasses.replace(rows[0], runs=[dataclasses.replace(rows[0].runs[0], recall=0.5)])
    text = page.read_text(encoding="utf-8")
    assert leaderboard.filled(text, leaderboard.tables(rows), page) != text
