"""The memory of this machine, and of this process."""

import contextlib
import sys
from pathlib import Path


def total_bytes() -> int:
    """Bytes of main memory."""
    import psutil

    return psutil.virtual_memory().total


def peak_bytes() -> int:
    """The most bytes of main memory that this process has had so far, of all that it did.

    Linux keeps it for the program itself (VmHWM); what getrusage says there would be that of the process that started
    it, where that one is larger.
    """
    import psutil

    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    held = psutil.Process().memory_info()
    if hasattr(held, "peak_wset"):  # Windows
        return held.peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
