"""The numbers of training against a plain PyTorch LightGCN with the paper's loss, float64 to 1e-10, float32 to 1e-5."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch_reference
from flax import nnx

from lgcn_jax.config import Config
from lgcn_jax.data import csr, interactions
from lgcn_jax.evaluation import ranking
from lgcn_jax.evaluation.task import EvaluationTask
from lgcn_jax.graph import compressed, normalization, propagation
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.losses.bpr import ranking_loss as ranking_term
from lgcn_jax.losses.enhanced import contrastive_loss
from lgcn_jax.models import Nodes
from lgcn_jax.sampling import Batch
from lgcn_jax.training import programs
from lgcn_jax.training.state import StepMetrics, TrainState, table_on_host
from lgcn_jax.training.step import init_train_state, make_train_step

USERS, ITEMS, PAIRS, DIM, BATCH = 400, 300, 6000, 8, 16  # batches so small that Bcsr looks at their rows alone
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


@dataclasses.dataclass
class World:
    """A random graph with nodes of degree 0, a table and batches, in NumPy."""

    train: csr.CSR
    table: np.ndarray
    batches: list[np.ndarray]

    @classmethod
    def random(cls, dtype: str, num_batches: int = 1, scale: float = 0.5) -> "World":
        random = np.random.default_rng(7)
        # The last two users and items have no edge.
        train = csr.from_pairs(
            random.integers(0, USERS - 2, PAIRS), random.integers(0, ITEMS - 2, PAIRS), (USERS, ITEMS)
        )
        table = scale * random.standard_normal((USERS + ITEMS, DIM))
        high = np.array([USERS, ITEMS, ITEMS])
        return cls(train, table.astype(dtype), [random.integers(0, high, (BATCH, 3)) for _ in range(num_batches)])


class Ours:
    """Our train step on a world."""

    def __init__(self, config: Config, world: World):
        self.config, self.table = config, world.table
        self.bcoo = normalization.normalized_adjacency_bcoo(world.train, ITEMS, dtype=world.table.dtype)
        matrix = normalization.normalized_adjacency(world.train, ITEMS, dtype=world.table.dtype)
        rows = jnp.arange(USERS + ITEMS, dtype=jnp.int32)
        self.adjacency = Adjacency(propagation.make_layout(matrix, config.graph.propagation), rows)
        self.graphdef, state = init_train_state(config, Nodes(rows, USERS, ITEMS))
        params = jax.tree.map(lambda _: jnp.asarray(world.table), state.params)  # its only leaf is the table
        self.state = TrainState(params, config.build_optimizer().init(params))
        self.step = jax.jit(make_train_step(config, self.graphdef, USERS))

    def model(self):
        return nnx.merge(self.graphdef, self.state.params)

    def train(self, batch: np.ndarray) -> StepMetrics:
        columns = jnp.asarray(batch.T, jnp.int32)
        user, positive, negative = columns
        batch = Batch(user, positive, negative[:, None], jnp.ones(len(batch), jnp.float32))
        self.state, metrics = self.step(self.state, self.adjacency, batch)
        return metrics


def theirs(config: Config, world: World) -> torch_reference.Trainer:
    return torch_reference.Trainer(config, world.train, world.table)


def columns(batch: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(column.copy()) for column in batch.T]


def near(found, expected, dtype: str) -> None:
    """Asserts equality relative to the largest expected entry."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * max(np.abs(expected).max(), 1e-30))


@pytest.fixture(params=TOLERANCE)
def dtype(request):
    with jax.enable_x64(True) if request.param == "float64" else contextlib.nullcontext():
        yield request.param


def settings(propagation="bcoo", **more) -> Config:
    return Config.of(embedding_dim=DIM, batch_size=BATCH, num_layers=3, propagation=propagation, **more)


@pytest.mark.parametrize("steps", [1, 50])
def test_batches_are_small_enough_for_what_a_layout_does_for_some_rows_alone(steps):
    """Bcsr's own `rows` and `spread` are for fewer rows than there are, with up to 1/SHARE of all entries."""
    world = World.random("float64", steps)
    degree = np.diff(normalization.normalized_adjacency(world.train, ITEMS).indptr)
    for batch in world.batches:
        nodes = (batch + np.array([0, USERS, USERS])).ravel()
        assert len(nodes) < USERS + ITEMS
        assert degree[nodes].sum() < 0.99 * (degree.sum() // compressed.BcsrLayout.SHARE)


def test_entries_of_the_adjacency_matrix(dtype):
    world = World.random(dtype)
    found = Ours(settings(), world).bcoo
    expected = theirs(settings(), world).adjacency.coalesce()
    np.testing.assert_array_equal(found.indices, expected.indices().T)
    assert found.data.dtype == dtype
    near(found.data, expected.values(), dtype)


@pytest.mark.parametrize("weights", [(), (0.1, 0.0, 0.7, -0.3)])
def test_every_layer_and_their_sum(dtype, weights):
    world, config = World.random(dtype), settings(layer_weights=weights)
    ours, reference = Ours(config, world), theirs(config, world)
    expected = torch_reference.layers(reference.adjacency, torch.from_numpy(world.table), 3)
    for found, layer in zip(ours.model().layers(ours.adjacency.layout), expected, strict=True):
        near(found, layer, dtype)
    near(ours.model()(ours.adjacency.layout), torch.cat(reference.final()).detach(), dtype)


@pytest.mark.parametrize("margin", [0.0, 0.05, 2.0])
@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 0.8, 1.0])
def test_terms_total_and_gradient(dtype, margin, temperature, alpha):
    compare_a_step(settings(margin=margin, temperature=temperature, alpha=alpha, l2=1e-2), dtype)


def test_terms_total_and_gradient_in_the_layout_of_a_cpu(dtype):
    compare_a_step(settings("bcsr", l2=1e-2), dtype)


def compare_a_step(config: Config, dtype: str) -> None:
    world = World.random(dtype)
    ours, reference = Ours(config, world), theirs(config, world)
    metrics = ours.train(world.batches[0])
    total, parts = reference.loss(*columns(world.batches[0]))
    for name, term in parts.items():
        near(metrics[f"loss_{name}"], term.item(), dtype)
    near(metrics["loss"], total.item(), dtype)
    total.backward()
    gradient = torch.cat([reference.users.grad, reference.items.grad])
    near(metrics["grad_norm"], gradient.norm().item(), dtype)
    # After its first step Adam's first moment is a tenth of the gradient, clipped to norm 1.
    clipped = gradient / max(1.0, gradient.norm().item())
    near(ours.state.optimizer.adam[1][0].mu["table"][...], 0.1 * clipped, dtype)


@pytest.mark.parametrize("extreme", [0.0, 1.0, 50.0, 1e3, 1e4])
@pytest.mark.parametrize("margin", [0.0, 0.05, 10.0])
@pytest.mark.parametrize("temperature", [0.01, 0.2, 5.0])
def test_terms_and_slopes_at_extreme_scores(dtype, extreme, margin, temperature):
    positive = np.array([extreme, -extreme, extreme, -extreme, 0.0, extreme], dtype)
    negative = np.array([-extreme, extreme, extreme, -extreme, extreme, 0.0], dtype)

    def ours(positive, negative):
        return {
            "ranking": ranking_term(positive, negative[None], margin).mean(),
            "contrastive": contrastive_loss(positive, negative[None], temperature).mean(),
        }

    for name in ("ranking", "contrastive"):
        p, n = (torch.from_numpy(scores).clone().requires_grad_() for scores in (positive, negative))
        reference = torch_reference.ranking_loss, torch_reference.contrastive_loss
        expected = reference[name == "contrastive"](p, n, temperature if name == "contrastive" else margin)
        expected.backward()

        def term(positive, negative, name=name):
            return ours(positive, negative)[name]

        found, slopes = jax.value_and_grad(term, argnums=(0, 1))(jnp.asarray(positive), jnp.asarray(negative))
        assert np.isfinite(found)
        assert np.isfinite(slopes).all()
        near(found, expected.item(), dtype)
        near(slopes[0], p.grad, dtype)
        near(slopes[1], n.grad, dtype)


@pytest.mark.parametrize("steps", [1, 50])
@pytest.mark.parametrize("plateau", [False, True])
@pytest.mark.parametrize("name", ["bcoo", "bcsr"])
def test_parameters_after_clipped_steps(dtype, steps, plateau, name):
    schedule = {"plateau_factor": 0.5 if plateau else 1.0, "plateau_patience": 1}
    config = settings(name, clip_norm=0.02, learning_rate=0.01, **schedule)
    world = World.random(dtype, steps)
    ours, reference = Ours(config, world), theirs(config, world)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(reference.optimizer, "min", factor=0.5, patience=1)
    norms = []
    for number, batch in enumerate(world.batches):
        norms.append(float(ours.train(batch)["grad_norm"]))
        reference.step(*columns(batch))
        if plateau and number % 5 == 0:  # an evaluation that finds the same metric again and again
            observed = config.build_optimizer().observe(ours.state.optimizer, 0.25)
            ours.state = ours.state._replace(optimizer=observed)
            schedule.step(1 - 0.25)
    assert min(norms) > config.optimizer.clip_norm  # clipping acted at every step
    rate = reference.optimizer.param_groups[0]["lr"]
    assert (rate < 0.01) == (plateau and steps == 50)
    assert float(config.build_optimizer().current_learning_rate(ours.state.optimizer)) == pytest.approx(rate, rel=1e-6)
    near(table_on_host(ours.state.params), reference.table(), dtype)


def test_metrics_are_those_of_a_loop_over_users(dtype):
    world = World.random(dtype)
    random = np.random.default_rng(3)
    test = csr.from_pairs(random.integers(0, USERS, 120), random.integers(0, ITEMS, 120), (USERS, ITEMS))
    test = csr.filter_entries(test, ~csr.isin(test, world.train, ITEMS))
    data = interactions.Interactions("random", np.arange(USERS), np.arange(ITEMS), world.train, csr.empty(USERS), test)
    ours = Ours(settings(), world)
    task = EvaluationTask.of(data, "test", chunk_elements=7 * ITEMS)
    scorer = programs.make_encoder_scorer(ours.graphdef, ours.state.params, ours.adjacency, task, USERS)
    found = ranking.evaluate(scorer, task, (1, 5, ITEMS))
    users, items = (rows.detach().numpy() for rows in theirs(settings(), world).final())
    expected = loop(users @ items.T, world.train, test, (1, 5, ITEMS))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=TOLERANCE[dtype]), name


def loop(scores: np.ndarray, train: csr.CSR, test: csr.CSR, ks) -> dict[str, float]:
    """Precision, recall and ndcg, one user after the other."""
    values = {f"{name}@{k}": [] for k in ks for name in ("precision", "recall", "ndcg")}
    for user, row in enumerate(scores):
        relevant = set(test.indices[test.indptr[user] : test.indptr[user + 1]].tolist())
        if not relevant:
            continue
        row = row.copy()
        row[train.indices[train.indptr[user] : train.indptr[user + 1]]] = -np.inf
        ranked = np.argsort(-row, kind="stable").tolist()
        for k in ks:
            hits = [item in relevant for item in ranked[:k]]
            gain = sum(hit / np.log2(rank + 2) for rank, hit in enumerate(hits))
            ideal = sum(1 / np.log2(rank + 2) for rank in range(min(k, len(relevant))))
            values[f"precision@{k}"].append(sum(hits) / k)
            values[f"recall@{k}"].append(sum(hits) / len(relevant))
            values[f"ndcg@{k}"].append(gain / ideal)
    return {name: float(np.mean(list_)) for name, list_ in values.items()}
