"""Groups, exposure and folded-in users of a solved model and of a run, beside the front door's own figures."""

import json

import cold_start
import leaderboard_folders
import left_out
import numpy as np
import pytest

import lgcn_jax as lg
from lgcn_jax.cli import main as program
from lgcn_jax.data import csr

SIZE = {"num_users": 80, "num_items": 60, "num_interactions": 1600}
WORLD = ["--dataset=synthetic", *(f"--{name}={value}" for name, value in SIZE.items()), "--quiet"]
MODEL = ["--num_layers=1", "--embedding_dim=4", "--batch_size=256", "--epochs=2", "--eval_every=1"]


@pytest.fixture(autouse=True)
def unstated():
    """The flags of each call are its own."""
    for name in cold_start.FLAGS:
        cold_start.FLAGS[name].unparse()


@pytest.fixture(scope="module")
def interactions():
    return lg.load("synthetic", **SIZE)


def found(folder, *flags) -> dict:
    """What the program writes, as the table reads it."""
    cold_start.main(["cold_start.py", str(folder), *flags])
    return leaderboard_folders.of_folder(folder).cold_start


def refusal(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stopped:
        cold_start.main(["cold_start.py", *map(str, arguments)])
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_a_solved_model_is_measured_and_its_users_folded_in(interactions, tmp_path):
    command = ["train", "--model=itemknn", "--neighbors=10", "--top_k=20", *WORLD]
    assert program.main([*command, f"--workdir={tmp_path / 'knn'}"]) == 0
    told = found(tmp_path / "knn", "--fold_in", "--held_out=0.2", "--seed=1")
    model = lg.load_model(tmp_path / "knn")
    theirs = model.evaluate(interactions, k=20, metrics=cold_start.METRICS, per_user=True)
    assert told["metrics"] == theirs.means()
    assert told["user_groups"]["recall@20"] == theirs.user_groups()["recall@20"].tolist()
    assert sum(told["item_groups"]["recall@20"]) == pytest.approx(told["metrics"]["recall@20"], abs=1e-5)
    held = left_out.drawn(interactions, 0.2, 1)
    assert told["fold_in"]["users"] == len(held)
    ids = interactions.user_ids[held]
    assert told["fold_in"]["trained_in"] == pytest.approx(
        model.evaluate(interactions, k=20, metrics=("recall",), users=ids)["recall@20"], abs=1e-6
    )
    assert told["fold_in"]["folded_in"] == pytest.approx(_by_hand(interactions, held), abs=1e-6)


def _by_hand(interactions, held) -> float:
    """The recall of histories times the weights that were solved for without these users."""
    rest = lg.ItemKNN(neighbors=10).fit(left_out.without(interactions, held))
    weights = np.zeros((SIZE["num_items"],) * 2)
    parts = {name: rest.solution[f"weights_{name}"] for name in ("indptr", "indices", "data")}
    weights[np.repeat(np.arange(len(weights)), np.diff(parts["indptr"])), parts["indices"]] = parts["data"]
    recalls = []
    for user in held:
        mine, wanted = (
            csr.take_rows(part, np.array([user])).indices for part in (interactions.train, interactions.test)
        )
        scores = weights[mine].sum(0) + rest.solution["offset"]
        scores[mine] = -np.inf
        recalls.append(np.isin(wanted, np.argsort(-scores, kind="stable")[:20]).mean())
    return float(np.mean(recalls))


@pytest.mark.parametrize("model", ["userknn", "gf-cf"])
def test_a_model_made_of_more_of_a_user_is_not_folded_in(tmp_path, capsys, model):
    assert program.main(["train", f"--model={model}", *WORLD, f"--workdir={tmp_path / 'model'}", *_small(model)]) == 0
    assert found(tmp_path / "model", "--fold_in")["fold_in"] is None
    assert "not folded in: its scores are made of more of a user than" in capsys.readouterr().err


def _small(model: str) -> list[str]:
    return ["--rank=8"] if model == "gf-cf" else ["--neighbors=10"]


def test_a_run_is_measured_and_its_users_folded_in(interactions, tmp_path):
    assert program.main(["train", *WORLD, *MODEL, f"--workdir={tmp_path / 'run'}"]) == 0
    told = found(tmp_path / "run", "--fold_in", "--held_out=0.5")
    best = json.loads((tmp_path / "run" / "result.json").read_text())["best"]
    assert told["metrics"]["recall@20"] == pytest.approx(best["recall@20"], abs=1e-6)
    assert 0.1 < told["fold_in"]["folded_in"] < 1
    assert told["fold_in"]["folded_in"] == pytest.approx(told["fold_in"]["trained_in"], abs=0.2)


def test_a_model_that_is_neither_is_not_folded_in(interactions, capsys):
    assert cold_start.folded(object(), interactions, None, 1) is None
    assert "not folded in: object, which is neither trained nor solved" in capsys.readouterr().err


def test_other_data_and_other_folders_are_refused(tmp_path, capsys):
    assert program.main(["train", "--model=popularity", *WORLD, f"--workdir={tmp_path / 'model'}"]) == 0
    (tmp_path / "other.csv").write_text("user,item\n" + "".join(f"{n % 7},{n % 5}\n" for n in range(35)))
    moved = refusal(capsys, tmp_path / "model", f"--dataset={tmp_path / 'other.csv'}")
    assert "expected those that the model was evaluated on" in moved
    assert "found no result.json, expected a run" in refusal(capsys, tmp_path / "none")
    assert "cold_start: found 2 folders" in refusal(capsys, "a", "b")


def test_ids_of_folded_in_users_are_new_and_in_the_same_order():
    for ids in (np.array([-3, 5, 9]), np.array(["a", "b b", "c"], object)):
        made = left_out.unknown(ids)
        assert not set(made.tolist()) & set(ids.tolist())
        assert sorted(made.tolist()) == made.tolist()
