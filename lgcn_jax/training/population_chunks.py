"""In which chunks the members of a population go, and how many chunks are worked on at the same time.

On a CPU a program of many small operations leaves cores idle between them, and two programs fill each other's gaps. So
there are as many chunks at a time as there are cores. On an accelerator one wide program does it all.
"""

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax

from lgcn_jax.system.limits import usable_cores

T = TypeVar("T")

BEST_WIDTH = {"cpu": 4}  # members that one program trains at a time, where more gain nothing: benchmarks/population.py


def chunks_at_once() -> int:
    """How many chunks are worked on at the same time: one for each core of a CPU, else one."""
    return usable_cores() if jax.default_backend() == "cpu" else 1


def best_width(members: int) -> int:
    """The width for so many members on the platform that JAX runs on."""
    return equal_width(members, BEST_WIDTH.get(jax.default_backend(), math.inf), chunks_at_once())


def equal_width(members: int, most: float, at_once: int = 1) -> int:
    """The width of as few chunks as possible that have at most `most` members, all of one width.

    They are as many as fill rounds of `at_once` chunks, as far as there are members for them.

    >>> equal_width(10, 8), equal_width(8, 8), equal_width(3, math.inf)
    (5, 8, 3)
    >>> equal_width(4, 4, at_once=2), equal_width(10, 4, at_once=2), equal_width(3, 4, at_once=16)
    (2, 3, 1)
    """
    chunks = max(1, math.ceil(members / most))  # 0 where most is infinite
    rounds = -(-chunks // at_once)
    return -(-members // min(members, rounds * at_once))


def map_chunks(work: Callable[[int], T], chunks: Iterable[int]) -> dict[int, T]:
    """What `work` returns of each chunk, by its number; `chunks_at_once` of them are worked on at the same time.

    Args:
      work: of a chunk's number; it waits for the device. It is called from other threads, where no context of JAX holds
        (`jax.transfer_guard` and its like), and so it should only call compiled programs.
      chunks: their numbers.
    """
    numbers, at_once = list(chunks), chunks_at_once()
    if min(len(numbers), at_once) <= 1:
        return {number: work(number) for number in numbers}
    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(numbers, pool.map(work, numbers), strict=True))
