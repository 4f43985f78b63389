"""The permutation that is never written down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lgcn_jax.sampling import permutation


def permuted(seed: int, count: int) -> np.ndarray:
    return np.asarray(permutation.permuted_index(jax.random.key(seed), jnp.arange(count, dtype=jnp.int32), count))


@pytest.mark.parametrize("count", [1, 2, 3, 10, 49, 50, 1000, 65_537])
def test_every_element_occurs_once(count):
    np.testing.assert_array_equal(np.sort(permuted(1, count)), np.arange(count))


def test_an_element_does_not_depend_on_what_else_is_asked_for():
    places = jnp.asarray([5, 999, 0, 5], jnp.int32)
    np.testing.assert_array_equal(
        permutation.permuted_index(jax.random.key(1), places, 1000), permuted(1, 1000)[np.asarray(places)]
    )


def test_places_and_neighbors_are_uniform():
    """Where each of seven elements goes, and which stands behind which, over many keys."""
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = np.asarray(jax.vmap(lambda key: permutation.permuted_index(key, jnp.arange(7, dtype=jnp.int32), 7))(keys))
    for counted in (drawn[:, 0], drawn[:, 6], (drawn[:, 1] - drawn[:, 0]) % 7 - 1):
        counts = np.bincount(counted, minlength=7 if counted.max() == 6 else 6)
        assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_large_counts_stay_in_int32():
    places = jnp.arange(permutation.MOST - 200_000, permutation.MOST, dtype=jnp.int32)
    found = np.asarray(permutation.permuted_index(jax.random.key(3), places, permutation.MOST))
    assert ((found >= 0) & (found < permutation.MOST)).all()
    assert len(set(found.tolist())) == len(places)
    with pytest.raises(ValueError, match="elements, expected 1 to"):
        permutation.permuted_index(jax.random.key(3), places, permutation.MOST + 1)
