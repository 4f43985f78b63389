"""How this process ends, whichever thread ends it: what must not be left behind is removed, and one line is told.

A thread that finds out that the process has to end cannot raise an error in the main thread, which may be inside a
library for minutes. It calls `exit_process`.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

PATIENCE_SECONDS = 5.0  # with a cleanup that another thread has begun
_told = threading.Lock()  # taken, and never released, by whoever tells the last line
_cleanups: list[Callable[[], None]] = []


def exit_process(status: int, line: str) -> NoReturn:
    """Ends the process at once with an exit status and one line on stderr; `cleanup`s run, `finally` blocks do not.

    Where another thread has begun to do so, this one leaves it to that, for some seconds.
    """
    if not _told.acquire(timeout=PATIENCE_SECONDS):
        os._exit(status)
    for cleanup in reversed(_cleanups):
        with contextlib.suppress(Exception):
            cleanup()
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"{line}\n".encode())  # the file's own buffer may be another thread's
    os._exit(status)


@contextlib.contextmanager
def cleanup(function: Callable[[], None]) -> Iterator[None]:
    """While entered, `exit_process` calls the function; whoever leaves in an orderly way cleans up by itself."""
    _cleanups.append(function)
    try:
        yield
    finally:
        _cleanups.remove(function)
