"""The most memory that this very process has had, looked at in processes of their own, which are small."""

import subprocess
import sys

import numpy as np

from lgcn_jax.system import memory

MB = 1 << 20
PROGRAM = """
from lgcn_jax.system import memory
before = memory.peak_bytes()
held = bytearray(64 << 20)
held[::4096] = b"x" * (16 << 10)
del held
print(before, memory.peak_bytes())
"""


def peaks() -> list[int]:
    """The peak of a new process, before and after it has held 64 MB."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    return [int(each) for each in done.stdout.split()]


def test_the_peak_stays_when_memory_is_given_back():
    before, after = peaks()
    assert before + 60 * MB <= after < memory.total_bytes()


def test_a_small_process_does_not_have_the_peak_of_the_one_that_started_it():
    held = np.ones(32 * MB)
    assert 5 * MB < peaks()[0] < held.nbytes
