"""Libraries that only some of the work needs, imported where it is done."""

import importlib
from typing import Any

from lgcn_jax.errors import InputError


def import_extra(name: str, extra: str = "") -> Any:
    """The module of this name.

    Args:
      name: of the module, which has that of its package.
      extra: the extra of setup.cfg that brings it, where one does.

    Raises:
      InputError: it is not installed; the message has the command that does it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        installed = f"'lgcn-jax[{extra}]'" if extra else package
        raise InputError(package, "no such library", f"one that `pip install {installed}` brings") from None
