"""The memory of this machine."""


def total_bytes() -> int:
    """Bytes of main memory."""
    import psutil

    return psutil.virtual_memory().total
