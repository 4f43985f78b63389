"""Several processes as one run: how they find each other, agree on what to do next, and notice that one is gone.

The engine is `jax.distributed` (its coordination service, in the first process) and XLA's collectives (gloo on CPU,
NCCL on GPUs). All processes take the same steps; the first one alone prints and writes the run folder's files. They
meet at named places, by way of the coordination service, and a wait there or for a collective has a limit.
"""

import contextlib
import hashlib
import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
from jax._src import distributed  # as Orbax does: no public function gives the coordination service's client

from lgcn_jax.devices.peers import (
    causes,
    is_multiprocess,
    is_own_error,
    is_peer_lost,
    is_primary,
    peer_lost_message,
    process_count,
    process_index,
    silence_libraries,
)
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.system import ending
from lgcn_jax.system.signals import Stopped, StopRequest

DETECT = "auto"  # in place of a coordinator's address: the cluster that JAX finds itself in

HEARTBEAT_SECONDS = 20  # without one, after which JAX's service counts a process as gone

WAIT_SECONDS = 600.0  # how long a process waits for the others at one place, unless `join` is told otherwise

FAREWELL_SECONDS = 3.0  # for which the first process stays, so that the others can tell why they end, too

_limit = WAIT_SECONDS

_quiet = contextlib.ExitStack()  # from `join` to the end of `fail_together`

_meetings = itertools.count()


def join(coordinator: str, num_processes: str, process_id: str, limit: str = "", check=lambda: None) -> None:
    """Waits until all processes of the run are there; to be called before JAX looks for devices.

    Args:
      coordinator: 'HOST:PORT' of the first process, or 'auto'.
      num_processes, process_id: as text; empty with 'auto'.
      limit: as text, seconds that a process waits for the others, here and at any later place; empty: WAIT_SECONDS.
      check: called several times a second while waiting; may raise.

    Raises:
      InputError: the processes cannot be found, or a number is none. Where not all have come in time, this process
        ends with that line.
    """
    global _limit
    if sys.platform == "win32":
        raise InputError("--coordinator", f"{coordinator} on Windows", "Linux or macOS for a run of several processes")
    _limit = float(_parse_number("--process_timeout", limit, 1, 10**6)) if limit else WAIT_SECONDS
    settings: dict[str, Any] = {"heartbeat_timeout_seconds": HEARTBEAT_SECONDS}
    if coordinator != DETECT:
        count = _parse_number("--num_processes", num_processes, 1, 2**20)
        index = _parse_number("--process_id", process_id, 0, count - 1)
        settings |= {"coordinator_address": coordinator, "num_processes": count, "process_id": index}
    elif given := num_processes or process_id:
        flag = "--num_processes" if num_processes else "--process_id"
        raise InputError(flag, given, f"nothing with --coordinator={DETECT}, which finds it")
    jax.config.update("jax_enable_preemption_service", False)  # it would answer SIGTERM
    _initialize(settings, coordinator, check)


def _parse_number(flag: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise InputError(flag, repr(text), f"an integer from {least} to {most}")
    return int(text)


def _initialize(settings: dict[str, Any], coordinator: str, check: Callable[[], None]) -> None:
    """`jax.distributed.initialize` in a thread: it waits inside a library, where this one could not be interrupted."""
    failures = []

    def initialize():
        try:
            # Its own limit would abort the process; ours comes first.
            jax.distributed.initialize(**settings, initialization_timeout=int(_limit) + 3600)
        except Exception as error:
            failures.append((str(error) or type(error).__name__).splitlines()[0])

    _quiet.enter_context(silence_libraries())
    thread = threading.Thread(target=initialize, daemon=True, name="join")
    end = time.monotonic() + _limit
    thread.start()
    while thread.is_alive() and time.monotonic() < end:
        thread.join(0.1)
        check()
    expected = f"HOST:PORT that all processes reach, or {DETECT} in a cluster that JAX knows"
    if thread.is_alive():  # it never ends, so this process has to
        found = f"{coordinator} (after {_limit:.0f} s {_absent_coordinator_message(coordinator, settings)})"
        ending.exit_process(2, str(InputError("--coordinator", found, expected)))
    if failures:
        _quiet.close()
        raise InputError("--coordinator", f"{coordinator} ({failures[0]})", expected)


def _absent_coordinator_message(coordinator: str, settings: dict[str, Any]) -> str:
    """Who is missing where not all processes have met in time."""
    host, _, port = coordinator.rpartition(":")
    with contextlib.suppress(OSError, ValueError):
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
        return f"not all {settings.get('num_processes', '')} processes have come"
    return "nobody answers there"


class DivergedError(Exception):
    """The processes of a run came to different places."""


def all_gather(barrier: str, text: str = "") -> list[str]:
    """The texts that all processes bring to a place, in their order; waits for all of them.

    Args:
      barrier: where in the run this is, told to the user where a process does not come: "at ...", "before ...".

    Raises:
      DivergedError: another process came to another place.
      jax.errors.JaxRuntimeError: a process is gone, or did not come in time.
    """
    if not is_multiprocess():
        return [text]
    client, number = distributed.global_state.client, next(_meetings)
    meeting = f"lgcn_jax/{number}"
    client.key_value_set(f"{meeting}/{process_index()}", json.dumps([barrier, text]))
    try:
        client.wait_at_barrier(meeting, int(_limit * 1000))
    except jax.errors.JaxRuntimeError as error:
        if "DEADLINE_EXCEEDED" in str(error):
            come = {int(key.rsplit("/", 1)[1]) for key, _ in client.key_value_dir_get(meeting)}
            _exit_too_late(barrier, sorted(set(range(process_count())) - come))
        raise
    if is_primary() and number:  # all have read what was brought to the meeting before this one
        client.key_value_delete(f"lgcn_jax/{number - 1}")
    received = {int(key.rsplit("/", 1)[1]): json.loads(value) for key, value in client.key_value_dir_get(meeting)}
    barriers, texts = zip(*(received[process] for process in sorted(received)), strict=True)
    if len(set(barriers)) > 1:
        raise DivergedError("; ".join(f"process {process} is {barrier}" for process, barrier in enumerate(barriers)))
    return list(texts)


def _exit_too_late(barrier: str, missing: list[int]) -> NoReturn:
    who = " and ".join(f"process {number}" for number in missing) or "another process"
    ending.exit_process(
        1, f"process {process_index()} waited {_limit:.0f} s {barrier} for {who}; the same command continues"
    )


def _exit_too_long(barrier: str) -> NoReturn:
    why = f"another process does not answer, or {_limit:.0f} s are too few (--process_timeout)"
    ending.exit_process(1, f"process {process_index()} was not done {barrier}: {why}; the same command continues")


@contextlib.contextmanager
def time_limit(barrier: str) -> Iterator[None]:
    """While entered, this process works, and may wait for the others, inside a library; at the limit it ends in one
    line. Whether it worked or waited is not known."""
    timer = threading.Timer(_limit, _exit_too_long, (barrier,))
    timer.daemon = True
    if is_multiprocess():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def max_over_processes(barrier: str, value: int) -> int:
    """The largest of the processes' values, so that all of them do the same next; waits for all."""
    return max(map(int, all_gather(barrier, str(value)))) if is_multiprocess() else value


def min_over_processes(barrier: str, value: int) -> int:
    """The smallest of the processes' values; waits for all."""
    return -max_over_processes(barrier, -value)


def broadcast_from_first(barrier: str, value: Callable[[], Any]) -> Any:
    """The JSON value that the first process finds; the others wait for it, and call nothing.

    Raises:
      InputError: the first process has raised one; then all processes do.
    """
    if not is_multiprocess():
        return value()
    found, refused = json.loads(all_gather(barrier, json.dumps(_attempt(value)) if is_primary() else "")[0])
    if refused:
        raise InputError(*refused)
    return found


def _attempt(value: Callable[[], Any]) -> tuple[Any, tuple[str, str, str] | None]:
    """The value, or the parts of the InputError that it raises."""
    try:
        return value(), None
    except InputError as error:
        return None, error.parts


def require_same(barrier: str, values: dict[str, Any]) -> None:
    """Raises an InputError in all processes where they do not have the same named values: flags, settings, versions.

    Args:
      barrier: as for `all_gather`.
      values: {name: JSON value}; all names that differ are told, with what two processes have.
    """
    here = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in here.items()}
    everywhere = [json.loads(text) for text in all_gather(barrier, json.dumps(digests))]
    different = [name for name in here if len({digests.get(name) for digests in everywhere}) > 1]
    if different:
        texts = all_gather("at what differs", json.dumps({name: here[name][:200] for name in different}))
        first, other = _first_differing_pair([json.loads(text) for text in texts], different[0])
        found = f"{first}; and, in another process of this run, {other}"
        raise InputError(", ".join(different), found, "the same in all of them")


def _first_differing_pair(texts: list[dict[str, str]], name: str) -> tuple[str, str]:
    return texts[0][name], next(each[name] for each in texts if each[name] != texts[0][name])


@contextlib.contextmanager
def fail_together(request: StopRequest) -> Iterator[None]:
    """While entered, an error of one process ends it at once, in one line: the others would wait for it for ever.

    They notice that it is gone, and end in one line with exit status 1. Where there is one process, nothing is done.
    """
    if not is_multiprocess():
        yield
        return
    with _quiet:
        try:
            yield
            all_gather("at the end of the run")
            jax.distributed.shutdown()
        except BaseException as error:
            _end_process(error, request)  # an orderly end would wait for the others, or for the one that is gone


def _end_process(error: BaseException, request: StopRequest) -> NoReturn:
    """Ends this process with the line that the error asks for; it may mean that another process is gone."""
    if isinstance(error, Stopped) or (isinstance(error, InputError) and request.signal):
        ending.exit_process(request.status, request.line)  # an error may be what the signal did to a child process
    if isinstance(error, InputError | DivergedError) and is_primary():
        time.sleep(FAREWELL_SECONDS)
    if isinstance(error, InputError):
        ending.exit_process(2, str(error))
    if isinstance(error, DivergedError):
        ending.exit_process(1, f"the processes of this run have come apart ({error}); the same command continues")
    found = list(causes(error))
    if said := next((str(cause) for cause in found if is_peer_lost(cause)), ""):
        ending.exit_process(1, peer_lost_message(said))
    if not any(is_own_error(cause) for cause in found):
        time.sleep(HEARTBEAT_SECONDS + 5)  # JAX's service ends this process, where that is what became of another
    if isinstance(error, WriteError):
        ending.exit_process(1, "; ".join([str(error), *getattr(error, "__notes__", [])]))
    sys.excepthook(type(error), error, error.__traceback__)
    sys.stderr.flush()
    os._exit(1)
