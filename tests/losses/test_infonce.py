"""InfoNCE and the losses made of it against plain PyTorch, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.sharding import PartitionSpec
from jax.test_util import check_grads

from lgcn_jax.losses import EGCFLoss, EmbeddedBatch, Embeddings, SimGCL, View, XSimGCL
from lgcn_jax.losses.infonce import first_occurrences

SIZE, DIM = 8, 4
USER = np.array([4, 1, 4, 0, 1, 7, 2, 3], np.int32)
ITEM = np.array([9, 9, 5, 2, 5, 9, 0, 1], np.int32)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def world() -> list[np.ndarray]:
    """User, positive and negative rows, then two views of each of the former; those of a node are equal."""
    random = np.random.default_rng(11)
    users, items = random.standard_normal((3, 8, DIM)), random.standard_normal((3, 10, DIM))
    final = [users[0][USER], items[0][ITEM], random.standard_normal((SIZE, DIM))]
    return [*final, users[1][USER], items[1][ITEM], users[2][USER], items[2][ITEM]]


def embedded(user, positive, negative, *views, weight=None, nodes=(USER, ITEM), axis=None) -> EmbeddedBatch:
    rows = Embeddings(user, positive, negative[None])
    weight = jnp.full(len(user), 1 / SIZE) if weight is None else weight
    user, item = map(jnp.asarray, nodes)
    pairs = tuple(View(*views[place : place + 2]) for place in range(0, len(views), 2))
    return EmbeddedBatch(rows, rows, weight, item, None, axis, user=user, views=pairs)


def total(loss, batch: EmbeddedBatch) -> jax.Array:
    terms = loss.terms(batch)
    return sum(weight * (batch.weight * terms[name]).sum() for name, weight in loss.weights.items())


def their_info_nce(first, second, temperature) -> torch.Tensor:
    """The formula that SELFRec and EGCF have, without what they add inside logarithms."""
    first, second = (torch.nn.functional.normalize(rows, dim=1) for rows in (first, second))
    own = torch.exp((first * second).sum(-1) / temperature)
    every = torch.exp(first @ second.T / temperature).sum(1)
    return -torch.log(own / every).mean()


def their_bpr(user, positive, negative) -> torch.Tensor:
    return -torch.log(torch.sigmoid((user * positive).sum(1) - (user * negative).sum(1))).mean()


def first_of(nodes: np.ndarray) -> np.ndarray:
    return np.unique(nodes, return_index=True)[1]


def their_simgcl(weight, temperature, *rows) -> torch.Tensor:
    users, items = first_of(USER), first_of(ITEM)
    contrast = their_info_nce(rows[3][users], rows[5][users], temperature)
    contrast = contrast + their_info_nce(rows[4][items], rows[6][items], temperature)
    return their_bpr(*rows[:3]) + weight * contrast


def their_egcf(weight, temperature, user, positive, negative) -> torch.Tensor:
    pairs = (user, user), (positive, positive), (user, positive)
    return their_bpr(user, positive, negative) + weight * sum(their_info_nce(*pair, temperature) for pair in pairs)


@pytest.mark.parametrize(
    ("loss", "reference", "count"),
    [
        (SimGCL(contrast_weight=0.3, temperature=0.4), functools.partial(their_simgcl, 0.3, 0.4), 7),
        (XSimGCL(contrast_weight=0.7, temperature=0.2), functools.partial(their_simgcl, 0.7, 0.2), 7),
        (EGCFLoss(contrast_weight=0.6, temperature=0.3), functools.partial(their_egcf, 0.6, 0.3), 3),
    ],
    ids=["simgcl", "xsimgcl", "egcf"],
)
def test_a_loss_is_the_formula(loss, reference, count):
    rows = world()[:count]
    theirs = [torch.tensor(part, requires_grad=True) for part in rows]
    expected = reference(*theirs)
    expected.backward()

    def ours(*rows):
        return total(loss, embedded(*rows))

    arguments = [jnp.asarray(part) for part in rows]
    found, slopes = jax.value_and_grad(ours, tuple(range(count)))(*arguments)
    assert float(found) == pytest.approx(expected.item(), rel=1e-10)
    for slope, their in zip(slopes, theirs, strict=True):
        np.testing.assert_allclose(slope, their.grad, rtol=0, atol=1e-10)
    check_grads(ours, arguments, order=1, modes=["rev"])


LOSSES = [SimGCL(), EGCFLoss()]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_padding_changes_nothing(loss):
    """Padding repeats an example, here one that is also there."""
    rows, real = [jnp.asarray(part) for part in world()], SIZE - 2
    rows = [part.at[real:].set(part[0]) for part in rows]
    nodes = [np.concatenate([part[:real], part[:1], part[:1]]) for part in (USER, ITEM)]
    weight = jnp.where(jnp.arange(SIZE) < real, 1 / real, 0)

    def padded(*rows):
        return total(loss, embedded(*rows, weight=weight, nodes=nodes))

    def cut(*rows):
        short = [part[:real] for part in rows]
        return total(loss, embedded(*short, weight=weight[:real], nodes=[part[:real] for part in nodes]))

    numbers = tuple(range(7))
    found, expected = (jax.value_and_grad(way, numbers)(*rows) for way in (padded, cut))
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-12)
    for slope, their in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(slope, their, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_devices_contrast_the_whole_batch(loss):
    rows = [jnp.asarray(part) for part in world()]
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    cut = PartitionSpec("data")

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=cut, out_specs=PartitionSpec(), check_vma=False)
    def of_two(user, item, weight, rows):
        found = total(loss, embedded(*rows, weight=weight, nodes=(user, item), axis="data"))
        return jax.lax.psum(found, "data")

    found = of_two(jnp.asarray(USER), jnp.asarray(ITEM), jnp.full(SIZE, 1 / SIZE), rows)
    assert float(found) == pytest.approx(float(total(loss, embedded(*rows))), rel=1e-12)


def test_the_first_example_of_a_node_is_the_first_that_counts():
    counts = jnp.asarray([False, True, True, True, False, True, True, False])
    found = first_occurrences(jnp.asarray(USER), counts)
    assert found.tolist() == [False, True, True, True, False, True, True, False]
    assert first_occurrences(jnp.asarray(ITEM), jnp.ones(SIZE, bool)).tolist() == [1, 0, 1, 1, 0, 0, 1, 1]
