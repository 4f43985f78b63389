"""BPR and the enhanced loss of cosines, with both margins, against plain PyTorch in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads

from lgcn_jax.errors import InputError
from lgcn_jax.losses import BPR, EmbeddedBatch, Embeddings, Enhanced

SIZE, DIM, DRAWN, T, MARGIN, ANGLE = 7, 5, 3, 0.3, 0.05, 0.4
SHAPES = {"each": (DRAWN, SIZE, DIM), "one": (1, SIZE, DIM), "shared": (DRAWN, DIM)}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def world(kind: str) -> list[np.ndarray]:
    random = np.random.default_rng(17)
    rows = [random.standard_normal(shape) for shape in ((SIZE, DIM), (SIZE, DIM), SHAPES[kind])]
    rows[1][2] = -rows[0][2]  # an angle of pi, to which no margin can be added
    return rows


def mean(loss, *rows) -> jax.Array:
    batch = Embeddings(*rows)
    item = jnp.arange(SIZE, dtype=jnp.int32)
    terms = loss.terms(EmbeddedBatch(batch, batch, jnp.full(SIZE, 1 / SIZE), item, None, None))
    return loss.total({name: value.mean() for name, value in terms.items()} | {"l2": jnp.float64(0)})


def theirs(user, positive, negative, *, margin, alpha) -> torch.Tensor:
    """The paper's sections 3.1 to 3.3, of angles: their own arc cosines, where ours has none."""
    user, positive, negative = (torch.nn.functional.normalize(rows, dim=-1) for rows in (user, positive, negative))
    angle = torch.arccos(torch.clamp((user * positive).sum(-1), -1 + 1e-12, 1 - 1e-12)) + ANGLE
    own = torch.where(angle < math.pi, torch.cos(angle), -1.0)
    drawn = (user * negative).sum(-1) if negative.ndim == 3 else negative @ user.T
    ranking = torch.nn.functional.softplus(drawn - own + margin).mean()
    logits = torch.cat([own[None], drawn]) / T
    contrastive = -torch.log_softmax(logits, 0)[0].mean()
    return alpha * ranking + (1 - alpha) * contrastive


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(
    ("loss", "margin", "alpha"),
    [
        (BPR(score="cosine", angular_margin=ANGLE), 0.0, 1.0),
        (Enhanced(score="cosine", angular_margin=ANGLE, margin=MARGIN, temperature=T, alpha=0.6), MARGIN, 0.6),
    ],
)
def test_value_and_gradient_are_the_formula_s(loss, margin, alpha, kind):
    tensors = [torch.tensor(part, requires_grad=True) for part in world(kind)]
    expected = theirs(*tensors, margin=margin, alpha=alpha)
    expected.backward()
    arguments = [jnp.asarray(part) for part in world(kind)]
    found, slopes = jax.value_and_grad(lambda *rows: mean(loss, *rows), (0, 1, 2))(*arguments)
    assert float(found) == pytest.approx(expected.item(), rel=1e-10)
    for slope, their in zip(slopes, tensors, strict=True):
        np.testing.assert_allclose(slope, their.grad, rtol=0, atol=1e-9)
    check_grads(lambda *rows: mean(loss, *rows), arguments, order=1, modes=["rev"])


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("make", [BPR, Enhanced])
def test_lengths_count_in_dot_products_alone(make, kind):
    user, positive, negative = world(kind)
    longer = 2 * user, 3 * positive, 5 * negative
    for score, same in (("cosine", True), ("dot", False)):
        values = [float(mean(make(score=score), *map(jnp.asarray, rows))) for rows in (world(kind), longer)]
        assert (values[0] == pytest.approx(values[1], rel=1e-12)) == same


def test_the_angular_margin_takes_off_most_at_a_right_angle_and_the_margin_the_same_everywhere():
    user = jnp.asarray([[1.0, 0.0]] * 3)
    positive = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [math.cos(0.1), math.sin(0.1)]])
    rows = Embeddings(user, positive, jnp.zeros((1, 3, 2)))
    batch = EmbeddedBatch(rows, rows, jnp.full(3, 1 / 3), jnp.arange(3), None, None)
    taken = np.asarray([1, 0, math.cos(0.1)]) - Enhanced(score="cosine", angular_margin=0.2).scores(batch)[0]
    expected = [2 * math.sin(angle + 0.1) * math.sin(0.1) for angle in (0, math.pi / 2, 0.1)]
    np.testing.assert_allclose(taken, expected, atol=1e-6)
    unchanged = Enhanced(score="cosine", margin=0.2).scores(batch)[0]
    np.testing.assert_allclose(unchanged, [1, 0, math.cos(0.1)], atol=1e-7)


@pytest.mark.parametrize("make", [BPR, Enhanced])
def test_angles_need_cosines(make):
    with pytest.raises(InputError, match=r"--angular_margin: found 0.1, expected 0 with --score=dot"):
        make(angular_margin=0.1)
    with pytest.raises(InputError, match=r"--score: found sine, expected one of cosine, dot"):
        make(score="sine")
