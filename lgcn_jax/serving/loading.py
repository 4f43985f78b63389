"""Models from disk: those that `save` wrote, and those that the checkpoints of a run hold."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.config import RELOCATABLE, Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import READING
from lgcn_jax.devices.mesh import ONE_DEVICE
from lgcn_jax.errors import InputError
from lgcn_jax.runs import inference, raw_ids, resume, scoring, selection, workdir
from lgcn_jax.runs.raw_ids import RawIds
from lgcn_jax.serving import storage
from lgcn_jax.serving.models import Model
from lgcn_jax.serving.recommender import Recommender
from lgcn_jax.serving.solved import KINDS
from lgcn_jax.system import paths
from lgcn_jax.training.setup import build_setup


def load_model(
    folder: str | Path, dataset: Interactions | str | Path | None = None, *, checkpoint: str = "best", **settings: Any
) -> Recommender:
    """The model that `save` wrote into a folder, or that a run folder holds: then its vectors are those that the `fit`
    or `train` of the run returned, to the bit, on the same machine.

    >>> import lgcn_jax as lg
    >>> lg.Popularity().fit(lg.read(([1, 2, 3, 3], [7, 7, 7, 8]), test_fraction=0.5)).save("popular")
    >>> lg.load_model("popular").users.tolist()
    [1, 2, 3]

    Args:
      folder: of a saved model, or of a run.
      dataset: of a run, the data that it was trained on, of which its graph is made: `Interactions`, a name or a path.
        None: read again from where the run had them. They are compared by content.
      checkpoint: of a run, 'best' or 'latest'.
      **settings: of a run, what may be stated anew: how its data are read, such as format, data_dir and item_table;
        propagation, and mesh, by default one device; inference_weights and popularity_prior, which 'auto' chooses on
        the validation part.

    Raises:
      InputError: there is no model, one of another version or data set, or one whose parts are not registered.
    """
    folder = paths.as_path(folder, "folder")
    paths.exists(folder / storage.FACTS, folder)  # refused, if it can't be looked into
    stated = ({} if dataset is None else {"dataset": dataset}) | settings
    if storage.is_model(folder):
        for name, value in stated.items():
            raise InputError(name, value, "nothing beside a saved model, which needs no data")
        return _load_saved(folder)
    for name in settings.keys() - set(RELOCATABLE):
        raise InputError(name, settings[name], f"one of {', '.join(RELOCATABLE)}")
    if checkpoint not in selection.CHOICES:
        raise InputError("checkpoint", repr(checkpoint), f"one of {', '.join(selection.CHOICES)}")
    return _load_run(folder, stated, checkpoint)


def _load_saved(folder: Path) -> Recommender:
    try:
        return restore_model(*storage.load(folder), folder)
    except KeyError as error:
        raise InputError(folder, f"a model without {error}", "the folder of a saved model") from None
    except InputError:
        raise
    except (TypeError, AttributeError, ValueError) as error:
        raise InputError(folder, f"a model that cannot be read ({error})", "the folder of a saved model") from None


def restore_model(
    facts: dict[str, Any], arrays: dict[str, np.ndarray], ids: tuple[RawIds, RawIds], where: object = "model"
) -> Recommender:
    """The model whose facts, arrays and raw ids these are, as `Recommender._state` gives them."""
    from lgcn_jax.serving.mixture import Mixture  # which is made of models that are loaded

    kinds: dict[str, Any] = {"Model": Model, "Mixture": Mixture} | KINDS
    if not isinstance(facts.get("kind"), str) or facts["kind"] not in kinds:
        raise InputError(where, f"a model of kind {facts.get('kind')!r}", f"one of {', '.join(kinds)}")
    return kinds[facts["kind"]]._loaded(facts, arrays, ids)


def _load_run(folder: Path, stated: dict[str, Any], checkpoint: str) -> Model:
    stored = resume.stored_settings(folder)
    if stored is None:
        raise InputError(folder, "neither a run nor a saved model", "a folder that train has filled, or save")
    how = {name: stated.pop(name) for name in inference.AS_TRAINED if name in stated}
    config, interactions = _resolve_config(stored, {"mesh": ONE_DEVICE} | stated)
    config, notes = inference.resolve_inference_settings(config, how, interactions, folder, checkpoint)
    setup = build_setup(config, interactions, trains=False)
    trained, final, choice = scoring.load_final_embeddings(setup, interactions, folder, checkpoint)
    for note in filter(None, [*notes, *choice.notes, choice.missing]):
        print(f"{folder}: {note}", file=sys.stderr)
    made = Model._of_config(stored.replace(**{name: getattr(config.inference, name) for name in inference.AS_TRAINED}))
    made.user_embeddings, made.item_embeddings = np.split(final, [interactions.num_users])
    made._remember_graph(config, trained, interactions)
    made.history, made.status = workdir.logged_rows(folder), _run_status(folder)
    made._remember(raw_ids.with_kept_titles(interactions, folder))
    return made


def _resolve_config(stored: Config, stated: dict[str, Any]) -> tuple[Config, Interactions]:
    """The settings of a run with what is stated anew, and its data set."""
    dataset = stated.get("dataset")
    if isinstance(dataset, Interactions):
        return stored.replace(**{name: value for name, value in stated.items() if name != "dataset"}), dataset
    config = stored.replace(**{name: _absolute_path(name, value) for name, value in stated.items()})
    try:
        return config, datasets.load(config.data)
    except InputError as error:
        if stated.keys() & set(READING):
            raise
        where, found, expected = error.parts
        raise InputError(where, found, f"{expected}; where the data of a run lie now is what dataset says") from None


def _absolute_path(name: str, value: Any) -> Any:
    """Paths as they are from everywhere, and other settings as they are."""
    if name == "dataset" and not datasets.is_dataset_name(str(value)):
        found = datasets.paths_of(str(Path(value).expanduser()))
        return ",".join(str(path.expanduser().absolute()) for path in found)
    if name in ("data_dir", "item_table", "user_table") and value:
        return str(Path(value).expanduser().absolute())
    return str(value) if name == "dataset" else value


def _run_status(folder: Path) -> str:
    """How the run ended, 'interrupted' where it has not."""
    try:
        return json.loads((folder / "result.json").read_text(encoding="utf-8"))["status"]
    except (OSError, ValueError, KeyError, TypeError):
        return "interrupted"
