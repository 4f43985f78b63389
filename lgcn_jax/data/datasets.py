"""Names and paths -> data sets: published ones, the synthetic one, and what a path holds."""

import dataclasses
import difflib
import os
from pathlib import Path

from lgcn_jax.data import files, preparation, synthetic
from lgcn_jax.data.columns import ROLES
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.named import NAMED, NamedDataset, find_or_fetch
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError
from lgcn_jax.system import memory

_READING = ("format", "delimiter", "header", "encoding")
_CORE = ("min_user_interactions", "min_item_interactions")
_SELECTING = (*(f"{role}_col" for role in ROLES), "min_rating", "repeats", "strict")


def load(settings: DataSettings, progress: bool = False) -> Interactions:
    """The interactions that `settings.dataset` names, split as the settings say.

    Raises:
      InputError: unknown name, missing or damaged file, failed download, malformed content.
    """
    if settings.dataset == "synthetic":
        found = _make_synthetic(settings)
    elif settings.dataset in NAMED:
        found = _load_named(settings, NAMED[settings.dataset], progress)
    elif settings.dataset and all(map(_exists, paths_of(settings.dataset))):
        found = _load_path(settings, progress)
    elif len(paths := paths_of(settings.dataset)) > 1:
        missing = next(path for path in paths if not _exists(path))
        raise InputError("--dataset", f"{str(missing)!r}, which is not there", "files, separated by commas")
    else:
        raise InputError("--dataset", repr(settings.dataset), _expected_names(settings.dataset))
    return dataclasses.replace(preparation.with_titles(found, settings), source=settings)


def is_dataset_name(dataset: str) -> bool:
    """Whether a data set is meant by its name, and not by a path; so is what is neither, by mistake."""
    paths = paths_of(os.path.expanduser(dataset))
    return dataset == "synthetic" or dataset in NAMED or not all(map(_exists, paths))


def ignored_settings(settings: DataSettings) -> dict[str, str]:
    """The settings that this data set does not look at, each with what would look at it."""
    unused, dataset = {}, settings.dataset
    if dataset != "synthetic":
        unused |= dict.fromkeys(("num_users", "num_items", "num_interactions"), "--dataset=synthetic")
    unused |= {
        f"{kind}_title_col": f"--{kind}_table" for kind in ("user", "item") if not getattr(settings, f"{kind}_table")
    }
    if dataset == "synthetic" or dataset in NAMED:
        unused |= dict.fromkeys(_READING, "a --dataset that is a path")
    if dataset == "synthetic" or (dataset in NAMED and NAMED[dataset].test is not None):
        unused |= dict.fromkeys(_SELECTING, "a --dataset that is a table")
    if not _needs_split(dataset):
        own = "a --dataset without a test part of its own"
        unused |= dict.fromkeys(("test_fraction", "min_test_items", "split", *_CORE), own)
        if not settings.validation_fraction:
            unused["data_seed"] = "a --dataset that is split here, or --validation_fraction"
    elif settings.split != "random":
        unused |= dict.fromkeys(("min_test_items", "data_seed"), "--split=random")
        if settings.split != "temporal":
            unused["test_fraction"] = "--split=random or temporal"
    return unused


def _needs_split(name: str) -> bool:
    """Whether the data set has no test part of its own, which is then split off here."""
    if name in NAMED:
        return NAMED[name].test is None
    first = paths_of(name)[0]
    return name == "synthetic" or not (_exists(first) and first.is_dir())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have, or a folder that may not be looked into
        return False


def _expected_names(name: str) -> str:
    known = [*NAMED, "synthetic"]
    near = difflib.get_close_matches(name.lower(), known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"one of {', '.join(known)}, or the path of a folder or file that exists{hint}"


def _make_synthetic(settings: DataSettings) -> Interactions:
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
    return preparation.interactions_from_rows("synthetic", whole, settings.num_items, settings)


def _load_named(settings: DataSettings, named: NamedDataset, progress: bool) -> Interactions:
    read_as = dataclasses.replace(settings, format=named.format)
    sources = {part: source for part, source in (("train", named.train), ("test", named.test)) if source}
    paths = {part: find_or_fetch(settings, source, progress) for part, source in sources.items()}
    if named.test is None:
        found = preparation.interactions_from_table(
            settings.dataset, files.read_file(paths["train"], read_as), settings
        )
        return _add_titles(found, named, settings, progress) if named.items and not settings.item_table else found
    found = preparation.interactions_from_parts(settings.dataset, files.read_parts(paths, read_as), settings)
    return dataclasses.replace(found, remarks=())  # of files that are known


def _add_titles(found: Interactions, named: NamedDataset, settings: DataSettings, progress: bool) -> Interactions:
    """With the titles that are published beside the data; without them where they cannot be had, which is told."""
    try:
        path = find_or_fetch(settings, named.items, progress)
    except InputError as error:
        return dataclasses.replace(found, remarks=(*found.remarks, f"items are shown without titles: {error}"))
    return preparation.with_titles(found, dataclasses.replace(settings, item_table=str(path)))


def _load_path(settings: DataSettings, progress: bool) -> Interactions:
    paths = paths_of(settings.dataset)
    name = paths[0].resolve().name
    for path in paths if len(paths) > 1 else ():
        if path.is_dir():
            raise InputError("--dataset", f"{path}, a folder, beside others", "files, separated by commas")
    if not paths[0].is_dir():
        found = preparation.interactions_from_table(
            settings.dataset, files.read_files(paths, settings, progress), settings
        )
        return dataclasses.replace(found, name=name if len(paths) == 1 else f"{name} and {len(paths) - 1} more")
    parts, unused = files.find_part_files(paths[0])
    found = preparation.interactions_from_parts(settings.dataset, files.read_parts(parts, settings, progress), settings)
    remarks = (f"files not used: {', '.join(unused)}", *found.remarks) if unused else found.remarks
    return dataclasses.replace(found, name=name, remarks=remarks)


def paths_of(dataset: str) -> list[Path]:
    """The paths that --dataset names: one, or several that are separated by commas."""
    if _exists(Path(dataset)):
        return [Path(dataset)]
    return [Path(part) for part in dataset.split(",")]
