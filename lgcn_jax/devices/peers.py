"""Which of several processes this is, and how it is noticed that another one is gone."""

import contextlib
import ctypes
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import TextIO

from jax._src import distributed  # as Orbax does: no public function gives the coordination service's client

from lgcn_jax.errors import WriteError
from lgcn_jax.system import ending

# What the libraries below say when another process is gone, as far as it was seen.
_LOST = re.compile(
    r"gloo|nccl|heartbeat timeout|coordination.?service|distributed service|socket closed"
    r"|connection (reset|closed|refused)|remote task|another task died",
    re.IGNORECASE,
)

LAST_WORDS = 1 << 14  # bytes of C++ messages among which the reason of an abort is looked for


def is_multiprocess() -> bool:
    """Whether this process is one of several of a run."""
    return distributed.global_state.client is not None and process_count() > 1


def is_primary() -> bool:
    """Whether this is the process that writes and prints."""
    return process_index() == 0


def process_index() -> int:
    """The number of this process. Never `jax.process_index()`, which looks for devices, and then waits for the others:
    it is asked for where they may be gone, in the handler of SIGABRT and in threads."""
    return distributed.global_state.process_id


def process_count() -> int:
    return distributed.global_state.num_processes


def peer_lost_message(reason: str) -> str:
    """The line that is told where another process is gone; `reason` is what JAX says of it."""
    known = re.search(r"Task (\d+) heartbeat timeout", reason)
    first = "PollForError" in reason or "leader" in reason
    pair = process_count() == 2  # so that there is only one other
    who = f"process {known[1]}" if known else "process 1" if pair and is_primary() else "another process"
    if not known and not is_primary() and (first or pair):
        who = "the first process"
    what = "did not answer in time" if re.search("timed out", reason, re.IGNORECASE) else "is gone"
    never_met = re.search(".*(initialization failed|unreachable|no route).*", reason, re.IGNORECASE)
    if never_met and not (known or first):
        what = f"is gone or cannot be reached ({never_met[0].strip()[:200]})"
    return f"{who} of this run {what}; the same command continues"


def is_peer_lost(error: BaseException) -> bool:
    """Whether a library below says that another process is gone."""
    return not isinstance(error, WriteError) and bool(_LOST.search(str(error))) and not is_own_error(error)


def is_own_error(error: BaseException) -> bool:
    """Whether an error is certainly of this process alone: the operating system's about files, or want of memory."""
    named = isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError | TimeoutError)
    return bool(named) or "os_error_code=" in str(error) or "RESOURCE_EXHAUSTED" in str(error)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those of which it was made."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@contextlib.contextmanager
def silence_libraries() -> Iterator[None]:
    """While entered, C++ writes its messages to a file, and a process that it aborts ends in one line.

    JAX's service aborts a process, with a stack of C++, where another one is gone, and gloo tells on stdout whom it has
    met. `sys.stdout` and `sys.stderr` still are the user's.
    """
    users_out, users = os.dup(1), os.dup(2)
    before = sys.stdout, sys.stderr
    sys.stdout.flush()
    own = _open_text(users_out, sys.stdout), _open_text(users, sys.stderr)
    sys.stdout, sys.stderr = own
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 1)
        os.dup2(messages.fileno(), 2)

        def aborted(number: int) -> None:
            del number
            size = os.fstat(messages.fileno()).st_size
            said = os.pread(messages.fileno(), LAST_WORDS, max(0, size - LAST_WORDS)).decode(errors="replace")
            if _LOST.search(said):
                ending.exit_process(1, peer_lost_message(said))
            os.write(users, said.encode())  # something else, which is told as it is

        handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)
        ctypes.CDLL(None).signal(signal.SIGABRT, handler)  # Python's own handlers would never run: abort() is in C++
        try:
            yield
        finally:
            signal.signal(signal.SIGABRT, signal.SIG_DFL)
            sys.stdout.flush()
            ctypes.CDLL(None).fflush(None)  # what C++ has not written yet
            os.dup2(users_out, 1)
            os.dup2(users, 2)
            sys.stdout, sys.stderr = before
            for file in own:
                with contextlib.suppress(OSError):  # what it still holds finds no reader, or no room
                    file.close()


def _open_text(descriptor: int, like: TextIO) -> TextIO:
    """A file for text on a descriptor, encoded as another one."""
    return os.fdopen(descriptor, "w", buffering=1, encoding=like.encoding, errors="backslashreplace")
