"""A run that kills itself inside a chosen operation on files, for `kill_test.py --mode=inside`.

    python experiments/reliability/killed_inside.py FOLDER OPERATION NUMBER train --flag=value ...

Python's audit hooks tell of every file that is opened for writing, renamed or removed before that happens. At the
NUMBER-th such OPERATION (from 1) within FOLDER the process gets SIGKILL; a NUMBER of 0 lets it go on, and writes how
often each operation occurred to FOLDER.operations. Orbax writes its arrays in C++, unseen, but makes them final by
operations that are seen.
"""

import atexit
import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

OPERATIONS = {
    **{"open": "save", "os.mkdir": "save"},
    **{"os.rename": "rename"},
    **{"os.remove": "removal", "os.rmdir": "removal", "shutil.rmtree": "removal"},
}
_counting = threading.Lock()


def watch(folder: str, operation: str, number: int) -> Counter:
    """Kills this process as said above; returns the counter of operations."""
    counted = Counter()

    def hook(event: str, arguments: tuple) -> None:
        if event not in OPERATIONS or not _is_write(event, arguments) or not _is_inside(arguments, folder):
            return
        with _counting:
            counted[OPERATIONS[event]] += 1
            if OPERATIONS[event] == operation and counted[operation] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return counted


def _is_write(event: str, arguments: tuple) -> bool:
    return event != "open" or bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _is_inside(arguments: tuple, folder: str) -> bool:
    paths = [os.fsdecode(path) for path in arguments[:2] if isinstance(path, str | bytes | os.PathLike)]
    return any(os.path.abspath(path).startswith(folder + os.sep) for path in paths)


def main() -> None:
    folder, operation, number, *sys.argv[1:] = sys.argv[1:]
    counted = watch(os.path.abspath(folder), operation, int(number))
    if number == "0":
        told = Path(f"{folder}.operations")
        atexit.register(lambda: told.write_text(json.dumps(counted)))
    from lgcn_jax.__main__ import run

    run()


if __name__ == "__main__":
    main()
