"""What the operating system lets this process have."""

import math
import os


def allow_open_files(wanted: int) -> float:
    """Raises the number of files that this process may have open to `wanted`, as far as it may; returns the number.

    >>> allow_open_files(1) >= 1
    True
    """
    try:
        import resource
    except ImportError:  # Windows, whose limit of 8,192 is out of reach
        return math.inf
    stated = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (math.inf if each == resource.RLIM_INFINITY else each for each in stated)
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), stated[1]))
    return soft


def usable_cores() -> int:
    """The number of processor cores that this process may use.

    >>> usable_cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
