"""The flags of XLA with which tests and the commands that they run compile."""

import functools
import mmap
from pathlib import Path

import jaxlib

# Most of a test is compilation, and two thirds of that make programs fast: LLVM's optimizations, and for each fusion a
# kernel of its own by way of MLIR. Without them values differ in last bits. Small programs are not worth more threads.
QUICK_TO_COMPILE = {
    "xla_backend_optimization_level": "0",
    "xla_cpu_use_fusion_emitters": "false",
    "xla_cpu_parallel_codegen_split_count": "1",
}


def xla_flags(devices: int = 1) -> str:
    """The value of the environment's XLA_FLAGS for so many devices of a CPU."""
    quick = {name: value for name, value in QUICK_TO_COMPILE.items() if is_known(name)}
    flags = {"xla_force_host_platform_device_count": devices} | quick
    return " ".join(f"--{name}={value}" for name, value in flags.items())


@functools.cache
def is_known(flag: str) -> bool:
    """Whether this version of XLA has the flag: a process whose XLA_FLAGS have another one ends.

    Flags are strings of C in its library. Those of older versions may still be named there, but not as such a string.
    """
    largest = max(Path(jaxlib.__file__).parent.iterdir(), key=lambda path: path.stat().st_size)
    with largest.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library:
        return library.find(b"\0" + flag.encode() + b"\0") >= 0
