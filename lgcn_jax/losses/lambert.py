"""Lambert's W function on the device."""

import jax
import jax.numpy as jnp

STEPS = 4  # each triples the digits that are right; of the first guesses, at least one is


def lambert_w(z: jax.Array) -> jax.Array:
    """The principal branch W of w exp(w) = z, for float z of at least -1/e; below it -1, W's value there.

    Halley's method, from the series about the branch point -1/e for small z, else from Winitzki's approximation
    (Corless et al. 1996, "On the Lambert W function"; Winitzki 2003). In float32 within 1e-6 of W, and within 1e-4 next
    to -1/e, where the slope is infinite.

    >>> [round(float(lambert_w(jnp.float32(z))), 4) for z in (-0.3, 0.0, 1.0, 1000.0)]
    [-0.4894, 0.0, 0.5671, 5.2496]
    """
    p = jnp.sqrt(2 * jnp.maximum(1 + jnp.e * z, 0))
    near = -1 + p * (1 - p * (1 / 3 - p * (11 / 72)))
    one_more = jnp.log1p(jnp.maximum(z, 0))
    far = one_more * (1 - jnp.log1p(one_more) / (2 + one_more))
    w = jnp.where(z < 0.5, near, far)
    for _ in range(STEPS):
        w = _halley_step(w, z)
    return w


def _halley_step(w: jax.Array, z: jax.Array) -> jax.Array:
    """w after a step of Halley's method; about the branch point, where the slope vanishes, the series stays."""
    power = jnp.exp(w)
    excess, above = w * power - z, w + 1
    there = above > 1e-2
    above = jnp.where(there, above, 1)
    return jnp.where(there, w - excess / (power * above - (w + 2) * excess / (2 * above)), w)
