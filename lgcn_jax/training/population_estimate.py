"""The memory that a population needs, by the formula of a run."""

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.training import estimate
from lgcn_jax.training.members import FLAG, Members
from lgcn_jax.training.population_chunks import best_width, chunks_at_once

STATES = 4  # of each member: where it is, its best, and what of both a checkpoint copies
SHARED = ("interactions", "index", "program", "sampler", "layout", "evaluation")  # what all members have together


def memory_bytes(members: Members, interactions: Interactions, count: int, width: int) -> dict[str, int]:
    """`estimate.run_memory_bytes` of a population of `count` members, chunks of `width`."""
    terms = estimate.run_memory_bytes(members.base, interactions)
    chunks = -(-count // width)
    terms["state"] *= STATES * chunks * width
    at_once = width * min(chunks, chunks_at_once())
    return {name: size if name in SHARED or name == "state" else size * at_once for name, size in terms.items()}


def require_memory(members: Members, interactions: Interactions, width: int | None = None) -> None:
    """Raises an InputError where a population would not fit, with the largest number of members that does."""
    count, limit = len(members), estimate.available_bytes()
    needed = _needed_bytes(members, interactions, count, width)
    if needed <= limit:
        return
    fitting, beyond = 0, count  # the memory rises with the number of members, or nearly so
    while beyond - fitting > 1:
        middle = (fitting + beyond) // 2
        fits = _needed_bytes(members, interactions, middle, width) <= limit
        fitting, beyond = (middle, beyond) if fits else (fitting, middle)
    found = f"{count} members, about {needed / 1e9:.1f} GB"
    raise InputError(FLAG, found, f"at most {fitting} of them, which fit the {limit / 1e9:.1f} GB of the device")


def _needed_bytes(members: Members, interactions: Interactions, count: int, width: int | None) -> int:
    return sum(memory_bytes(members, interactions, count, width or best_width(count)).values())
