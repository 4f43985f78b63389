"""The table of a run's best epoch, with raw ids, for another run that begins with it."""

from pathlib import Path

import numpy as np

from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.devices.mesh import Mesh
from lgcn_jax.errors import InputError
from lgcn_jax.graph.order import identity_order
from lgcn_jax.runs import raw_ids, scoring
from lgcn_jax.runs.resume import stored_settings
from lgcn_jax.training.placement import Placement
from lgcn_jax.training.warm_start import WarmStart, require_compatible_source


def warm_start_from_run(folder: Path, config: Config) -> WarmStart:
    """What a run in `folder` hands on to one with these settings. Of its data only the raw ids are needed.

    Raises:
      InputError: there is no run, none with an evaluated checkpoint, or one whose table does not fit.
    """
    where = f"--warm_start={folder}"
    stored = stored_settings(folder) if folder.is_dir() else None
    if stored is None:
        raise InputError(where, "no run", "the folder of a run")
    users, items = _stored_raw_ids(folder, stored)
    count, mesh = len(users) + len(items), config.devices.mesh
    require_compatible_source(config, WarmStart(str(folder), stored, users, items, np.zeros((count, 0), np.float32)))
    placement = Placement(stored.replace(mesh=mesh), Mesh.of(mesh), identity_order(count))
    _, found = scoring.load_selected_checkpoint(folder, "best", placement, None)
    trained = placement.parameters(found.snapshot.state.params)
    return WarmStart(str(folder), stored, users, items, trained.table, trained.replicated)


def _stored_raw_ids(folder: Path, stored: Config) -> tuple[np.ndarray, np.ndarray]:
    """Those that the run kept; a run of an older version kept none, and its data are read again."""
    if (folder / raw_ids.FOLDER).is_dir():
        users, items = raw_ids.read_raw_ids(folder / raw_ids.FOLDER)
        return users.ids, items.ids
    interactions = datasets.load(stored.data)
    scoring.require_same_dataset(folder / "checkpoints", interactions)
    return interactions.user_ids, interactions.item_ids
