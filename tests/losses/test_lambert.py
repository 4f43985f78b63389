"""Lambert's W against SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

from lgcn_jax.losses.lambert import lambert_w

BRANCH = -1 / np.e


@pytest.mark.parametrize(("dtype", "near", "far"), [("float64", 1e-8, 1e-13), ("float32", 1e-4, 1e-6)])
def test_w_is_scipys(dtype, near, far):
    """Next to the branch point the slope is infinite: there an error of z is one of its square root."""
    with jax.enable_x64(True):
        z = np.concatenate([BRANCH + np.logspace(-6, -0.5, 500), np.linspace(-0.3, 2, 500), np.logspace(0, 3, 500)])
        z = z.astype(dtype)
        found = lambert_w(jnp.asarray(z))
        assert found.dtype == dtype
        expected = lambertw(z.astype(np.float64)).real
        error = np.abs(np.asarray(found, np.float64) - expected) / np.maximum(1, np.abs(expected))
        assert error[z < BRANCH + 1e-3].max() < near
        assert error[z >= BRANCH + 1e-3].max() < far


def test_w_is_minus_one_at_the_branch_point_and_below_it():
    np.testing.assert_allclose(lambert_w(jnp.asarray([BRANCH, -0.4, -1e3])), -1, atol=1e-3)
