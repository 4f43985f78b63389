"""`evaluate` in detail: more metrics, some users, a file of each user, groups; for runs and baselines alike."""

import re

import numpy as np
import pyarrow.parquet
import pytest
from test_cli import WORLD, refused, trained

import lgcn_jax as lg
from lgcn_jax.cli import main, tables
from lgcn_jax.evaluation import results

POPULARITY = ["evaluate", "--model=popularity", *WORLD]
ALL = f"--metrics={','.join(results.METRICS)}"


@pytest.fixture(scope="module")
def world():
    return lg.load("synthetic", num_users=300, num_items=200, num_interactions=5000)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert trained(folder, "--quiet") == 0
    return folder


def told(capsys, *arguments) -> tuple[str, str]:
    """What a command prints to stdout and to stderr."""
    assert main.main(arguments) == 0
    return capsys.readouterr()


def numbers(line: str) -> list[float]:
    return [float(cell.replace(",", "")) for cell in re.findall(r" (nan|-?[\d,]+\.\d+)", line)]


def test_every_metric_has_a_line_and_every_k_a_column(capsys, world):
    out, _ = told(capsys, *POPULARITY, ALL, "--top_k=5,20")
    header, *lines = out.splitlines()
    assert header.split() == ["synthetic,", "test", "part,", "popularity", "@5", "@20"]
    assert [line.split()[0] for line in lines] == list(results.METRICS)
    expected = lg.Popularity().fit(world).evaluate(world, k=(5, 20), metrics=results.METRICS)
    for line, name in zip(lines, results.METRICS, strict=True):
        assert numbers(line) == pytest.approx([expected[f"{name}@{k}"] for k in (5, 20)], abs=6e-5)


def test_a_run_has_in_detail_what_it_has_at_a_glance(capsys, run, tmp_path):
    at_a_glance, _ = told(capsys, "evaluate", f"--workdir={run}")
    detailed, _ = told(capsys, "evaluate", f"--workdir={run}", f"--per_user={tmp_path / 'users.parquet'}")
    assert detailed.splitlines()[:2] == at_a_glance.splitlines()
    assert detailed.splitlines()[-1] == f"300 users in {tmp_path / 'users.parquet'}"
    table = pyarrow.parquet.read_table(tmp_path / "users.parquet")
    names = [f"{name}@{k}" for k in (5, 20) for name in ("precision", "recall", "ndcg")]
    assert table.column_names == ["user", "degree", "relevant", *names]
    means = [np.mean(table[name].to_numpy(), dtype=np.float64) for name in names]
    assert numbers(at_a_glance.splitlines()[1]) == pytest.approx(means, abs=6e-5)


def test_a_run_cut_over_devices_has_the_users_and_items_of_one(capsys, run, tmp_path):
    """Scores are summed in another order: single hits may move."""
    found = []
    for mesh in ("data:1,nodes:1", "data:2,nodes:2"):
        flags = f"--mesh={mesh}", f"--per_user={tmp_path / 'users.parquet'}", ALL, "--groups"
        out, _ = told(capsys, "evaluate", f"--workdir={run}", *flags)
        found.append((out, pyarrow.parquet.read_table(tmp_path / "users.parquet").to_pandas()))
    (out, one), (out_of_four, four) = found
    facts = ["user", "degree", "relevant"]
    assert one[facts].equals(four[facts])
    assert (np.abs(one - four) > 1e-6).any(axis=1).mean() < 0.05
    for line, other in zip(out.splitlines(), out_of_four.splitlines(), strict=True):
        assert numbers(line) == pytest.approx(numbers(other), rel=0.05, abs=0.02, nan_ok=True)


def test_groups_are_printed_as_two_tables(capsys, world):
    out, _ = told(capsys, *POPULARITY, "--groups", "--top_k=5")
    _, users, items = (part.splitlines() for part in out.split("\n\n"))
    assert users[0].startswith("users by interactions")
    assert users[1].split() == ["up_to", "users", "precision@5", "recall@5", "ndcg@5"]
    assert items[1].split() == ["up_to", "items", "train", "relevant", "exposure@5", "recall@5", "found@5"]
    assert (len(users), len(items)) == (2 + 4, 2 + 10)
    assert sum(int(line.split()[1]) for line in users[2:]) == 300
    recall = lg.Popularity().fit(world).evaluate(world, k=5)["recall@5"]
    assert sum(numbers(line)[1] for line in items[2:]) == pytest.approx(recall, abs=6e-4)


def test_users_of_a_file_alone_count(capsys, run, world, tmp_path):
    (tmp_path / "users.txt").write_text("12\n5\n12\n")
    expected = lg.Popularity().fit(world).evaluate(world, k=5, users=[5, 12])
    out, err = told(capsys, *POPULARITY, f"--users_file={tmp_path / 'users.txt'}", "--top_k=5")
    assert numbers(out.splitlines()[1]) == pytest.approx([*expected.values()], abs=6e-5)
    assert err == ""
    flags = f"--users_file={tmp_path / 'users.txt'}", f"--per_user={tmp_path / 'found.parquet'}"
    told(capsys, "evaluate", f"--workdir={run}", *flags)
    assert pyarrow.parquet.read_table(tmp_path / "found.parquet")["user"].to_pylist() == [5, 12]


def test_users_without_a_test_item_are_told_by_number(capsys, tmp_path):
    (tmp_path / "train.txt").write_text("1 10\n2 11\n3 12\n")
    (tmp_path / "test.txt").write_text("1 11\n")
    (tmp_path / "users.txt").write_text("1\n2\n3\n")
    flags = f"--dataset={tmp_path}", f"--users_file={tmp_path / 'users.txt'}", "--top_k=1"
    _, err = told(capsys, "evaluate", "--model=popularity", *flags)
    assert err == f"{tmp_path / 'users.txt'}: 2 of 3 users have no item in the test part and are not evaluated\n"
    (tmp_path / "users.txt").write_text("2\n")
    assert "1 users without an item in the test part" in refused(capsys, "evaluate", "--model=popularity", *flags)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--metrics=recall,auc"], ["--metrics", "'auc'", "precision, recall, ndcg, mrr", "gini"]),
        (["--metrics="], ["--metrics", "some of"]),
        (["--metrics=map,map"], ["--metrics", "'map', 'map'"]),
        (["--users_file=nowhere.txt"], ["--users_file=nowhere.txt", "No such file"]),
        (["--users_file="], ["--users_file", "nothing"]),
        (["--users_file=unknown.txt"], ["--users_file=unknown.txt", "1 unknown ids, such as 300"]),
        (["--per_user="], ["--per_user", "nothing"]),
        (["--per_user=users.csv"], ["--per_user", "'users.csv'", ".parquet"]),
        (["--per_user=nowhere/users.parquet"], ["--per_user", "a folder that exists"]),
        (["--per_user=folder.parquet"], ["--per_user", "a folder that exists"]),
        ([f"--per_user={'a' * 300}.parquet"], ["--per_user", "too long"]),
    ],
)
def test_a_mistake_is_refused_in_one_line(flags, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unknown.txt").write_text("5\n300\n")
    (tmp_path / "folder.parquet").mkdir()
    line = refused(capsys, *POPULARITY, *flags)
    for part in parts:
        assert part in line
    assert {path.name for path in tmp_path.iterdir()} == {"unknown.txt", "folder.parquet"}


def test_columns_are_aligned():
    columns = {"name": ["a", "longer"], "count": np.array([7, 12345]), "share": np.array([0.5, np.nan])}
    assert tables.format_groups(columns).splitlines() == [
        "name     count   share",
        "a            7  0.5000",
        "longer  12,345     nan",
    ]
