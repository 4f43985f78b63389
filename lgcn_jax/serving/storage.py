"""A fitted model in a folder, without pickle.

model.json      settings, history, what kind of model it is
arrays.npz      its numbers
ids/            raw ids and titles, as a run folder has them
result.json     of a model that `train` solved: its metrics, and what it took, in the form of a run's
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.runs import raw_ids
from lgcn_jax.runs.raw_ids import RawIds
from lgcn_jax.system import files

FORMAT = 2  # 1 had the raw ids among the arrays, and no counts of the items
FACTS, ARRAYS = "model.json", "arrays.npz"
RECORD = "result.json"
NAMES = {FACTS, ARRAYS, RECORD, raw_ids.FOLDER}


def save(
    folder: Path,
    facts: dict[str, Any],
    arrays: dict[str, np.ndarray],
    ids: tuple[RawIds, RawIds],
    record: dict[str, Any] | None = None,
) -> None:
    """Writes beside the folder, then renames: half a model is never there. A `record` becomes result.json.

    Raises:
      InputError: the folder holds something that is no model.
      WriteError: the disk does not take it.
    """
    folder = folder.expanduser()

    def fill(made: Path) -> None:
        (made / FACTS).write_text(json.dumps({"format": FORMAT} | facts, indent=2), encoding="utf-8")
        np.savez(made / ARRAYS, allow_pickle=False, **arrays)
        raw_ids.write_raw_ids(made / raw_ids.FOLDER, *ids)
        if record is not None:
            (made / RECORD).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    try:
        _require_ours(folder)
        files.write_folder(folder, fill)
    except OSError as error:
        raise WriteError(folder, error.strerror or error) from None


def require_free(folder: Path, overwrite: bool) -> None:
    """Raises an InputError where the folder holds something else than a model, or a model that may not be replaced."""
    folder = folder.expanduser()
    if is_model(folder) and not overwrite:
        raise InputError(f"--workdir={folder}", "a model", "a new folder, or --overwrite")
    _require_ours(folder)


def _require_ours(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= NAMES):
        raise InputError(folder, "something that is no model", "a new folder, or that of a model")


def is_model(folder: Path) -> bool:
    """Whether `save` wrote into the folder, in whatever version."""
    return (folder.expanduser() / FACTS).exists()


def load(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], tuple[RawIds, RawIds]]:
    """What `save` wrote.

    Raises:
      InputError: it is no model, or one of another version.
    """
    folder = folder.expanduser()
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        _require_format(facts, folder / FACTS)
        with np.load(folder / ARRAYS, allow_pickle=False) as file:
            return facts, {name: file[name] for name in file.files}, raw_ids.read_raw_ids(folder / raw_ids.FOLDER)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(error.filename, "no such file", "the folder of a saved model") from None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise InputError(folder, f"a model that cannot be read ({error})", "the folder of a saved model") from None


def _require_format(facts: Any, path: Path) -> None:
    found = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
    if type(found) is not int or found != FORMAT:
        advice = "load it from its run folder, fit it anew, or use the version that saved it"
        raise InputError(path, f"model format {found!r}", f"format {FORMAT}, the one of this version ({advice})")
