"""Names and paths -> data sets: published ones, the synthetic one, and what a path holds."""

import dataclasses
import difflib
from pathlib import Path

from lgcn_jax.data import interactions, reader, synthetic
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.named import NAMED, NamedDataset, find_or_fetch
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError
from lgcn_jax.system import memory


def load(settings: DataSettings, progress: bool = False) -> Interactions:
    """The interactions that `settings.dataset` names, split as the settings say.

    Raises:
      InputError: unknown name, missing or damaged file, failed download, malformed content.
    """
    if settings.dataset == "synthetic":
        found = _synthetic(settings)
    elif settings.dataset in NAMED:
        found = _named(settings, NAMED[settings.dataset], progress)
    elif settings.dataset and _exists(Path(settings.dataset)):
        found = _from_path(settings, Path(settings.dataset))
    else:
        raise InputError("--dataset", repr(settings.dataset), _expected(settings.dataset))
    if settings.validation_fraction:
        found = interactions.hold_out(found, settings.validation_fraction, settings.data_seed)
    return dataclasses.replace(found, source=settings)


def is_name(dataset: str) -> bool:
    """Whether a data set is meant by its name, and not by a path; so is what is neither, by mistake."""
    return dataset == "synthetic" or dataset in NAMED or not _exists(Path(dataset).expanduser())


def ignored_settings(settings: DataSettings) -> dict[str, str]:
    """The settings that this data set does not look at, each with what would look at it."""
    unused = {}
    if settings.dataset != "synthetic":
        unused |= dict.fromkeys(("num_users", "num_items", "num_interactions"), "--dataset=synthetic")
    if settings.dataset == "synthetic" or settings.dataset in NAMED:
        unused["format"] = "a --dataset that is a path"
    if not _divided(settings.dataset):
        unused |= dict.fromkeys(("test_fraction", "min_test_items"), "a --dataset without a test part of its own")
        if not settings.validation_fraction:
            unused["data_seed"] = "a --dataset that is split here, or --validation_fraction"
    return unused


def _divided(name: str) -> bool:
    """Whether the data set has no test part of its own, which is then split off here."""
    if name in NAMED:
        return NAMED[name].test is None
    return name == "synthetic" or not (_exists(Path(name)) and Path(name).is_dir())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have, or a folder that may not be looked into
        return False


def _expected(name: str) -> str:
    known = [*NAMED, "synthetic"]
    near = difflib.get_close_matches(name.lower(), known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"one of {', '.join(known)}, or the path of a folder or file that exists{hint}"


def _synthetic(settings: DataSettings) -> Interactions:
    size = settings.num_users, settings.num_items, settings.num_interactions
    needed, held = synthetic.peak_bytes(*size), memory.total_bytes()
    if needed > held:
        found = f"{settings.num_interactions} of {settings.num_users} users and {settings.num_items} items"
        expected = f"a set that can be made in this machine's {held / 1e9:.0f} GB (this one: {needed / 1e9:.0f} GB)"
        raise InputError("--num_interactions", found, expected)
    try:
        whole = synthetic.generate(*size, settings.data_seed)
    except ValueError:
        found = settings.num_interactions
        raise InputError("--num_interactions", found, "at most half of num_users * num_items") from None
    return interactions.train_test_split_csr("synthetic", whole, settings.num_items, *_split(settings))


def _named(settings: DataSettings, named: NamedDataset, progress: bool) -> Interactions:
    sources = filter(None, (named.train, named.test))
    parts = reader.read_all([find_or_fetch(settings, source, progress) for source in sources], named.format)
    if named.test is None:
        return interactions.train_test_split(settings.dataset, *parts, *_split(settings))
    return interactions.assemble(settings.dataset, *parts)


def _from_path(settings: DataSettings, path: Path) -> Interactions:
    name = path.resolve().name
    if not path.is_dir():
        pairs = reader.read(path, settings.format)
        found = interactions.train_test_split(str(path), pairs, *_split(settings))
        return dataclasses.replace(found, name=name)
    parts = [_part(path, part) for part in ("train", "test", "valid")]
    if None in parts[:2]:
        found = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
        raise InputError(path, found, "train.* and test.* (and, where there is one, valid.*)")
    found = interactions.assemble(str(path), *reader.read_all([part for part in parts if part], settings.format))
    return dataclasses.replace(found, name=name)


def _split(settings: DataSettings) -> tuple[float, int, int]:
    """How a test part is split off."""
    return settings.test_fraction, settings.data_seed, settings.min_test_items


def _part(folder: Path, part: str) -> Path | None:
    candidates = sorted(folder.glob(f"{part}.*"))
    if len(candidates) > 1:
        raise InputError(folder, " and ".join(p.name for p in candidates), f"one file {part}.*")
    return candidates[0] if candidates else None
