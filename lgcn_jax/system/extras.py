"""Libraries that only some of the work needs, imported where it is done."""

import importlib
from typing import Any

from lgcn_jax.errors import InputError


def load(name: str) -> Any:
    """The module of this name.

    Raises:
      InputError: it is not installed; the message has the command that does it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise InputError(package, "no such library", f"one that `pip install {package}` brings") from None
