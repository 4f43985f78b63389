"""Which checkpoint is scored on which part of the data, by `train` and by `evaluate`: against plain NumPy."""

import json

import oracle
import pytest

from lgcn_jax.cli import main
from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.training import loop
from lgcn_jax.training.setup import build_setup

# Trained too fast, so that the second epoch is the best of six.
CONFIG = Config.of(
    **{"dataset": "synthetic", "num_users": 300, "num_items": 200, "num_interactions": 5000},
    **{"num_layers": 2, "embedding_dim": 8, "batch_size": 256, "learning_rate": 0.1},
    **{"epochs": 6, "eval_every": 1, "validation_fraction": 0.2, "eval_split": "valid", "top_k": (5, 20)},
)
NAMES = ("dataset", "num_users", "num_items", "num_interactions", "validation_fraction")
MODEL = ("num_layers", "embedding_dim", "batch_size", "learning_rate", "epochs", "eval_every")
APART = 0.01  # what is told apart here differs by more, and numbers of one kind by less than a tenth of it


def stated(*names) -> list[str]:
    return [f"--{name}={CONFIG.to_dict()[name]}" for name in names]


def train(folder, *more) -> int:
    return main.main(["train", *stated(*NAMES, *MODEL), "--top_k=5,20", f"--workdir={folder}", "--quiet", *more])


def near(found, expected) -> bool:
    return all(found[name] == pytest.approx(expected[name], abs=APART / 10) for name in expected)


def printed(out: str) -> dict[str, dict[str, dict[str, float]]]:
    """{heading: {label: {metric: value}}} of the tables in what was printed."""
    tables = {}
    for line in out.splitlines():
        label, *cells = line.split("  ")
        cells = [cell.strip() for cell in cells if cell.strip()]
        if label.endswith(" part"):
            names, rows = cells, tables.setdefault(label, {})
        elif cells:
            rows[label.strip()] = dict(zip(names, map(float, cells), strict=True))
    return tables


@pytest.fixture(scope="module")
def data():
    return datasets.load(CONFIG.data)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of the run."""
    folder = tmp_path_factory.mktemp("parts") / "run"
    assert train(folder, "--eval_split=valid") == 0
    return folder


@pytest.fixture(scope="module")
def result(run):
    return json.loads((run / "result.json").read_text())


@pytest.fixture(scope="module")
def expected(data, result):
    """{(checkpoint, part): metrics} by NumPy, from tables of runs that end at the epochs in question."""
    found = {}
    for which, epoch in (("best", result["best"]["epoch"]), ("latest", CONFIG.training.epochs)):
        table = loop.fit(build_setup(CONFIG.replace(epochs=epoch), data)).table
        scores = oracle.trained(table, data, CONFIG.model.num_layers)
        found |= {(which, split): oracle.metrics(scores, data, split, (5, 10, 20, 50)) for split in ("valid", "test")}
    return found


def test_what_is_told_apart_here_differs(expected):
    """Else nothing below would be tested."""
    other = {"best": "latest", "latest": "best", "valid": "test", "test": "valid"}
    for (which, split), metrics in expected.items():
        for neighbor in ((other[which], split), (which, other[split])):
            assert max(abs(metrics[name] - expected[neighbor][name]) for name in metrics) > APART


def test_the_best_epoch_is_chosen_on_valid(run, result, expected):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluated = [row for row in rows if row["split"] != "train"]
    assert [(row["epoch"], row["split"]) for row in evaluated] == [(epoch, "valid") for epoch in range(1, 7)]
    assert result["best"] == max(evaluated, key=lambda row: row["recall@5"])
    assert result["best"]["epoch"] < result["last"]["epoch"] == 6
    for which, name in (("best", "best"), ("latest", "last")):
        theirs = {metric: expected[which, "valid"][metric] for metric in CONFIG.evaluation.metric_names}
        assert near(result[name], theirs)


def test_the_test_part_is_scored_from_the_best_checkpoint(result, expected):
    assert result["test"]["split"] == "test"
    assert result["test"]["epoch"] == result["best"]["epoch"]
    assert near(result["test"], {metric: expected["best", "test"][metric] for metric in CONFIG.evaluation.metric_names})


@pytest.mark.parametrize("which", ["best", "latest"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_evaluate_scores_the_checkpoint_and_part_that_it_is_told(run, expected, which, split, capsys):
    told = [f"--checkpoint={which}", f"--eval_split={split}", "--top_k=10,50"]
    assert main.main(["evaluate", f"--workdir={run}", *told]) == 0
    epoch = 2 if which == "best" else 6
    ((heading, rows),) = printed(capsys.readouterr().out).items()
    assert heading == f"synthetic, {split} part"
    assert list(rows) == [f"epoch {epoch} ({which})"]
    (found,) = rows.values()
    names = [f"{name}@{k}" for k in (10, 50) for name in ("precision", "recall", "ndcg")]
    assert list(found) == names
    assert near(found, {name: expected[which, split][name] for name in names})


@pytest.mark.parametrize("told", [("--eval_split=valid",), ("--eval_split=test",), ()])
def test_popularity_is_scored_on_the_part_that_evaluate_is_told(told, data, capsys):
    """To the last digit printed: its scores are whole numbers, and its many ties have one order."""
    assert main.main(["evaluate", "--model=popularity", *stated(*NAMES), "--top_k=5,20", *told]) == 0
    split = "valid" if "valid" in str(told) else "test"
    expected = oracle.metrics(oracle.popularity(data), data, split, (5, 20))
    found = printed(capsys.readouterr().out)[f"synthetic, {split} part"]["popularity"]
    assert found == pytest.approx(expected, abs=0.5001e-4)


@pytest.mark.parametrize("watched", ["valid", "test"])
def test_trains_last_tables_are_of_the_part_watched_and_of_the_test_part(watched, tmp_path, data, capsys):
    """Popularity beside the run's own figures; the test part comes second where valid was watched."""
    assert train(tmp_path / "run", "--epochs=2", f"--eval_split={watched}") == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    tables = printed(capsys.readouterr().out)
    assert list(tables) == [f"synthetic, {part} part" for part in dict.fromkeys((watched, "test"))]
    for part in dict.fromkeys((watched, "test")):
        expected = oracle.metrics(oracle.popularity(data), data, part, (5, 20))
        assert tables[f"synthetic, {part} part"]["popularity"] == pytest.approx(expected, abs=0.5001e-4)
    shown = {"epoch 2 (best)": result["best"], "epoch 2 (last)": result["last"]}
    for label, row in shown.items():
        figures = {metric: row[metric] for metric in CONFIG.evaluation.metric_names}
        assert tables[f"synthetic, {watched} part"][label] == pytest.approx(figures, abs=0.5001e-4)
    if watched == "valid":
        figures = {metric: result["test"][metric] for metric in CONFIG.evaluation.metric_names}
        assert tables["synthetic, test part"]["epoch 2 (best on valid)"] == pytest.approx(figures, abs=0.5001e-4)
