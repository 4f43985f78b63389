"""SIGINT and SIGTERM as a wish to stop at the next good place; a second SIGINT stops at once."""

import signal
import types


class StopRequest:
    """While entered, notes the first SIGINT or SIGTERM instead of dying of it. For the main thread alone.

    Attributes:
      signal: the number of the signal received, or 0.
    """

    def __init__(self):
        self.signal = 0
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
        self.signal = self.signal or number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the kernel answers the next one
