"""SIGINT, SIGTERM and SIGHUP as a request to stop, which is noted and never raised out of whatever code is running.

An exception raised by a signal handler surfaces in any callback of a library that happens to run, and is dropped
there. So a handler only sets a flag, which the main thread looks at where it can stop. A thread of its own hears of
signals as well, even while the main thread is inside a library: it ends a process that has nothing to lose yet, and
one that is interrupted a second time.
"""

import contextlib
import os
import signal
import threading
import time
import types

from lgcn_jax.system import ending

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
NUMBERS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
GRACE_SECONDS = 1.0  # for the main thread to end by itself, before training has begun


class Stopped(BaseException):
    """Raised by `StopRequest.check` in the main thread: a signal came before training began, and nothing is lost."""


def is_handled(number: int) -> bool:
    """Whether a signal is ours to answer: not where nohup has the process ignore SIGHUP."""
    return signal.Signals(number).name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN


class StopRequest:
    """Answers these signals while it is entered, but for a SIGHUP that nohup has switched off. For the main thread
    alone.

    Args:
      ends_process: whether a thread ends the process, by `ending.exit_process`, at a second SIGINT, and at the first
        signal while nothing can be lost yet; to be left out where the process is not ours, as in a test.

    Attributes:
      signal: the number of the first signal received, or 0.
      line: what is told where the process ends before training.
      begun: of `time.perf_counter`, when it was made: the beginning of the command, or of a call of `fit`.
    """

    def __init__(self, ends_process: bool = False):
        self.begun = time.perf_counter()
        self.signal, self.line = 0, "interrupted"
        self._ends_process, self._training = ends_process, False
        self._phase = threading.Lock()  # of _training, and of what follows from it

    @property
    def status(self) -> int:
        """The exit status of a process that the signal ended."""
        return 128 + self.signal

    def check(self) -> None:
        """Raises Stopped where a signal has come; called between the stages that come before training."""
        if self.signal:
            raise Stopped

    def begin_training(self) -> None:
        """From here on a signal is only noted, since there is something to save; raises Stopped where one has come."""
        with self._phase:
            self.check()
            self._training = True

    def ignore(self) -> None:
        """The work is done, and its exit status is known: a signal changes nothing any more."""
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    def __enter__(self) -> "StopRequest":
        self._exits = contextlib.ExitStack()
        for number in filter(is_handled, NUMBERS):
            self._exits.callback(signal.signal, number, signal.signal(number, self._handle_signal))
        if self._ends_process:
            heard, tell = os.pipe()
            if hasattr(os, "set_blocking"):  # where Python demands it; Windows got it with Python 3.12
                os.set_blocking(tell, False)
            self._exits.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(tell, warn_on_full_buffer=False))
            threading.Thread(target=self._listen, args=(heard,), daemon=True, name="signals").start()
        return self

    def __exit__(self, *exception) -> None:
        self._exits.close()

    def _handle_signal(self, number: int, frame: types.FrameType | None = None) -> None:
        del frame
        self.signal = self.signal or number

    def _listen(self, heard: int) -> None:
        """The thread: it gets a byte for each signal at once, while Python's handlers run at some later time."""
        received = []
        while byte := os.read(heard, 1):
            if byte[0] not in NUMBERS:
                continue
            received.append(byte[0])
            self._handle_signal(byte[0])
            if received.count(signal.SIGINT) > 1:
                lost = ": what was done since the last checkpoint is lost" if self._training else ""
                ending.exit_process(128 + signal.SIGINT, f"interrupted at once{lost}")
            if len(received) == 1:
                threading.Thread(target=self._end_before_training, daemon=True, name="grace").start()

    def _end_before_training(self) -> None:
        threading.Event().wait(GRACE_SECONDS)
        with self._phase:
            if not self._training:
                ending.exit_process(self.status, self.line)
