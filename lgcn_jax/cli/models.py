"""What the commands that use a trained model share: their flags, the model, and ids as they are typed."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from absl import flags

from lgcn_jax.cli.command import COMPILATION_CACHE, PLUGIN, named_as_flags, warn, with_absolute_paths, workdir_of
from lgcn_jax.cli.flags import stated_settings
from lgcn_jax.cli.id_file import read_ids
from lgcn_jax.config import RELOCATABLE
from lgcn_jax.data.ids import is_text, locate
from lgcn_jax.devices import mesh
from lgcn_jax.devices.mesh import ONE_DEVICE
from lgcn_jax.errors import InputError
from lgcn_jax.serving import storage
from lgcn_jax.serving.recommender import Recommender
from lgcn_jax.serving.vectors import VectorModel

OWN = {
    "workdir": ("", "the folder of a run, or of a model that was saved"),
    "checkpoint": ("best", "of a run, which checkpoint: best, latest (default: best)"),
    **PLUGIN,
    **COMPILATION_CACHE,
}
TEXTS = {
    "dataset": "of a run, where its data lie (default: where they were when it was trained)",
    "mesh": f"devices, as data:D,nodes:M: users are cut over D, items over M of them (default: {ONE_DEVICE})",
    "propagation": "of a run, layout of the adjacency matrix (default: that of the run)",
}


def load_model(values: flags.FlagValues, names: Iterable[str] = RELOCATABLE) -> Recommender:
    """The model in --workdir, with the settings among `names` that are stated."""
    from lgcn_jax.serving import loading

    mesh.require_devices()
    folder = workdir_of(values)
    stated = with_absolute_paths(stated_settings(values, names))
    if storage.is_model(folder):
        stated.pop("mesh", None)
        for name in [*stated, *(["checkpoint"] if values["checkpoint"].present else [])]:
            raise InputError(f"--{name}", values[name].value, "nothing beside a saved model, which is whole")
    with named_as_flags(**{str(folder): f"--workdir={folder}", "checkpoint": "--checkpoint"}):
        return loading.load_model(folder, stated.pop("dataset", None), checkpoint=values["checkpoint"].value, **stated)


def load_vectors(values: flags.FlagValues, names: Iterable[str] = RELOCATABLE) -> VectorModel:
    """The model in --workdir, which has vectors."""
    model = load_model(values, names)
    if not isinstance(model, VectorModel):
        raise InputError(f"--workdir={values['workdir'].value}", f"a {type(model).__name__} model", "one with vectors")
    return model


def mesh_of(values: flags.FlagValues) -> str:
    """What --mesh says."""
    return values["mesh"].value if values["mesh"].present else ONE_DEVICE


def parse_ids(text: str, known: np.ndarray, flag: str) -> np.ndarray:
    """Raw ids separated by commas, as an array of the kind of the `known` ones."""
    return parse_placed_ids([(flag, each.strip()) for each in text.split(",")], known)


def parse_placed_ids(texts: Iterable[tuple[str, str]], known: np.ndarray) -> np.ndarray:
    """Raw ids, each with the place where it is written, as an array of the kind of the `known` ones."""
    found = [_parse_id(text, known, where) for where, text in texts]
    return np.array(found, object if is_text(known) else np.int64)


def read_item_list(path: str, items: np.ndarray, flag: str, needed: bool) -> np.ndarray:
    """Those ids in a file that are items; how many others there are is told.

    Raises:
      InputError: as `read_ids`, or where one is `needed` and none is an item.
    """
    found = read_ids(path, items, flag, "item")
    known = locate(found, items)[1]
    if needed and not known.any():
        other = f"{len(found):,} ids, none of which is an item of the model, such as {found[0]}"
        raise InputError(f"{flag}={path}", other, f"ids such as {items[0]}")
    if not known.all():
        warn([f"{path}: {(~known).sum():,} of {len(found):,} ids are no items of the model, and are passed over"])
    return found[known]


def read_text(path: str, flag: str, expected: str) -> str:
    """The text of a file that a flag names."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
        raise InputError(f"{flag}={path}", f"a file that cannot be read ({reason})", expected) from None


def _parse_id(text: str, known: np.ndarray, where: str) -> str | int:
    """An id as it is written, of the kind of the `known` ones; `007` is no integer, since it is not 7."""
    if is_text(known):
        return text
    if not re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text):
        raise InputError(where, repr(text), f"ids that are integers, such as {known[0]}")
    return int(text)
