"""Losses with many negatives against plain PyTorch, in float64: values, gradients, blocks, devices."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from lgcn_jax.errors import InputError
from lgcn_jax.losses import BSL, SSM, EmbeddedBatch, Embeddings, logsumexp
from lgcn_jax.losses.logsumexp import logsumexp_of_products
from lgcn_jax.losses.scored import l2_normalize, with_angular_margin

SIZE, DIM, DRAWN, T = 13, 5, 7, 0.3
ITEM = np.array([0, 1, 2, 0, 3, 4, 0, 5, 6, 7, 1, 8, 9], np.int32)  # 0 three times, 1 twice


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def world(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Users, positive items (equal rows for equal items) and negatives: of each example, shared, or None."""
    random = np.random.default_rng(3)
    shape = {"each": (DRAWN, SIZE, DIM), "shared": (DRAWN, DIM), "in-batch": None}[kind]
    negative = None if shape is None else random.standard_normal(shape)
    return random.standard_normal((SIZE, DIM)), random.standard_normal((10, DIM))[ITEM], negative


def embedded(rows, weight=None, **more) -> EmbeddedBatch:
    weight = jnp.full(SIZE, 1 / SIZE) if weight is None else weight
    return EmbeddedBatch(Embeddings(*rows), Embeddings(*rows), weight, jnp.asarray(ITEM), None, None, **more)


def published(user, positive) -> torch.Tensor:
    """The scores as github.com/junkangwu/BSL has them: cosines, an example's own item in column 0, the others after.

    There both are swapped in place, which gives the first example's own score twice its slope; not here.
    """
    user, positive = (torch.nn.functional.normalize(rows, dim=-1) for rows in (user, positive))
    swapped = torch.arange(SIZE).repeat(SIZE, 1)
    swapped[:, 0], swapped[torch.arange(SIZE), torch.arange(SIZE)] = torch.arange(SIZE), 0
    swapped[0, 0] = 0
    return torch.mm(user, positive.t().contiguous()).gather(1, swapped)


def published_loss(scores: torch.Tensor, ratio: float) -> torch.Tensor:
    positive, negative = torch.exp(scores[:, 0] / T), torch.exp(scores[:, 1:] / T)
    return -torch.log(positive / torch.pow(negative.sum(dim=-1), ratio)).mean()


@pytest.mark.parametrize(
    ("loss", "ratio"), [(SSM(temperature=T, keep_positive=False), 1.0), (BSL(temperature=T, ratio=0.84), 0.84)]
)
def test_in_batch_value_and_gradient_are_the_published_code_s(loss, ratio):
    user, positive, _ = world("in-batch")
    theirs = [torch.tensor(rows, requires_grad=True) for rows in (user, positive)]
    expected = published_loss(published(*theirs), ratio)
    expected.backward()

    @jax.jit
    def ours(user, positive):
        return loss.terms(embedded((user, positive, None)))["softmax"].mean()

    found, slopes = jax.value_and_grad(ours, (0, 1))(jnp.asarray(user), jnp.asarray(positive))
    assert float(found) == pytest.approx(expected.item(), rel=1e-10)
    for slope, their in zip(slopes, theirs, strict=True):
        np.testing.assert_allclose(slope, their.grad, rtol=0, atol=1e-10)


def by_loops(
    user, positive, negative, *, keep=False, score="cosine", both=False, masked=False, margin=0.0, ratio=1.0
) -> list[float]:
    """SSM of each example, and with a ratio BSL, written out in Python's numbers."""

    def s(a, b):
        return a @ b / (1 if score == "dot" else np.linalg.norm(a) * np.linalg.norm(b)) / T

    found = []
    for b in range(SIZE):
        others = [c for c in range(SIZE) if (ITEM[c] != ITEM[b] if masked else c != b)]
        logits = [s(user[b], positive[c]) for c in others] if negative is None or both else []
        if negative is not None:
            logits += [s(user[b], row) for row in (negative if negative.ndim == 2 else negative[:, b])]
        own = s(user[b], positive[b])
        if margin:
            angle = math.acos(own * T)
            own = (math.cos(angle + margin) if angle < math.pi - margin else -1) / T
        logits += [own] if keep else []
        found.append(ratio * math.log(sum(map(math.exp, logits))) - own)
    return found


@pytest.mark.parametrize("kind", ["in-batch", "shared", "each"])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("score", ["cosine", "dot"])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_ssm_is_the_formula(kind, keep, score, both, masked):
    rows = world(kind)
    loss = SSM(temperature=T, keep_positive=keep, score=score, in_batch=both, mask_duplicates=masked)
    expected = by_loops(*rows, keep=keep, score=score, both=both, masked=masked)
    np.testing.assert_allclose(loss.terms(embedded(rows))["softmax"], expected, rtol=1e-10)


@pytest.mark.parametrize("kind", ["in-batch", "shared", "each"])
@pytest.mark.parametrize("keep", [True, False])
def test_a_margin_is_of_the_positive_item_s_angle_alone(kind, keep):
    """At .9 some positive items are further away than pi - margin."""
    rows = world(kind)
    assert ((l2_normalize(rows[0]) * l2_normalize(rows[1])).sum(1) < -math.cos(0.9)).sum() in range(1, SIZE)
    loss = SSM(temperature=T, keep_positive=keep, in_batch=True, angular_margin=0.9)
    expected = by_loops(*rows, keep=keep, both=True, margin=0.9)
    np.testing.assert_allclose(loss.terms(embedded(rows))["softmax"], expected, rtol=1e-10)


@pytest.mark.parametrize("kind", ["in-batch", "shared", "each"])
@pytest.mark.parametrize("both", [True, False])
def test_bsl_is_the_formula(kind, both):
    rows = world(kind)
    loss = BSL(temperature=T, ratio=0.84, in_batch=both, angular_margin=0.2)
    expected = by_loops(*rows, both=both, margin=0.2, ratio=0.84)
    np.testing.assert_allclose(loss.terms(embedded(rows))["softmax"], expected, rtol=1e-10)


@pytest.mark.parametrize("kind", ["in-batch", "shared", "each"])
@pytest.mark.parametrize("of", [SSM, BSL])
def test_gradients_are_those_of_finite_differences(kind, of):
    rows = [jnp.asarray(part) for part in world(kind) if part is not None]
    loss = of(temperature=T, in_batch=True, angular_margin=0.1)

    def value(user, positive, negative=None):
        return loss.terms(embedded((user, positive, negative)))["softmax"].mean()

    check_grads(jax.jit(value), rows, order=1, modes=["rev"])


@pytest.mark.parametrize("block", [1, 3 * 20, 10**6])
def test_blocks_change_no_value_and_no_gradient(block, monkeypatch):
    monkeypatch.setattr(logsumexp, "BLOCK", block)
    random = np.random.default_rng(0)
    rows, columns, weight = (random.standard_normal(shape) for shape in ((14, 4), (20, 4), (14,)))
    offset = np.where(np.arange(20) == 5, -np.inf, random.standard_normal(20))
    own, label = random.integers(0, 4, 14), random.integers(0, 4, 20)
    label[label == 3], own[0] = 2, 3
    own[1], theirs = 0, [torch.tensor(array, requires_grad=True) for array in (rows, columns)]
    every = theirs[0] @ theirs[1].T + torch.tensor(offset)
    every = every.masked_fill(torch.tensor(own[:, None] == label[None, :]), -math.inf)
    expected = torch.logsumexp(every, 1)
    (expected * torch.tensor(weight)).sum().backward()

    @jax.jit
    def ours(rows, columns):
        found = logsumexp_of_products(rows, columns, jnp.asarray(offset), jnp.asarray(own), jnp.asarray(label))
        return (found * weight).sum(), found

    slopes, found = jax.grad(ours, (0, 1), has_aux=True)(jnp.asarray(rows), jnp.asarray(columns))
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-12)
    for slope, their in zip(slopes, theirs, strict=True):
        np.testing.assert_allclose(slope, their.grad, rtol=0, atol=1e-12)


def test_a_row_without_a_column_is_minus_infinity_and_has_no_slope():
    def value(rows, columns):
        one = jnp.zeros(2, jnp.int32)
        return jnp.where(jnp.isneginf(found := logsumexp_of_products(rows, columns, jnp.zeros(2), one, one)), 0, found)

    rows = jnp.ones((2, 3))
    np.testing.assert_array_equal(value(rows, rows), [0, 0])
    for slope in jax.grad(lambda *both: value(*both).sum(), (0, 1))(rows, rows):
        np.testing.assert_array_equal(slope, jnp.zeros((2, 3)))


def test_more_rows_are_more_blocks_and_not_more_memory():
    """What is held between steps grows with the rows, and never with rows x columns."""

    def value(rows):
        number = jnp.arange(len(rows))
        return logsumexp_of_products(rows, rows, jnp.zeros(len(rows), rows.dtype), number, number).sum()

    size = 16_384
    compiled = jax.jit(jax.grad(value)).lower(jax.ShapeDtypeStruct((size, 64), jnp.float32)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 10 * 4 * logsumexp.BLOCK < 4 * size * size / 2


@pytest.mark.parametrize("keep", [True, False])
def test_an_example_without_a_negative_adds_nothing(keep):
    rows = world("in-batch")
    weight = jnp.zeros(SIZE).at[0].set(1.0)
    loss = SSM(temperature=T, keep_positive=keep)

    def value(user):
        return (loss.terms(embedded((user, *rows[1:]), weight))["softmax"] * weight).sum()

    found, slope = jax.value_and_grad(value)(jnp.asarray(rows[0]))
    assert found == 0
    np.testing.assert_array_equal(slope, np.zeros((SIZE, DIM)))


def test_padding_is_nobody_s_negative():
    user, positive, _ = world("in-batch")
    half = jnp.where(jnp.arange(SIZE) < 6, 1 / 6, 0)
    found = SSM(temperature=T).terms(embedded((user, positive, None), half))["softmax"][:6]
    short = EmbeddedBatch(*[Embeddings(user[:6], positive[:6], None)] * 2, half[:6], jnp.asarray(ITEM[:6]), None, None)
    np.testing.assert_allclose(found, SSM(temperature=T).terms(short)["softmax"], rtol=1e-12)


def test_logq_makes_the_sum_of_what_is_drawn_that_over_all_items():
    """The mean of exp(logarithmic sum) over many draws is the sum over all items; of both kinds, too."""
    random = np.random.default_rng(5)
    items, user = random.standard_normal((6, DIM)), random.standard_normal((1, DIM))
    share = np.array([0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    whole = np.exp(items @ user[0] / (1.5)).sum()
    for both in (False, True):
        loss, estimates = SSM(temperature=1.5, score="dot", logq=True, in_batch=both), []

        def value(drawn, more, loss=loss, both=both):
            size = len(drawn)
            negative = jnp.asarray(items)[more] if both else None
            rows = Embeddings(jnp.repeat(jnp.asarray(user), size, 0), jnp.asarray(items)[drawn], negative)
            shares = {
                "positive_probability": jnp.asarray(share)[drawn],
                "negative_probability": jnp.full(len(more), 1 / 6),
            }
            batch = EmbeddedBatch(rows, rows, jnp.full(size, 1 / size), drawn, None, None, **shares)
            return jnp.exp(loss.contrast(batch, loss.temperature).negative).mean()

        value = jax.jit(value)
        for _ in range(900):
            drawn, more = random.choice(6, 40, p=share), random.integers(0, 6, 30)
            estimates.append(float(value(jnp.asarray(drawn), jnp.asarray(more))))
        expected = whole * (39 / 40 if not both else (39 / 40 + 1) / 2)  # of 40 draws, 39 are others'
        error = np.std(estimates) / math.sqrt(len(estimates))
        assert abs(np.mean(estimates) - expected) < 4 * error < 0.05 * whole


def test_a_batch_on_four_devices_is_that_of_one():
    user, positive, _ = (None if part is None else part[:12] for part in world("in-batch"))
    loss = SSM(temperature=T, mask_duplicates=False)
    weight = jnp.where(jnp.arange(12) < 10, 0.1, 0)

    def value(user, positive, weight, item, axis=None):
        rows = Embeddings(user, positive, None)
        return loss.terms(EmbeddedBatch(rows, rows, weight, item, None, axis))["softmax"]

    def sloped(*arguments, axis=None):
        def total(user, positive):
            found = value(user, positive, *arguments[2:], axis)
            return (found * arguments[2]).sum(), found

        slopes, found = jax.grad(total, (0, 1), has_aux=True)(*arguments[:2])
        return (*slopes, found)

    arguments = jnp.asarray(user), jnp.asarray(positive), weight, jnp.asarray(ITEM[:12])
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,), devices=jax.devices()[:4])
    spec = PartitionSpec("data")
    cut = jax.shard_map(
        lambda *arguments: sloped(*arguments, axis="data"),
        mesh=mesh,
        in_specs=(spec,) * 4,
        out_specs=(spec,) * 3,
        check_vma=False,
    )
    for found, expected in zip(jax.jit(cut)(*arguments), jax.jit(sloped)(*arguments), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_rows_have_length_1_and_zeros_stay():
    rows = jnp.asarray([[3.0, 4.0], [0.0, 0.0], [1e-3, 0.0]])
    np.testing.assert_allclose(l2_normalize(rows), [[0.6, 0.8], [0, 0], [1, 0]])
    assert np.isfinite(jax.grad(lambda rows: l2_normalize(rows).sum())(rows)).all()


def test_the_margin_is_added_to_the_angle():
    angle = jnp.asarray([0.0, 0.3, 2.0, math.pi - 0.2, math.pi])
    expected = [math.cos(0.4), math.cos(0.7), math.cos(2.4), -1, -1]
    np.testing.assert_allclose(with_angular_margin(jnp.cos(angle), 0.4), expected, atol=1e-6)
    assert np.isfinite(jax.vmap(jax.grad(lambda c: with_angular_margin(c, 0.4)))(jnp.asarray([1.0, -1.0, 0.2]))).all()


def test_angles_need_cosines():
    with pytest.raises(InputError, match=r"--angular_margin: found 0.1, expected 0 with --score=dot"):
        SSM(score="dot", angular_margin=0.1)
