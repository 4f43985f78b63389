"""Several processes as one run: how they find each other, agree on what to do next, and notice that one is gone.

The engine is `jax.distributed` and XLA's collectives (gloo on CPU, NCCL on GPUs). All processes take the same steps;
the first one alone writes the run folder and prints.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.signals import Stopped

DETECT = "auto"  # in place of a coordinator's address: the cluster that JAX finds itself in
PATIENCE_SECONDS = 20  # without a heartbeat, after which a process counts as gone


def join(coordinator: str, num_processes: str, process_id: str) -> None:
    """Waits until all processes of the run are there; to be called before JAX looks for devices.

    Args:
      coordinator: 'HOST:PORT' of the first process, or 'auto'.
      num_processes, process_id: as text; empty with 'auto'.

    Raises:
      InputError: the processes cannot be found, or a number is none.
    """
    settings = {"heartbeat_timeout_seconds": PATIENCE_SECONDS}
    if coordinator != DETECT:
        count = _number("--num_processes", num_processes, 1, 2**20)
        place = _number("--process_id", process_id, 0, count - 1)
        settings |= {"coordinator_address": coordinator, "num_processes": count, "process_id": place}
    try:
        jax.distributed.initialize(**settings)
    except (ValueError, RuntimeError) as error:
        expected = f"HOST:PORT that all processes reach, or {DETECT} in a cluster that JAX knows"
        raise InputError("--coordinator", f"{coordinator} ({str(error).splitlines()[0]})", expected) from None


def _number(flag: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise InputError(flag, repr(text), f"an integer from {least} to {most}")
    return int(text)


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return jax.process_index() == 0


def agreed(value: float) -> float:
    """The largest of the processes' values, so that all of them do the same next; waits for all."""
    if jax.process_count() == 1:
        return value
    return float(multihost_utils.process_allgather(np.float32(value)).max())


def require_same(flag: str, text: str) -> None:
    """Raises an InputError in all processes where they do not agree on a text, such as the settings."""
    number = int(hashlib.sha256(text.encode()).hexdigest()[:6], 16)  # as many bits as a float32 holds
    if agreed(number) != -agreed(-number):
        raise InputError(flag, "different values in the processes of this run", "the same in all of them")


@contextlib.contextmanager
def together() -> Iterator[None]:
    """While entered, an error of one process ends all: the others would wait for it for ever.

    The process tells its error and is gone at once; the others notice that in their next collective, and end with one
    line and exit status 1. Where they wait for something else, such as a save, JAX's service may notice first: it then
    ends them with a message of its own (status 134). Where there is one process, nothing is done.
    """
    try:
        yield
    except BaseException as error:
        if jax.process_count() > 1:
            os._exit(_told(error))  # an orderly end would wait for the others, or for the one that is gone
        raise


def _told(error: BaseException) -> int:
    """The exit status after telling the error, which may be that another process is gone."""
    if isinstance(error, Stopped):
        print("interrupted before training began", file=sys.stderr, flush=True)
        return 1
    if isinstance(error, InputError):
        print(error, file=sys.stderr, flush=True)
        return 2
    if lost := next(filter(_is_lost, _causes(error)), None):
        reason = next(iter(str(lost).splitlines()), "")[:200]
        print(f"another process of this run is gone ({reason}); the same command continues", file=sys.stderr)
    elif isinstance(error, WriteError):
        print("; ".join([str(error), *getattr(error, "__notes__", [])]), file=sys.stderr)
    else:
        sys.excepthook(type(error), error, error.__traceback__)
    sys.stderr.flush()
    return 1


def _is_lost(error: BaseException) -> bool:
    """Whether a collective failed that another process takes part in; want of memory is this process's own."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those of which it was made."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
