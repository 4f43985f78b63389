"""CCL and DirectAU against plain PyTorch, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads

from lgcn_jax.losses import CCL, DirectAU, EmbeddedBatch, Embeddings

SIZE, DIM, DRAWN = 9, 4, 6


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def world() -> list[np.ndarray]:
    random = np.random.default_rng(11)
    rows = [random.standard_normal(shape) for shape in ((SIZE, DIM), (SIZE, DIM), (DRAWN, SIZE, DIM))]
    rows[0][3] = rows[0][5]  # a user twice
    return rows


def embedded(user, positive, negative, weight=None) -> EmbeddedBatch:
    rows = Embeddings(user, positive, negative)
    weight = jnp.full(SIZE, 1 / SIZE) if weight is None else weight
    return EmbeddedBatch(rows, rows, weight, jnp.arange(SIZE, dtype=jnp.int32), None, None)


def mean(loss, batch: EmbeddedBatch) -> jax.Array:
    terms = loss.terms(batch)
    return sum(weight * (batch.weight * terms[name]).sum() for name, weight in loss.weights.items())


def their_ccl(user, positive, negative) -> torch.Tensor:
    user, positive, negative = (torch.nn.functional.normalize(rows, dim=-1) for rows in (user, positive, negative))
    close = torch.relu((user * negative).sum(-1) - 0.2).mean(0)
    return (1 - (user * positive).sum(-1) + 7 * close).mean()


def their_directau(user, positive) -> torch.Tensor:
    """As github.com/THUwangcy/DirectAU."""
    user, positive = (torch.nn.functional.normalize(rows, dim=-1) for rows in (user, positive))
    align = (user - positive).norm(p=2, dim=1).pow(2).mean()
    spread = [torch.pdist(rows, p=2).pow(2).mul(-2).exp().mean().log() for rows in (user, positive)]
    return align + 1.5 * sum(spread) / 2


def test_ccl_is_the_formula():
    compare(CCL(margin=0.2, negative_weight=7.0), their_ccl, world())


def test_directau_is_the_published_code_s():
    compare(DirectAU(gamma=1.5), their_directau, world()[:2])


def compare(loss, reference, rows) -> None:
    theirs = [torch.tensor(part, requires_grad=True) for part in rows]
    expected = reference(*theirs)
    expected.backward()

    @jax.jit
    def ours(*rows):
        return mean(loss, embedded(*rows, *[None] * (3 - len(rows))))

    arguments = [jnp.asarray(part) for part in rows]
    found, slopes = jax.value_and_grad(ours, tuple(range(len(rows))))(*arguments)
    assert float(found) == pytest.approx(expected.item(), rel=1e-10)
    for slope, their in zip(slopes, theirs, strict=True):
        np.testing.assert_allclose(slope, their.grad, rtol=0, atol=1e-10)
    check_grads(ours, arguments, order=1, modes=["rev"])


@pytest.mark.parametrize("real", [1, 4])
def test_padding_is_no_part_of_uniformity(real):
    user, positive, _ = map(jnp.asarray, world())
    weight = jnp.where(jnp.arange(SIZE) < real, 1 / real, 0)
    slopes = jax.jit(jax.grad(lambda user: mean(DirectAU(), embedded(user, positive, None, weight))))(user)
    assert np.isfinite(slopes).all()
    assert (slopes[real:] == 0).all()
    found = DirectAU().terms(embedded(user, positive, None, weight))["uniformity"]
    if real == 1:
        assert (found == 0).all()
        return
    rows = (torch.nn.functional.normalize(torch.tensor(np.asarray(part[:real]))) for part in (user, positive))
    expected = np.mean([torch.pdist(part).pow(2).mul(-2).exp().mean().log().item() for part in rows])
    np.testing.assert_allclose(found, expected, rtol=1e-10)
