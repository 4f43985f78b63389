"""The most memory that this very process has had."""

import subprocess
import sys

import numpy as np

from lgcn_jax.system import memory

MB = 1 << 20


def test_the_peak_stays_when_memory_is_given_back():
    before = memory.peak_bytes()
    held = np.ones(before // 8 + 8 * MB)  # more than this process ever had
    del held
    assert before + 64 * MB <= memory.peak_bytes() < memory.total_bytes()


def test_a_small_process_does_not_have_the_peak_of_the_one_that_started_it():
    held = np.ones(32 * MB)
    program = "from lgcn_jax.system import memory; print(memory.peak_bytes())"
    small = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert 5 * MB < small < held.nbytes
