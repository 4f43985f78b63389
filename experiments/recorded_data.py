"""The data set of a run or of a solved model, read again as its record says."""

from typing import Any

from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.settings import fields


def data_of(config: dict[str, Any], **moved: str) -> Interactions:
    """The data set that the settings of a result.json name, or that lies where `moved` says: dataset, data_dir.

    Raises:
      InputError: it cannot be had.
    """
    stated = {name: config[name] for name in fields(DataSettings) if name in config}
    return datasets.load(DataSettings(**stated | {name: value for name, value in moved.items() if value}))
