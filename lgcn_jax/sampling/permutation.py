"""A pseudo-random permutation that is never written down: each of its elements is a function of a key and a place.

An epoch's order of all train pairs needs no memory this way, and every device knows the whole of it.
"""

import math

import jax
import jax.numpy as jnp

MOST = 2**30  # so that a * b, which may be a little more, is an int32
ROUNDS = 8  # of the Feistel network; four already pass the tests of uniformity, the rest is margin


def permuted_index(key: jax.Array, place: jax.Array, count: int) -> jax.Array:
    """int32: what stands at each `place` (int32, from 0 to count - 1) of the key's permutation of range(count).

    A Feistel network on pairs (left, right) in [a] x [b], a * b >= count, of which it is a permutation; a result of
    `count` or more is sent through again ("cycle walking", Black and Rogaway 2002) until it is below.

    Raises:
      ValueError: `count` is not from 1 to MOST.
    """
    if not 0 < count <= MOST:
        raise ValueError(f"{count} elements, expected 1 to {MOST}")
    a = math.isqrt(count - 1) + 1
    b = -(-count // a)
    keys = jax.random.bits(key, (ROUNDS,), jnp.uint32)

    def outside(found):
        return (found >= count).any()

    def again(found):
        return jnp.where(found >= count, _feistel_network(keys, found, a, b), found)

    return jax.lax.while_loop(outside, again, _feistel_network(keys, place, a, b))


def _feistel_network(keys: jax.Array, place: jax.Array, a: int, b: int) -> jax.Array:
    left, right = place // b, place % b
    for number in range(0, ROUNDS, 2):
        left = (left + _round_function(keys[number], right, a)) % a
        right = (right + _round_function(keys[number + 1], left, b)) % b
    return left * b + right


def _round_function(key: jax.Array, x: jax.Array, size: int) -> jax.Array:
    """int32 in [0, size): the finalizer of MurmurHash3 on key + x, whose bits all depend on all bits of its input."""
    x = x.astype(jnp.uint32) + key
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> shift)) * jnp.uint32(factor)
    return ((x ^ (x >> 16)) % jnp.uint32(size)).astype(jnp.int32)
