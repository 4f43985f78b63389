"""The one exception that a user's mistake raises; the command line prints it as one line and exits with status 2."""


class InputError(ValueError):
    """Input that cannot be used: `where` it stands, what was `found` there and what was `expected`.

    Args:
      where: a flag (`--alpha`), a file, or a file and line (`train.txt:17`).
      found: what stands there, as text.
      expected: what would have been accepted, as text.
    """

    def __init__(self, where: object, found: object, expected: object):
        super().__init__(f"{where}: found {found}, expected {expected}")
