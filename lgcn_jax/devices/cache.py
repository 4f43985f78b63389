"""Compiled programs that outlive their process: JAX's compilation cache, in a folder that the user names."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from lgcn_jax.errors import InputError


def cache_settings(folder: Path) -> dict[str, object]:
    """JAX's settings by which programs are kept in a folder."""
    return {
        "jax_compilation_cache_dir": str(folder.absolute()),
        "jax_persistent_cache_min_compile_time_secs": 0.0,  # by default only what took a second to compile is kept
        "jax_persistent_cache_min_entry_size_bytes": -1,
        "jax_persistent_cache_enable_xla_caches": "none",  # they make a program's key depend on the folder's path
    }


@contextlib.contextmanager
def compilation_cache(folder: Path) -> Iterator[None]:
    """While entered, what is compiled is put into `folder`, and what lies there is not compiled again.

    Raises:
      InputError: the folder cannot be made or written to; JAX itself would warn at every program.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError("--compilation_cache", f"{folder} ({error.strerror})", "a folder to write to") from None
    stated = cache_settings(folder)
    before = {name: getattr(jax.config, name) for name in stated}
    _update_jax_config(stated)
    try:
        yield
    finally:
        _update_jax_config(before)


def _update_jax_config(stated: dict[str, object]) -> None:
    for name, value in stated.items():
        jax.config.update(name, value)
    jax_cache.reset_cache()  # JAX looks at the folder once, at its first compilation
