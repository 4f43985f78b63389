"""What the processes of a run have to agree on: its folder, and all that decides its numbers."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices import processes
from lgcn_jax.devices.processes import is_primary
from lgcn_jax.errors import InputError
from lgcn_jax.runs import lock, workdir
from lgcn_jax.runs.workdir import flatten
from lgcn_jax.training.setup import Setup

# What has to be the same in all processes of a run, beside its settings and those of JAX: see
# `workdir.describe_environment`.
DECISIVE = ("device.kind", "flax", "lgcn_jax", "node_order", "numpy", "optax", "propagation", "scipy")

SEEN_SECONDS = 10.0  # after which a network's folder shows in all processes what the first one wrote


@contextlib.contextmanager
def lock_across_processes(folder: Path) -> Iterator[None]:
    """Holds the work folder for the processes of a run; the first one locks it, and the others must see that lock.

    Raises:
      InputError: another run holds the folder, or this process sees another folder than the first one does.
    """
    with lock.hold_lock(folder) if is_primary() else contextlib.nullcontext():
        owner = processes.broadcast_from_first("at the lock of the work folder", lambda: lock.lock_owner(folder))
        end = time.monotonic() + SEEN_SECONDS
        while lock.lock_owner(folder) != owner:
            if time.monotonic() > end:
                found = "another folder than the first process of this run sees"
                raise InputError(f"--workdir={folder}", found, "a folder that all processes see")
            time.sleep(0.1)
        yield


def require_agreement(config: Config, interactions: Interactions, setup: Setup) -> None:
    """Raises an InputError where the processes of a run would compute different numbers from the same data: other
    versions, settings of JAX, layouts, or another order of rows."""
    now = flatten(workdir.describe_environment(config, interactions))
    values = {name: now[name] for name in now if name in DECISIVE or name.startswith("jax")}
    values |= {"cpu": now["cpu"]} if now["device.platform"] == "cpu" else {}  # elsewhere it computes nothing
    rows = hashlib.sha256(setup.order.row_of_node.tobytes()).hexdigest()
    values |= {"order of rows": rows}
    values |= {name: os.environ.get(name, "") for name in ("XLA_FLAGS", "NVIDIA_TF32_OVERRIDE")}
    processes.require_same("before the first step", {_flag_of(name): value for name, value in values.items()})


def _flag_of(name: str) -> str:
    """How a user knows what is called `name` in environment.json."""
    return f"--{name}" if name in ("propagation", "node_order") else name
