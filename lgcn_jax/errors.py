"""The exceptions that the command line prints as one line: a user's mistake, and a disk that does not take a write."""

import contextlib
import re
from collections.abc import Iterator

_FLAG = re.compile(r"(?:^|(?<=[\s(]))--(?=[a-z])")  # the dashes of `--alpha`, and not those within an id


class InputError(ValueError):
    """Input that cannot be used: `where` it stands, what was `found` there and what was `expected`.

    >>> import lgcn_jax as lg
    >>> lg.LightGCN(epochs=0)
    Traceback (most recent call last):
    ...
    lgcn_jax.errors.InputError: epochs: found 0, expected an integer from 1 to 2147483647

    Args:
      where: a flag (`--alpha`; in Python the setting, `alpha`), a file, or a file and line (`train.txt:17`).
      found: what stands there, as text.
      expected: what would have been accepted, as text.

    Attributes:
      parts: the three of them, as texts.
    """

    def __init__(self, where: object, found: object, expected: object):
        super().__init__(f"{where}: found {found}, expected {expected}")
        self.parts = str(where), str(found), str(expected)


class WriteError(OSError):
    """A file of a run that could not be written: `what` it was and the `reason`.

    >>> str(WriteError("model", "No space left on device"))
    'model could not be written: No space left on device'
    """

    def __init__(self, what: object, reason: object):
        super().__init__(f"{what} could not be written: {reason}")


@contextlib.contextmanager
def named_as_in_python() -> Iterator[None]:
    """While entered, an InputError names settings as Python does: `alpha` for `--alpha`."""
    try:
        yield
    except InputError as error:
        raise InputError(*(_FLAG.sub("", part) for part in error.parts)) from error.__cause__
