"""recommend, similar, predict and export as a user meets them."""

import csv
import json
import re

import numpy as np
import pytest
from pyarrow import parquet
from test_cli import MODEL, refused

import lgcn_jax as lg
from lgcn_jax.cli import listing, main, predict

WORLD = {"num_users": 60, "num_items": 50, "num_interactions": 900}
FLAGS = ["--dataset=synthetic", *(f"--{name}={value}" for name, value in WORLD.items())]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main.main(["train", *FLAGS, *MODEL, "--epochs=2", "--top_k=5", f"--workdir={folder}", "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def model(run):
    return lg.load_model(run)


@pytest.fixture(scope="module")
def saved(model, run):
    model.save(run.parent / "model")
    return run.parent / "model"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A saved model with ids that are text, and with titles."""
    users, items = np.array(["u,1", "7", "7", "ü", "ü", "ü"], object), np.array(["a", "a", "b", "b", "c", "d"], object)
    made = lg.LightGCN(embedding_dim=4, epochs=1, top_k=(1,)).fit(lg.read((users, items)), quiet=True)
    made.item_titles = np.array(["Alien", "映画\x1b[31m", None, "D" * 300], object)
    made.save(tmp_path_factory.mktemp("shop") / "model")
    return tmp_path_factory.getbasetemp() / "shop0" / "model"


def printed(capsys, *arguments) -> tuple[list[list[str]], str]:
    """The cells of the table that a command prints, and what it says beside it."""
    assert main.main(arguments) == 0
    out, err = capsys.readouterr()
    return [re.split(r" {2,}", line.strip()) for line in out.splitlines()], err


@pytest.mark.parametrize("whose", ["run", "saved"])
def test_recommend_prints_what_python_recommends(whose, model, capsys, request):
    folder = request.getfixturevalue(whose)
    (heading, *rows), err = printed(capsys, "recommend", f"--workdir={folder}", "--user=3,11", "--k=4")
    found = model.recommend([3, 11], k=4)
    assert (heading, err) == (["user", "rank", "item", "score"], "")
    columns = found.columns().values()
    expected = [[str(u), str(r), str(i), f"{s:.4f}"] for u, i, s, r in zip(*(c.tolist() for c in columns), strict=True)]
    assert rows == expected


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_lists_of_all_users_are_written(ending, run, model, tmp_path, capsys):
    out = tmp_path / f"lists.{ending}"
    more = ["--all_users", "--k=3", "--noexclude_seen", "--mesh=data:2,nodes:2", f"--out={out}"]
    assert main.main(["recommend", f"--workdir={run}", *more]) == 0
    assert capsys.readouterr().out == f"wrote 180 rows in 60 lists to {out}\n"
    if ending == "csv":
        with out.open() as file:
            rows = [(int(row["user"]), int(row["item"])) for row in csv.DictReader(file)]
    elif ending == "jsonl":
        rows = [(row["user"], row["item"]) for row in map(json.loads, out.read_text().splitlines())]
    else:
        rows = list(zip(*(parquet.read_table(out)[name].to_pylist() for name in ("user", "item")), strict=True))
    found = model.recommend(model.users, k=3, exclude_seen=False).columns()
    assert rows == list(zip(found["user"].tolist(), found["item"].tolist(), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_files_of_users_and_items(shop, tmp_path, capsys):
    """Ids with commas, lines of Windows, a mark of byte order, empty lines; items that are unknown are counted."""
    (tmp_path / "users").write_bytes("\ufeffu,1\r\n\r\n7".encode())
    (tmp_path / "items").write_text("b\nx\nc\ny\n")
    command = ["recommend", f"--workdir={shop}", f"--users_file={tmp_path / 'users'}", "--k=2"]
    (_, *rows), err = printed(capsys, *command, f"--candidates_file={tmp_path / 'items'}", "--noexclude_seen")
    assert [row[:2] for row in rows] == [["u,1", "1"], ["u,1", "2"], ["7", "1"], ["7", "2"]]
    assert {row[2] for row in rows} == {"b", "c"}
    assert err == f"{tmp_path / 'items'}: 2 of 4 ids are no items of the model, and are passed over\n"
    (_, *rows), err = printed(capsys, *command, f"--exclude_items_file={tmp_path / 'items'}", "--noexclude_seen")
    assert {row[2] for row in rows} == {"a", "d"}


def test_lists_that_end_early_are_told(shop, capsys):
    (_, *rows), err = printed(capsys, "recommend", f"--workdir={shop}", "--user=ü,7", "--k=4")
    assert len(rows) == len(lg.load_model(shop).recommend(["ü", "7"], k=4).columns()["item"]) < 8
    assert err == "--k=4: 2 of 2 lists end early, since fewer are left; the shortest has 2\n"


def test_unknown_users_are_refused_skipped_or_given_what_is_popular(shop, capsys):
    command = ["recommend", f"--workdir={shop}", "--k=1"]
    line = refused(capsys, *command, "--user=7,nobody")
    assert line.startswith("--user=7,nobody: found 1 unknown ids, such as nobody, expected ids of the data set")
    (_, *rows), err = printed(capsys, *command, "--user=7,nobody", "--on_unknown=skip")
    assert [row[0] for row in rows] == ["7"]
    assert err == "1 of 2 users are unknown to the model, and are left out\n"
    (_, *rows), err = printed(capsys, *command, "--user=nobody,7", "--on_unknown=popular")
    assert [row[0] for row in rows] == ["nobody", "7"]
    assert "1 of 2 users are unknown to the model: they get the most popular items, scored by" in err
    line = refused(capsys, *command, "--user=nobody", "--on_unknown=skip")
    assert line.startswith("--user=nobody: found no user whom the model knows")


def test_titles_stand_beside_ids_and_are_cut_to_the_terminal(shop, capsys, monkeypatch):
    command = ["recommend", f"--workdir={shop}", "--user=u,1", "--noexclude_seen", "--k=4"]
    line = refused(capsys, *command)
    assert "unknown ids, such as u" in line  # a comma is between two ids
    command[2] = "--user=7"
    rows, _ = printed(capsys, *command)
    titles = {row[2]: row[4] if len(row) > 4 else "" for row in rows[1:]}
    assert titles == {"a": "Alien", "b": r"映画\x1b[31m", "c": "", "d": "D" * 300}
    monkeypatch.setattr(listing, "terminal_width", lambda: 40)
    monkeypatch.setattr("lgcn_jax.cli.recommend.terminal_width", lambda: 40)
    assert main.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(listing.display_width, lines)) == 40
    assert sum(line.endswith("D…") for line in lines) == 1


def test_wide_letters_take_two_columns():
    assert [listing.display_width(text) for text in ("", "ab", "映画", "e\u0301")] == [0, 2, 4, 1]
    assert listing.truncate_line("映画映画", 6) == "映画…"
    assert listing.truncate_line("abcdef", 6) == "abcdef"
    columns = {"id": np.array(["映", "abc"], object), "n": np.array([5, 10])}
    assert listing.format_columns(columns, None).splitlines() == ["id    n", "映    5", "abc  10"]


@pytest.mark.parametrize("kind", ["item", "user"])
def test_similar_prints_neighbors(kind, saved, model, capsys):
    find = model.similar_items if kind == "item" else model.similar_users
    for metric in ("cosine", "dot"):
        flags = [f"--{kind}=3,7", "--k=2", f"--metric={metric}"]
        (heading, *rows), _ = printed(capsys, "similar", f"--workdir={saved}", *flags)
        assert heading == [kind, "rank", "neighbor", "score"]
        assert [row[2] for row in rows] == list(map(str, find([3, 7], k=2, metric=metric).ids.ravel()))


@pytest.mark.parametrize(
    "text", ["3,5\n11,9\n", "user\titem\n3\t5\n11\t9\n", "rank,item,user\n1,5,3\r\n\r\n2,9,11\n", '"3","5"\n11,9']
)
def test_predict_scores_pairs(text, saved, model, tmp_path, capsys):
    (tmp_path / "pairs").write_text(text)
    command = ["predict", f"--workdir={saved}", f"--pairs_file={tmp_path / 'pairs'}"]
    (heading, *rows), _ = printed(capsys, *command)
    scores = model.predict([3, 11], [5, 9])
    assert heading == ["user", "item", "score"]
    assert rows == [["3", "5", f"{scores[0]:.4f}"], ["11", "9", f"{scores[1]:.4f}"]]
    assert main.main([*command, f"--out={tmp_path / 'out.parquet'}"]) == 0
    assert parquet.read_table(tmp_path / "out.parquet")["score"].to_pylist() == scores.tolist()


def test_what_recommend_writes_predict_reads(saved, tmp_path, capsys):
    out = tmp_path / "lists.csv"
    assert main.main(["recommend", f"--workdir={saved}", "--user=3", "--k=3", f"--out={out}"]) == 0
    assert main.main(["predict", f"--workdir={saved}", f"--pairs_file={out}", f"--out={tmp_path / 'scores.csv'}"]) == 0
    before, after = (list(csv.DictReader(path.open())) for path in (out, tmp_path / "scores.csv"))
    assert [row["item"] for row in before] == [row["item"] for row in after]
    np.testing.assert_allclose(*([float(row["score"]) for row in rows] for rows in (before, after)), rtol=1e-5)


@pytest.mark.parametrize("format", ["npz", "faiss"])
def test_export_writes_a_folder(format, run, model, tmp_path, capsys):
    flags = [f"--workdir={run}", f"--format={format}", f"--out={tmp_path / 'out'}"]
    assert main.main(["export", *flags]) == 0
    out = tmp_path / "out"
    assert capsys.readouterr().out == f"wrote 60 users and 50 items to {out}; {out}/README.md says how to load them\n"
    assert (out / "README.md").exists()


def test_data_of_a_run_are_named_where_they_lie(run, model, capsys):
    line = refused(capsys, "recommend", f"--workdir={run}", "--user=3", "--dataset=gowala")
    assert line.startswith("--dataset: found 'gowala'")
    assert main.main(["recommend", f"--workdir={run}", "--user=3", "--dataset=synthetic", "--checkpoint=latest"]) == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["recommend"], ["recommend: found none of them, expected one of --user, --users_file, --all_users"]),
        (["recommend", "--user=3", "--all_users"], ["found --user and --all_users, expected one of"]),
        (["recommend", "--user=3", "--workdir="], ["--workdir: found nothing"]),
        (["recommend", "--user=3", "--workdir=nothing"], ["--workdir=nothing: found neither a run nor a saved model"]),
        (["recommend", "--user=x"], ["--user: found 'x', expected ids that are integers, such as 0"]),
        (["recommend", "--user=007"], ["--user: found '007', expected ids that are integers"]),
        (["recommend", "--user=3,"], ["--user: found '', expected ids that are integers"]),
        (["recommend", "--user=99"], ["--user=99: found 1 unknown ids, such as 99"]),
        (["recommend", "--user=99999999999999999999"], ["--user: found '99999999999999999999'"]),
        (["recommend", "--user=3", "--k=0"], ["--k: found 0, expected an integer from 1 to 50, the number of items"]),
        (["recommend", "--user=3", "--k=51"], ["--k: found 51"]),
        (["recommend", "--user=3", "--k=many"], ["--k: found 'many', expected an integer"]),
        (["recommend", "--user=3", "--on_unknown=guess"], ["--on_unknown: found 'guess', expected one of raise, skip"]),
        (["recommend", "--user=3", "--dataset=gowalla"], ["--dataset: found gowalla, expected nothing beside a saved"]),
        (["recommend", "--user=3", "--checkpoint=best"], ["--checkpoint: found best, expected nothing beside a saved"]),
        (["recommend", "--user=3", "--mesh=data:99"], ["--mesh: found data:99: 99 devices, expected at most 8"]),
        (["recommend", "--users_file=missing"], ["--users_file=missing: found a file that cannot be read (No such"]),
        (["recommend", "--users_file=empty"], ["--users_file=empty: found no id, expected an id on each line"]),
        (
            ["recommend", "--users_file=texts"],
            ["texts:2: found 'u2', expected an integer, as all ids"],
        ),
        (["recommend", "--users_file=bytes"], ["--users_file=bytes: found bytes that are no text (invalid start"]),
        (
            ["recommend", "--users_file=folder"],
            ["--users_file=folder: found a file that cannot be read (Is a"],
        ),
        (["recommend", "--user=3", "--candidates_file=many"], ["found 2 ids, none of which is an item of the model"]),
        (
            ["recommend", "--user=3", "--out=x.txt"],
            ["--out=x.txt: found a name that ends in .txt, expected one in"],
        ),
        (["recommend", "--user=3", "--out=folder.csv"], ["--out=folder.csv: found a folder, expected a file"]),
        (["recommend", "--user=3", "--out=no/x.csv"], ["--out=no/x.csv: found a place where no file can be written"]),
        (["similar"], ["similar: found none of them, expected one of --item, --user"]),
        (["similar", "--item=99"], ["--item=99: found 1 unknown ids"]),
        (
            ["similar", "--item=3", "--k=50"],
            ["--k: found 50, expected an integer from 1 to 49, the number of"],
        ),
        (["similar", "--item=3", "--metric=far"], ["--metric: found 'far', expected one of cosine, dot"]),
        (["predict"], ["--pairs_file: found nothing"]),
        (["predict", "--pairs_file=empty"], ["--pairs_file=empty: found no pair"]),
        (["predict", "--pairs_file=texts"], ["texts:1: found 1 columns, expected 2"]),
        (["predict", "--pairs_file=quotes"], ["quotes:1: found unexpected end of data"]),
        (["predict", "--pairs_file=pairs"], ["pairs:1: found 'x', expected ids that are integers"]),
        (["predict", "--pairs_file=strangers"], ["strangers: found 1 unknown ids, such as 99"]),
        (["export"], ["--out: found nothing"]),
        (["export", "--out=new", "--format=pickle"], ["--format: found 'pickle', expected one of npz, safetensors"]),
        (["export", "--out=folder"], ["--out=folder: found something that is no export"]),
    ],
)
def test_bad_input_is_one_line(arguments, parts, saved, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    texts = {
        "empty": "\n",
        "texts": "3\nu2\n",
        "many": "77\n78\n",
        "pairs": "3,x\n",
        "strangers": "99,3\n",
        "quotes": '"3',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfa")
    for name in ("folder", "folder.csv"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    named = any(argument.startswith("--workdir") for argument in arguments)
    line = refused(capsys, *arguments, *([] if named else [f"--workdir={saved}"]))
    assert all(part in line for part in parts)
    assert sorted(tmp_path.rglob("*")) == before


def test_popularity_has_no_vectors(tmp_path, capsys):
    lg.Popularity().fit(lg.load("synthetic", **WORLD)).save(tmp_path / "popular")
    for command in (["similar", "--item=3"], ["export", f"--out={tmp_path / 'out'}"]):
        line = refused(capsys, *command, f"--workdir={tmp_path / 'popular'}")
        assert "found a Popularity model, expected one with vectors" in line
    assert main.main(["recommend", f"--workdir={tmp_path / 'popular'}", "--user=3", "--k=2"]) == 0


def test_an_older_model_says_what_to_do(saved, tmp_path, capsys):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "model.json").write_text('{"format": 1, "kind": "Model"}')
    line = refused(capsys, "recommend", f"--workdir={tmp_path / 'old'}", "--user=3")
    assert "found model format 1, expected format 2, the one of this version (load it from its run folder" in line


def test_a_disk_that_is_full_ends_with_status_1(saved, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lgcn_jax.system.files.os.fsync", full)
    command = ["recommend", f"--workdir={saved}", "--user=3", f"--out={tmp_path / 'lists.csv'}"]
    assert main.main(command) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'lists.csv'} could not be written: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


def test_pairs_know_their_lines():
    assert predict.parse_pairs("user,item\n\n1,2\n3,4", "x") == [(3, ["1", "2"]), (4, ["3", "4"])]


def test_users_of_a_table_are_folded_in(run, model, tmp_path, capsys):
    table = tmp_path / "new.csv"
    table.write_text("item,user\n3,1001\n4,1001\n5,11\n")
    (heading, *rows), err = printed(capsys, "recommend", f"--workdir={run}", f"--fold_in={table}", "--k=3")
    found = model.fold_in({11: [5], 1001: [3, 4]}, k=3).recommendations
    assert heading == ["user", "rank", "item", "score"]
    assert [row[:3] for row in rows] == [
        [str(user), str(rank + 1), str(item)]
        for user, items in zip(found.users.tolist(), found.ids.tolist(), strict=True)
        for rank, item in enumerate(items)
    ]
    assert err == "columns user = user, item = item\n1 of 2 users are new, and folded in by their items\n"


def test_ids_of_a_table_become_text_where_those_of_the_model_are(shop, tmp_path, capsys):
    table = tmp_path / "new.csv"
    table.write_text("user,item\n7,c\n8,c\n")
    _, err = printed(capsys, "recommend", f"--workdir={shop}", f"--fold_in={table}", "--k=1")
    assert err.endswith("1 of 2 users are new, and folded in by their items\n")


@pytest.mark.parametrize(
    ("content", "more", "text"),
    [
        (
            "user,item\n1,999\n",
            (),
            "--fold_in={}: found 1 unknown ids, such as 999, expected items that the model knows",
        ),
        ("user,item\nx,3\n", (), "--fold_in={}: found 'x' of type str, expected ids that are integers"),
        ("user,item\n1001,999\n", ("--on_unknown=skip",), "--fold_in={}: found no user whom the model knows"),
        ("user,thing\n1,3\n", (), "item: found nothing, and no column with a usual name"),
        ("user,item\n1,3\n", ("--mesh=data:2",), "--mesh: found data:2, expected nothing beside --fold_in"),
        ("user,item\n1,3\n", ("--user=1",), "recommend: found --user and --fold_in, expected one of"),
        (None, (), "--fold_in={}: found "),
    ],
)
def test_bad_tables_to_fold_in_are_refused(run, tmp_path, capsys, content, more, text):
    table = tmp_path / "new.csv"
    if content:
        table.write_text(content)
    assert refused(capsys, "recommend", f"--workdir={run}", f"--fold_in={table}", *more).startswith(text.format(table))


def test_a_run_outlives_its_table_of_titles(tmp_path, capsys):
    events, films = tmp_path / "events.csv", tmp_path / "films.csv"
    events.write_text("user,item\n" + "".join(f"{n % 7},{n % 11}\n" for n in range(77)))
    films.write_text("item,title\n" + "".join(f"{n},Film {n}\n" for n in range(11)))
    run = f"--workdir={tmp_path / 'run'}"
    train = ["train", run, "--quiet"]
    flags = [f"--dataset={events}", f"--item_table={films}", "--epochs=1", "--top_k=2", "--embedding_dim=4"]
    assert main.main([*train, *flags]) == 0
    films.unlink()
    assert main.main([*train, "--epochs=2"]) == 0
    capsys.readouterr()
    (heading, *rows), err = printed(capsys, "recommend", run, "--user=3", "--k=2", "--noexclude_seen")
    assert (heading[-1], err) == ("title", "")
    assert all(row[-1] == f"Film {row[2]}" for row in rows)
    assert main.main(["report", run]) == 0
    assert "Film 3" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("out", ["precious.csv", "nowhere/report.html"])
def test_a_report_overwrites_nothing_else(run, tmp_path, capsys, out):
    (tmp_path / "precious.csv").write_text("1,2\n")
    assert refused(capsys, "report", f"--workdir={run}", f"--out={tmp_path / out}").startswith("--out=")
    assert (tmp_path / "precious.csv").read_text() == "1,2\n"
