"""Paths as users state them, some of which no file can have."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from lgcn_jax.errors import InputError


def as_path(path: object, where: str) -> Path:
    """A path as a Python program states it, `~` expanded.

    Raises:
      InputError: it is no path; the message says that it was stated `where`.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(where, repr(path), "a path")
    return Path(path).expanduser()


def exists(path: Path, where: object) -> bool:
    """Whether something is there, as far as links lead.

    Raises:
      InputError: that cannot be said, of a name too long, say, or in a folder that may not be looked into; the
        message says that it was stated `where`.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(where, f"a path that cannot be used ({reason})", "one that can be looked up") from None
    return True


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes those of the folders that exist and are empty, in their order."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
