"""For whom and of what a model's lists are good: groups of users and items, exposure, and users who are folded in.

    python experiments/cold_start.py runs/gowalla-ssm                      # of a run, or a solved model
    python experiments/cold_start.py runs/gowalla-ssm --fold_in            # and of users whom another fit leaves out
    python experiments/cold_start.py runs/gowalla-ssm --data_dir=/data     # where the data lie now

Writes NAME.cold_start.json beside the folder NAME, from where `leaderboard.py` takes it. Users are in four groups of
about equal interactions, items in ten of about equal train pairs; all is of the test part and of lists of 20.

--fold_in: a tenth of the users, drawn by --seed, is left out of a fit with the same settings; a trained model gets as
many epochs as its best one had. Their train items are then their histories. Trained models give them vectors by
`fold_in`; of the solved ones, those whose scores are made of nothing of a user but the items that they have take the
histories in place of the rows that were left out. For the others there is no such number.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import fold_in
import leaderboard_folders
import left_out
import numpy as np
from absl import flags
from recorded_data import data_of

import lgcn_jax as lg
from lgcn_jax.baselines import BASELINES
from lgcn_jax.baselines.matrices import matrix_to_arrays, train_matrix
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import results
from lgcn_jax.evaluation.results import EvaluationResult
from lgcn_jax.serving.solved import SolvedModel, make_solved_model
from lgcn_jax.settings import fields
from lgcn_jax.system import files

K = 20
METRICS = ("recall", "ndcg", "coverage", "novelty", "average_popularity", "gini")

FLAGS = flags.FlagValues()
FLAGS.set_gnu_getopt()
flags.DEFINE_string("dataset", "", "where the data lie, if they have moved", flag_values=FLAGS)
flags.DEFINE_string("data_dir", "", "folder of named data sets, if they have moved", flag_values=FLAGS)
flags.DEFINE_bool("fold_in", False, "fit once more, without some users, and fold these in", flag_values=FLAGS)
flags.DEFINE_float("held_out", 0.1, "share of the users who are left out", flag_values=FLAGS)
flags.DEFINE_integer("seed", 2020, "of the draw of these", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    try:
        stated = FLAGS(arguments)[1:]
        if len(stated) != 1:
            raise InputError("cold_start", f"{len(stated)} folders", "the folder of a run or of a solved model")
        folder = Path(stated[0])
        found = measured(folder)
        path = leaderboard_folders.cold_start_file(folder)
        files.write(path, (json.dumps(_without_nan(found), indent=1, allow_nan=False) + "\n").encode())
    except (InputError, flags.Error) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    print(" ".join(f"{name} {value:.4f}" for name, value in found["metrics"].items()))
    if found["fold_in"]:
        print(" ".join(f"{name} {value}" for name, value in found["fold_in"].items()))
    print(f"wrote {path}")


def measured(folder: Path) -> dict[str, Any]:
    """What the table shows of the model in a folder."""
    row = leaderboard_folders.of_folder(folder, groups=False)
    config = json.loads((folder / "result.json").read_text(encoding="utf-8"))["config"]
    data = data_of(config, dataset=FLAGS.dataset, data_dir=FLAGS.data_dir)
    if data.evaluation_hash() != row.evaluation_sha256:
        raise InputError(folder, f"other data in {data.name}", "those that the model was evaluated on")
    model = lg.load_model(folder) if solved(folder) else lg.load_model(folder, data)
    found = model.evaluate(data, k=K, metrics=METRICS, per_user=True)
    return {
        "model": row.model,
        "dataset": row.dataset,
        "seed": row.runs[0].seed,
        "metrics": found.means(),
        "user_groups": _listed(found.user_groups()),
        "item_groups": _listed(found.item_groups()),
        "fold_in": folded(model, data, found, row.runs[0].epoch) if FLAGS.fold_in else None,
    }


def solved(folder: Path) -> bool:
    """Whether the folder holds a model that was solved, not trained."""
    return (folder / "model.json").exists()


def folded(model: Any, data: Interactions, found: EvaluationResult, epochs: int) -> dict[str, Any] | None:
    """recall@20 of users whom another fit left out, folded in, and of the same users by the model at hand."""
    if not isinstance(model, SolvedModel | lg.Model):
        sys.stderr.write(f"not folded in: {type(model).__name__}, which is neither trained nor solved\n")
        return None
    held = left_out.drawn(data, FLAGS.held_out, FLAGS.seed)
    fit = _folded_solved if isinstance(model, SolvedModel) else _folded_trained
    recall = fit(model, data, held, epochs)
    if recall is None:
        return None
    here = np.isin(found.users, data.user_ids[held])
    trained = float(found.values[f"recall@{K}"][here].mean(dtype=np.float64))
    return {"users": len(held), "folded_in": recall, "trained_in": trained}


def _folded_trained(model: lg.Model, data: Interactions, held: np.ndarray, epochs: int) -> float | None:
    """Of a model that is trained anew without the users, for so many epochs: its only evaluation chooses none."""
    settings = {name: value for name, value in model.get_params().items() if name not in fields(DataSettings)}
    settings |= {"epochs": epochs, "eval_every": epochs, "early_stopping_patience": 0, "warm_start": ""}
    fitted = type(model)(**settings).fit(left_out.without(data, held), quiet=True)
    try:
        lists = left_out.folded(fitted, data, held, K).recommendations
    except InputError as error:
        sys.stderr.write(f"not folded in: {error}\n")
        return None
    return fold_in.recall(np.searchsorted(data.item_ids, lists.ids), data, held)


def _folded_solved(model: SolvedModel, data: Interactions, held: np.ndarray, epochs: int) -> float | None:
    """Of a model that is solved anew without the users, and then given their rows."""
    del epochs
    rest = make_solved_model(BASELINES.name_of(model.baseline), **model.get_params()).fit(left_out.without(data, held))
    own = {name for name in rest.solution if name.startswith("train_")}
    others = [values for name, values in rest.solution.items() if name not in own]
    if any(data.num_users in values.shape or data.num_users + 1 in values.shape for values in others):
        sys.stderr.write("not folded in: its scores are made of more of a user than the items that they have\n")
        return None
    rows = {
        name: values
        for name, values in matrix_to_arrays(train_matrix(data, np.float32), "train").items()
        if name in own
    }
    scorer = rest.baseline.scorer(rest.solution | rows)
    return results.evaluate(scorer, data, "test", (K,), held).means()[f"recall@{K}"]


def _listed(table: dict[str, np.ndarray]) -> dict[str, list]:
    return {name: column.tolist() for name, column in table.items()}


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: None stands for what is of nothing."""
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    main(sys.argv)
