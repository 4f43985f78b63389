"""What a command has used of time and memory, for the record that it leaves."""

import time
from typing import Any

import jax

from lgcn_jax.system import memory


def measure_usage(begun: float, started: float, did_all_work: bool = True) -> dict[str, Any]:
    """The use of this process until now.

    >>> used = measure_usage(begun=time.perf_counter(), started=time.perf_counter())
    >>> list(used), used["peak_bytes"] > 1_000_000
    (['wall_seconds', 'startup_seconds', 'peak_bytes', 'device_peak_bytes'], True)

    Args:
      begun: of `time.perf_counter`, when the command, or the call of `fit`, began.
      started: when its first step began, or the solving of a baseline.
      did_all_work: whether the command did all of the work; else it went on with what another one had begun, and the
        time of that one is not known.

    Returns:
      wall_seconds: from the beginning until now, imports, reading, compilation and saves included; None where the
        command did not do all of the work.
      startup_seconds: the part of it before the first step; None likewise.
      peak_bytes: the most main memory that the process has had, of all that it did.
      device_peak_bytes: the most memory of the first device, None where it has none of its own.
    """
    now = time.perf_counter()
    return {
        "wall_seconds": round(now - begun, 3) if did_all_work else None,
        "startup_seconds": round(started - begun, 3) if did_all_work else None,
        "peak_bytes": memory.peak_bytes(),
        "device_peak_bytes": (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
    }
