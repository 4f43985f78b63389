"""Packages that only some features need, imported where they are used."""

import importlib
from types import ModuleType

from lgcn_jax.errors import InputError


def require(module: str, extra: str) -> ModuleType:
    """The module, imported.

    Args:
      module: its name.
      extra: the extra of setup.cfg that installs it.

    Raises:
      InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise InputError(error.name, "no such package", f"it, by pip install 'lgcn-jax[{extra}]'") from None
