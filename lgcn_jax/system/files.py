"""Files that are written whole or not at all."""

import os
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
