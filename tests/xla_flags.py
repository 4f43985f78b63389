"""The flags of XLA with which tests and the commands that they run compile."""

# Most of a test is compilation. A third of it are LLVM's optimizations, which change no more than last bits and speed.
UNOPTIMIZED = "--xla_backend_optimization_level=0"


def xla_flags(devices: int = 1) -> str:
    """The value of the environment's XLA_FLAGS for so many devices of a CPU."""
    return f"--xla_force_host_platform_device_count={devices} {UNOPTIMIZED}"
