"""SIGINT and SIGTERM as a wish to stop: at once while a run is prepared, then at its next good place.

A second SIGINT stops at once, whatever is going on.
"""

import signal
import types


class Stopped(BaseException):
    """Raised out of the preparation of a run by a signal; nothing is lost then."""


class StopRequest:
    """While entered, answers the first SIGINT or SIGTERM instead of dying of it. For the main thread alone.

    Attributes:
      signal: the number of the signal received, or 0.
      patient: whether a signal is only noted; until this is set, it raises Stopped.
    """

    def __init__(self):
        self.signal, self.patient = 0, False
        self._before = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        del frame
        first, self.signal = not self.signal, self.signal or number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the kernel answers the next one
        if first and not self.patient:
            raise Stopped
