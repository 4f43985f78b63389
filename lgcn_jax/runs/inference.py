"""What a run's table is ranked by: what its settings state, or what was chosen when it ended."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.models.inference import AUTO
from lgcn_jax.runs import scoring
from lgcn_jax.training import inference
from lgcn_jax.training.setup import build_setup

KEY = "inference"  # of result.json
AS_TRAINED = {"inference_weights": (), "popularity_prior": 0.0}


def choose_inference_settings(
    config: Config, interactions: Interactions, folder: Path, which: str = "best"
) -> dict[str, Any]:
    """What `training.inference.choose_inference_settings` finds for a run's checkpoint on the validation part."""
    setup = build_setup(config, interactions, trains=False)
    _, found = scoring.load_selected_checkpoint(folder, which, setup, interactions)
    return inference.choose_inference_settings(setup, setup.to_row_order(found.snapshot.state.params))


def resolve_inference_settings(
    config: Config, stated: dict[str, Any], interactions: Interactions, folder: Path, which: str
) -> tuple[Config, list[str]]:
    """The settings of a run by which its checkpoint is ranked, and what is worth telling.

    What is stated as auto is chosen now; what the run was begun with as auto is what was chosen when it ended.

    Args:
      config: the run's settings.
      stated: those of `AS_TRAINED` that are stated anew.
      interactions: the data set of the run.
      folder: of the run.
      which: the checkpoint, 'best' or 'latest'.

    Raises:
      InputError: something is to be chosen, and there is no validation part.
    """
    config, notes = with_recorded_inference(
        config, folder, [name for name in config.inference.chosen_on_validation if name not in stated]
    )
    searched = [name for name, value in stated.items() if value == AUTO]
    if not searched:
        return config.replace(**stated), notes
    if not interactions.valid.nnz:
        expected = "numbers, or data with a validation part, on which they are chosen (--validation_fraction)"
        raise InputError(f"--{searched[0]}", AUTO, expected)
    found = choose_inference_settings(config.replace(**stated, eval_split="valid"), interactions, folder, which)
    numbers = stated | {name: found["chosen"][name] for name in searched}
    return config.replace(**numbers), [*notes, describe_choice(found, config.evaluation.watched_metric)]


def with_recorded_inference(config: Config, folder: Path, names: Iterable[str]) -> tuple[Config, list[str]]:
    """The settings with what result.json says was chosen; where it does not say, with training's, which is told."""
    names = list(names)
    if not names:
        return config, []
    try:
        found = json.loads((folder / "result.json").read_text(encoding="utf-8"))[KEY]["chosen"]
        chosen, notes = {name: found[name] for name in names}, []
    except (OSError, ValueError, KeyError, TypeError):
        chosen = {name: AS_TRAINED[name] for name in names}
        notes = [f"--{' and --'.join(names)}: not chosen yet, since the run has not ended; ranked as trained"]
    return config.replace(**chosen), notes


def describe_choice(found: dict[str, Any], watched: str) -> str:
    """A line about a choice."""
    called = {"inference_weights": "layer weights", "popularity_prior": "popularity prior"}
    chosen, trained = found["chosen"], found["tried"][0]
    what = " and ".join(f"{name} {_to_text(chosen[key])}" for key, name in called.items() if key in chosen)
    gain = f"{watched} {chosen[watched]:.4f}, as trained {trained[watched]:.4f}"
    return f"chosen on the {found['split']} part among {len(found['tried'])}: {what} ({gain})"


def _to_text(value: Any) -> str:
    return ", ".join(f"{each:g}" for each in value) if isinstance(value, list) else f"{value:g}"
