"""A trace of a few steps of a run, as XProf, TensorBoard and Perfetto show it."""

import contextlib
import gzip
import json
from pathlib import Path
from typing import NamedTuple

import jax

from lgcn_jax.errors import WriteError

STEPS = 8  # enough for a mean, few enough for a trace of some hundred kilobytes


class Profile:
    """Traces the second block of steps of a run; the first one, of a single step, warms up.

    A context manager. What a block computes does not depend on its length, and so a traced run is the same run.

    Args:
      folder: where the trace is written; None traces nothing.

    Attributes:
      steps: how many steps were traced.
    """

    def __init__(self, folder: Path | None):
        self._folder, self._blocks, self._trace = folder, 0, contextlib.ExitStack()
        self.steps = 0

    def begin_block(self, planned_steps: int) -> int:
        """Before a block of `planned_steps`: how many it shall have.

        Raises:
          WriteError: the folder cannot be made.
        """
        self._blocks += 1
        if self._folder is None or self._blocks > 2:
            return planned_steps
        steps = min(STEPS, planned_steps)
        if self._blocks == 2:
            self._start_trace(steps)
        return steps

    def end_block(self) -> None:
        """After a block: writes the trace of it, where there is one.

        Raises:
          WriteError: it could not be written.
        """
        with self._as_write_error():
            self._trace.close()

    def summary(self) -> str:
        """One line: what was traced, and how it can be looked at."""
        if not self.steps:
            return f"{self._folder}: nothing was traced, the run had no second block of steps"
        viewers = f"`xprof --logdir={self._folder}`, TensorBoard with its plugin, or ui.perfetto.dev (*.trace.json.gz)"
        return f"traced {self.steps} steps; look at them with {viewers}"

    def _start_trace(self, steps: int) -> None:
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # Python's calls would hide the device's operations
        with self._as_write_error():
            self._folder.mkdir(parents=True, exist_ok=True)  # JAX would notice at the end, and could not trace again
            self._trace.enter_context(jax.profiler.trace(self._folder, profiler_options=options))
        self._trace.enter_context(jax.profiler.TraceAnnotation("block", steps=steps))
        self.steps = steps

    @contextlib.contextmanager
    def _as_write_error(self):
        try:
            yield
        except (OSError, RuntimeError) as error:
            raise WriteError(f"the trace in {self._folder}", str(error).splitlines()[0]) from error

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, kind, *exception) -> None:
        with contextlib.suppress(WriteError) if kind else contextlib.nullcontext():
            self.end_block()


class Event(NamedTuple):
    """An event of a trace: its name, when it began, how long it took, in nanoseconds, and what else is said of it."""

    name: str
    start_ns: float
    duration_ns: float
    stats: dict[str, str]


def read_trace_events(folder: Path) -> list[Event]:
    """The events of the newest trace below `folder`.

    Of the file for Perfetto: reading the other one by `jax.profiler.ProfileData` aborts the process from JAX 0.12 on.
    """
    path = max(folder.rglob("*.trace.json.gz"), key=lambda path: path.stat().st_mtime)
    with gzip.open(path) as file:
        found = json.load(file)["traceEvents"]
    whole = (event for event in found if event.get("ph") == "X")
    return [Event(e["name"], 1e3 * e["ts"], 1e3 * e.get("dur", 0), e.get("args", {})) for e in whole]
