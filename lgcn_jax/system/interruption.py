"""Signals while something trains that was called from Python: it ends early, and the program gets its signal back."""

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import TypeVar

from lgcn_jax.system.signals import Stopped, StopRequest

Found = TypeVar("Found")


def run_interruptibly(work: Callable[[StopRequest], Found]) -> Found:
    """What `work` returns, which looks at the request it is given, and returns early where there was a signal.

    SIGTERM and SIGHUP are raised again when it has returned, since they are the program's to answer.

    Raises:
      KeyboardInterrupt: a signal came before there was anything to return.
    """
    found = None
    with contextlib.suppress(Stopped), _stop_request() as request:
        found = work(request)
    if request.signal not in (0, signal.SIGINT):
        signal.raise_signal(request.signal)
    if found is None:
        raise KeyboardInterrupt
    return found


def _stop_request() -> contextlib.AbstractContextManager[StopRequest]:
    """Only the main thread may have answers to signals."""
    if threading.current_thread() is threading.main_thread():
        return StopRequest()
    return contextlib.nullcontext(StopRequest())
