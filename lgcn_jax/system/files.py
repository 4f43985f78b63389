"""Files and folders that are written whole or not at all."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name, which a later write takes over, then renames it: also a power cut leaves
    either what was there or what is new.

    Raises:
      OSError: it could not be written; what was there still is.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # never written through: it could be a link to elsewhere
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def describe_os_error(error: OSError) -> str:
    """What the operating system says, and of which file, where it says so; without what makes a name temporary."""
    name = error.filename2 or error.filename
    if not isinstance(name, str | os.PathLike):
        return str(error.strerror or error)
    file = re.sub(r"^\.(.*)\.tmp$", r"\1", Path(name).name)
    return f"{error.strerror or error} ({file})"


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Makes a folder whole or not at all: `fill` is given an empty one beside it, which then takes its place.

    Raises:
      OSError: it could not be written; what was there still is.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    old = made.with_name(f"{made.name}-old")
    try:
        fill(made)
        made.chmod(0o755)
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(made, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
