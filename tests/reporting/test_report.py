"""report.html tells what the run's files and the evaluation say, of whatever a run left behind."""

import dataclasses
import html.parser
import itertools
import json
import re
import shutil

import numpy as np
import pytest

import lgcn_jax as lg
from lgcn_jax.cli import main
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.reporting import collect, numerals, page
from lgcn_jax.system import files

LISTS = {"coverage": "coverage", "average_popularity": "average popularity", "novelty": "novelty", "gini": "Gini"}
SETTINGS = {"num_layers": 2, "embedding_dim": 8, "batch_size": 256, "epochs": 4, "eval_every": 2, "top_k": (20, 5)}


class Page(html.parser.HTMLParser):
    """What stands on a page: its texts in order, the rows of its tables, elements with their attributes."""

    VOID = ("meta", "link", "br", "input", "circle", "path", "line", "rect")

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.open, self.rows, self.texts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID or tag in ("circle", "path", "line", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} is closed before what is in it"

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            return
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def rows_below(self, *head: str) -> list[list[str]]:
        """The rows after the first one that begins like this."""
        place = next(n for n, row in enumerate(self.rows) if row[: len(head)] == list(head))
        return self.rows[place + 1 :]

    def row(self, first: str) -> list[str]:
        return next(row for row in self.rows if row and row[0] == first)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def told(run, tmp_path_factory) -> Page:
    return read(lg.report(run, out=tmp_path_factory.mktemp("page") / "report.html"))


@pytest.fixture(scope="module")
def data(run):
    return collect.from_folder(run)


@pytest.fixture
def interactions(data):
    return data.interactions


def test_the_command_writes_it_into_the_run_folder(run, capsys):
    assert main.main(["report", f"--workdir={run}"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"wrote {run / 'report.html'}\n", "")
    assert read(run / "report.html").text.startswith("lightgcn on synthetic")
    (run / "report.html").unlink()


def test_metrics_are_those_of_the_result(run, told):
    best = json.loads((run / "result.json").read_text())["best"]
    for name in ("precision", "recall", "ndcg"):
        row = told.row(f"{name}, this model")
        assert [row[3], row[1]] == [f"{best[f'{name}@{k}']:.4f}" for k in (20, 5)]


def test_metrics_at_every_k_are_those_of_evaluate(run, told, interactions, capsys):
    assert main.main(["evaluate", f"--workdir={run}", "--top_k=5,10,20,50,100"]) == 0
    ours = capsys.readouterr().out.splitlines()[-1].split("  ")
    ours = [cell.strip() for cell in ours if cell.strip()][1:]
    popular = lg.Popularity().fit(interactions).evaluate(interactions, k=(5, 10, 20, 50, 100))
    shown = [told.row(f"{name}, this model")[1:] for name in ("precision", "recall", "ndcg")]
    assert [cell for column in zip(*shown, strict=True) for cell in column] == ours
    for name in ("precision", "recall", "ndcg"):
        assert told.row(f"{name}, popularity")[1:] == [f"{popular[f'{name}@{k}']:.4f}" for k in (5, 10, 20, 50, 100)]


def test_curves_are_the_lines_of_metrics(run, told):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    train, evaluated = (
        [row for row in rows if (row["split"] == "train") == (kind == "train")] for kind in ("train", "")
    )
    loss = [
        ["1", "2", "3", "4"][n : n + 1]
        + [numerals.amount(row[k]) for k in ("loss", "loss_ranking", "loss_contrastive")]
        for n, row in enumerate(train)
    ]
    assert all(row in told.rows for row in loss)
    metric = [[str(row["epoch"]), f"{row['recall@20']:.4f}", f"{row['recall@5']:.4f}"] for row in evaluated]
    assert all(row in told.rows for row in metric)
    assert "Half the squared length" in told.text


def test_settings_that_differ_stand_before_the_others(told):
    names = [row[0] for row in told.rows if row and row[0].startswith("--")]
    changed = ["--dataset", "--num_users", "--num_items", "--num_interactions", "--num_layers", "--embedding_dim"]
    assert set(changed) <= set(names[: names.index("--loss")])
    assert told.row("--embedding_dim")[1:3] == ["8", "64"]
    assert len(names) == len(set(names))


def test_data_are_summed_up(told, interactions):
    degrees = np.diff(interactions.train.indptr)
    expected = [degrees.min(), *(np.quantile(degrees, q, method="lower") for q in (0.1, 0.25, 0.5, 0.75, 0.9, 0.99))]
    assert told.row("items of a user")[1:] == [str(int(value)) for value in (*expected, degrees.max())]
    assert told.row("train interactions")[1] == f"{interactions.train.nnz:,}"
    assert interactions.content_hash() in told.text


def test_lists_are_the_models_and_hits_are_marked(run, data, interactions):
    """Histories, recommendations and held-out items of each user shown, against the data and the scores themselves."""
    model = lg.LightGCN(**SETTINGS).fit(interactions, workdir=run, quiet=True)  # which is complete
    assert len(data.findings.users) == 12
    for shown in data.findings.users:
        expected = model.recommend(model.users[shown.user], k=10)
        assert model.items[shown.recommended].tolist() == expected.ids[0].tolist()
        start, stop = interactions.train.indptr[shown.user : shown.user + 2]
        assert shown.history.tolist() == interactions.train.indices[start:stop].tolist()
    text = page.render(data)
    hits = sum(len(set(each.recommended) & set(each.relevant)) for each in data.findings.users)
    assert hits > 0
    assert text.count("✓ held out") == hits


def test_groups_and_lists_of_the_report_are_those_of_evaluate(run, told, interactions):
    model = lg.LightGCN(**SETTINGS).fit(interactions, workdir=run, quiet=True)  # which is complete
    lists = ("coverage", "average_popularity", "novelty", "gini")
    shown = {name: next(row for row in told.rows if row and row[0].startswith(start)) for name, start in LISTS.items()}
    for column, each in enumerate((model, lg.Popularity().fit(interactions)), 1):
        found = each.evaluate(interactions, metrics=lists)
        assert shown["coverage"][column] == numerals.percent(found["coverage@20"])
        assert shown["average_popularity"][column] == numerals.amount(found["average_popularity@20"])
        assert shown["novelty"][column] == numerals.amount(found["novelty@20"])
        assert shown["gini"][column] == f"{found['gini@20']:.4f}"
    found = model.evaluate(interactions, metrics=("recall", "ndcg"), per_user=True)
    users, items = found.user_groups(), found.item_groups()
    expected = [[f"{n:,}", f"{value:.4f}"] for n, value in zip(users["users"], users["recall@20"], strict=True)]
    assert [row[1:3] for row in told.rows_below("users with", "users")][: len(expected)] == expected
    expected = [[f"{n:,}", numerals.percent(v)] for n, v in zip(items["items"], items["found@20"], strict=True)]
    assert [row[1:3] for row in told.rows_below("items with", "items")][: len(expected)] == expected
    degrees = np.bincount(interactions.train.indices, minlength=interactions.num_items)
    assert shown["average_popularity"][3] == numerals.amount((degrees @ degrees) / degrees.sum())


def test_a_fitted_model_is_reported_as_its_run_is(interactions, tmp_path, told):
    model = lg.LightGCN(**SETTINGS).fit(interactions, quiet=True)
    shown = read(lg.report(model, interactions, out=tmp_path / "model.html"))
    for name in ("precision", "recall", "ndcg"):
        assert shown.row(f"{name}, this model") == told.row(f"{name}, this model")
    with pytest.raises(InputError, match="found a model alone"):
        lg.report(model)
    other = lg.load("synthetic", num_users=200, num_items=200, num_interactions=4000)
    with pytest.raises(InputError, match="found 200 users and 200 items, expected the 300 and 200 of the model"):
        lg.report(model, other, out=tmp_path / "other.html")
    with pytest.raises(InputError, match="found a Popularity, expected a run folder, or a trained model"):
        lg.report(lg.Popularity().fit(interactions))
    with pytest.raises(InputError, match="not fitted"):
        lg.report(lg.LightGCN(), interactions, out=tmp_path / "other.html")
    assert {path.name for path in tmp_path.iterdir()} == {"model.html"}


EVIL = '<script>alert("1")</script>&amp;"\'><img src=x onerror=alert(1)>'


def test_what_users_bring_is_escaped(data):
    """Ids, titles, names and messages with markup are shown as they are, and make no element."""
    found = data.interactions
    ids = np.array([f"{EVIL}{n}" for n in range(found.num_items)], object)
    users = np.array([f"{EVIL}{n}" for n in range(found.num_users)], object)
    titles = np.array(["" if n % 2 else f"{EVIL}title {n}" for n in range(found.num_items)], object)
    evil = dataclasses.replace(
        found, name=EVIL, user_ids=users, item_ids=ids, item_titles=titles, remarks=(EVIL,), notes={EVIL: 3}
    )
    plain = Page(page.render(data))
    shown = Page(page.render(dataclasses.replace(data, interactions=evil, status="failed", error=EVIL)))
    assert [tag for tag, _ in shown.elements].count("script") == 1
    assert not [attrs for _, attrs in shown.elements if any(name.startswith("on") for name in attrs)]
    assert {tag for tag, _ in shown.elements} <= {tag for tag, _ in plain.elements}
    assert shown.text.count(EVIL) > 100
    assert f"The run failed: {EVIL}." in shown.text


def test_titles_stand_beside_ids(data):
    titles = np.array([f"Film {n}" for n in range(data.interactions.num_items)], object)
    shown = Page(
        page.render(dataclasses.replace(data, interactions=dataclasses.replace(data.interactions, item_titles=titles)))
    )
    number = int(data.findings.item_map.items[-1])
    row = shown.row(f"Film {number}")
    assert row[1] == str(data.interactions.item_ids[number])


def test_titles_may_be_stated_of_a_run_that_was_trained_without(run, tmp_path, capsys):
    ids = range(0, 200, 2)
    (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"{n},Film no. {n}\n" for n in ids))
    table = f"--item_table={tmp_path / 'items.csv'}"
    assert main.main(["report", f"--workdir={run}", table, f"--out={tmp_path / 'titled.html'}"]) == 0
    shown = read(tmp_path / "titled.html")
    named = [row for row in shown.rows if len(row) == 5 and row[0].startswith("Film no. ")]
    assert len(named) > 50
    assert all(row[0] == f"Film no. {row[1]}" for row in named)
    capsys.readouterr()
    assert main.main(["report", f"--workdir={run}", "--epochs=3"]) == 2
    assert "an unknown flag" in capsys.readouterr().err


def test_nothing_is_fetched_and_nothing_foreign_runs(told):
    addresses = [a.get(name, "") for _, a in told.elements for name in ("src", "href", "action", "data", "srcset")]
    assert {address[:1] for address in addresses if address} == {"#", "d"}
    assert [address for address in addresses if address.startswith("d")] == ["data:,"]
    (policy,) = (a["content"] for _, a in told.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_the_page_is_well_formed(told):
    """Every element is closed, ids are unique, links lead somewhere, headings go down by one, tables are named."""
    assert told.open == []
    names = [attrs["id"] for _, attrs in told.elements if "id" in attrs]
    assert len(names) == len(set(names))
    links = [attrs["href"][1:] for tag, attrs in told.elements if tag == "a"]
    assert links
    assert set(links) <= set(names)
    for key in ("aria-labelledby", "aria-describedby", "for"):
        assert {attrs[key] for _, attrs in told.elements if key in attrs} <= set(names)
    levels = [int(tag[1]) for tag, _ in told.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    tags = [tag for tag, _ in told.elements]
    assert tags.count("caption") == tags.count("table") > 0
    assert all("scope" in attrs for tag, attrs in told.elements if tag == "th")
    assert all(attrs.get("role") == "img" or attrs.get("aria-hidden") for tag, attrs in told.elements if tag == "svg")


def test_a_run_without_an_evaluation(run, tmp_path):
    """Interrupted in its first epochs: what it has is told, and that there was none."""
    shutil.copytree(run, tmp_path / "run")
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    (tmp_path / "run" / "metrics.jsonl").write_text(rows[0] + "\n")
    (tmp_path / "run" / "result.json").write_text(json.dumps({"status": "interrupted", "epochs": 1, "step": 3}))
    text = read(lg.report(tmp_path / "run")).text
    assert "The run was interrupted after 1 of 4 epochs; the same command continues it." in text
    assert "There was no evaluation during training." in text


def test_a_run_that_was_killed_has_no_result_and_half_a_line(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 5, "split": "tr')
    assert (
        "The run has no result: it goes on, or was killed. It has 4 of 4 epochs."
        in read(lg.report(tmp_path / "run")).text
    )


def test_a_failed_run_without_a_checkpoint(run, tmp_path):
    """It says why it failed; data, curves and settings are told, recommendations cannot be."""
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    failed = {"status": "failed", "error": "the loss became nan in epoch 1", "epochs": 0, "best": None, "last": None}
    (tmp_path / "run" / "result.json").write_text(json.dumps(failed))
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    shown = read(lg.report(tmp_path / "run"))
    assert "The run failed: the loss became nan in epoch 1." in shown.text
    assert "No checkpoint has been saved" in shown.text
    assert "No epoch has been trained to its end." in shown.text
    assert shown.row("train interactions")
    assert not [row for row in shown.rows if row and row[0] == "recall, this model"]


def test_a_folder_without_a_run_is_refused_in_one_line(tmp_path, capsys):
    assert main.main(["report", f"--workdir={tmp_path}"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"--workdir={tmp_path}: found no run, expected a folder that train has filled\n")
    assert list(tmp_path.iterdir()) == []
    lg.Popularity().fit(lg.read(([1, 2, 3, 3], [7, 7, 7, 8]), test_fraction=0.5)).save(tmp_path / "saved")
    assert main.main(["report", f"--workdir={tmp_path / 'saved'}"]) == 2
    assert "found a saved model, which has no epochs, expected a run that was trained\n" in capsys.readouterr().err


def test_other_data_than_the_runs_are_refused(run, tmp_path):
    other = lg.load("synthetic", num_users=300, num_items=200, num_interactions=4000)
    with pytest.raises(InputError, match="other data than the run's"):
        lg.report(run, other, out=tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_written_whole_or_not_at_all(run, tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    target.write_text("before")

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(WriteError, match="No space left"):
        lg.report(run, out=target)
    assert target.read_text() == "before"
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(InputError, match=r"out=.*: found a folder, expected a file, or nothing"):
        lg.report(run, out=tmp_path / "folder.html")


def test_a_data_set_with_nothing_to_evaluate_on(data):
    """Recommendations and the map are shown, metrics cannot be."""
    none = dataclasses.replace(data.interactions, test=data.interactions.valid)
    findings = dataclasses.replace(data.findings, quality=None)
    shown = Page(page.render(dataclasses.replace(data, interactions=none, findings=findings)))
    assert "Nobody is evaluated" in shown.text
    assert "Map of the items" in shown.text
