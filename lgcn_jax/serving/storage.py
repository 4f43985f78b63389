"""A fitted model in a folder: model.json and arrays.npz, without pickle."""

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.errors import InputError, WriteError

FORMAT = 1
FACTS, ARRAYS = "model.json", "arrays.npz"


def save(folder: Path, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Writes beside the folder, then renames: half a model is never there.

    Raises:
      InputError: the folder holds something that is no model.
      WriteError: the disk does not take it.
    """
    folder = folder.expanduser()
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= {FACTS, ARRAYS}):
        raise InputError(folder, "something that is no model", "a new folder, or that of a model")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            (made / FACTS).write_text(json.dumps({"format": FORMAT} | facts, indent=2), encoding="utf-8")
            np.savez(made / ARRAYS, allow_pickle=False, **arrays)
            made.chmod(0o755)
            old = made.with_name(f"{made.name}-old")
            if folder.exists():
                os.replace(folder, old)
            try:
                os.replace(made, folder)
            except OSError:
                if old.exists():
                    os.replace(old, folder)
                raise
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise WriteError(folder, error.strerror or error) from None


def load(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `save` wrote.

    Raises:
      InputError: it is no model, or one of another version.
    """
    folder = folder.expanduser()
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            found = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
            raise InputError(folder / FACTS, f"model format {found!r}", f"format {FORMAT}, the one of this version")
        with np.load(folder / ARRAYS, allow_pickle=False) as file:
            return facts, {name: file[name] for name in file.files}
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(error.filename, "no such file", "the folder of a saved model") from None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise InputError(folder, f"a model that cannot be read ({error})", "the folder of a saved model") from None
