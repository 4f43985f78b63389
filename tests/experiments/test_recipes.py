"""The recipes: their flags pass, and two epochs of each run."""

import json
from pathlib import Path

import pytest

from lgcn_jax.baselines import BASELINES
from lgcn_jax.cli import main, solve
from lgcn_jax.cli.command import config_from_flags, parse_flags, run_setting_names
from lgcn_jax.cli.flags import stated_settings
from lgcn_jax.data import datasets

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "experiments" / "reference" / "published_results.json"
FILES = sorted((ROOT / "experiments" / "recipes").iterdir())
SOLVED = [recipe for recipe in FILES if "--model=" in recipe.read_text() and "--epochs" not in recipe.read_text()]
RECIPES = [recipe for recipe in FILES if recipe not in SOLVED]
# Those whose names do not say the loss.
OF_AN_AIM = ("gowalla-64", "gowalla-in-minutes", "yelp2018-in-minutes")
QUICK = ("lastfm",)  # data sets of which two epochs take seconds


def settings(recipe: Path):
    return config_from_flags(stated_settings(values_of(recipe), run_setting_names()))


def values_of(recipe: Path, *more: str):
    return parse_flags(main.COMMANDS["train"], "train", [f"--flagfile={recipe}", *more])


def of(recipe: Path):
    quick = settings(recipe).data.dataset in QUICK
    return pytest.param(recipe, marks=() if quick else pytest.mark.long, id=recipe.stem)


def printed(recipe: Path) -> list[float] | None:
    """recall@20 and ndcg@20 that are published of a recipe's baseline on its data set."""
    stated = values_of(recipe)
    dataset, model = (stated[name].value for name in ("dataset", "model"))
    if model == "slim":  # only among the nearest items here, which is another model than the published one
        return None
    rows = json.loads(PUBLISHED.read_text())["rows"]
    return next((row["results"].get(dataset) for row in rows if row["like"] == {"model": model}), None)


def test_there_are_recipes():
    assert {"gowalla-gf-cf", "gowalla-ease", "yelp2018-gf-cf"} <= {each.stem for each in SOLVED if printed(each)}
    assert {"demo.flags", "lastfm-bpr.flags", "gowalla-enhanced.flags"} <= {recipe.name for recipe in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_says_what_its_name_says_and_how_it_is_run(recipe):
    config, text = settings(recipe), recipe.read_text()
    assert config.data.dataset in datasets.NAMED
    if recipe.stem != "demo":
        assert recipe.stem.startswith(f"{config.data.dataset}-")
        assert recipe.stem in OF_AN_AIM or recipe.stem == f"{config.data.dataset}-{config.to_dict()['loss']}"
        command = f"train --flagfile=experiments/recipes/{recipe.name} --workdir=runs/{recipe.stem}"
        assert text.startswith(f"# python -m lgcn_jax {command}\n")
    else:
        assert "recipes/demo.flags" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("recipe", SOLVED, ids=lambda recipe: recipe.stem)
def test_a_recipe_without_training_says_what_its_name_says_and_how_it_is_run(recipe):
    stated = values_of(recipe)
    dataset, model, second = (stated[name].value for name in ("dataset", "model", "second"))
    assert dataset in datasets.NAMED
    second = Path(second).name.removeprefix(f"{dataset}-")  # a baseline, or the folder of a recipe's run
    assert recipe.stem == "-".join([dataset, model, *([second] if model == "mixture" else [])])
    assert model in (*BASELINES, "mixture")
    if model in BASELINES:
        BASELINES[model](**solve.own_settings(stated, model))  # refuses what the model does not have
    command = f"train --flagfile=experiments/recipes/{recipe.name} --workdir=runs/{recipe.stem}"
    assert recipe.read_text().startswith(f"# python -m lgcn_jax {command}\n")


@pytest.mark.parametrize("recipe", [of(recipe) for recipe in RECIPES])
def test_two_epochs_of_a_recipe_run(recipe, published, tmp_path, capsys):
    """The second one with a lower loss, and a better evaluation than nothing."""
    config = settings(recipe)
    short = ["--epochs=2", f"--data_dir={published(config.data.dataset)}", f"--workdir={tmp_path / 'run'}", "--quiet"]
    assert main.main(["train", f"--flagfile={recipe}", *short]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first, second = (row["loss"] for row in rows if row["split"] == "train")
    assert second < first
    evaluated = [row for row in rows if row["split"] != "train"]
    assert evaluated[-1][config.evaluation.watched_metric] > 0
    assert "popularity" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize("recipe", [recipe for recipe in SOLVED if printed(recipe)], ids=lambda recipe: recipe.stem)
def test_a_baseline_has_the_published_numbers(recipe, published, tmp_path):
    """They have no seed, so they pin reading, masking, ranking and metrics. EASE takes ten minutes and 14 GB."""
    where = [f"--data_dir={published(values_of(recipe)['dataset'].value)}", f"--workdir={tmp_path / 'run'}", "--quiet"]
    assert main.main(["train", f"--flagfile={recipe}", *where]) == 0
    last = json.loads((tmp_path / "run" / "result.json").read_text())["last"]
    assert [last["recall@20"], last["ndcg@20"]] == pytest.approx(printed(recipe), abs=4e-4)
