"""NeuMF against a transcription in PyTorch, and what its scores take of memory."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jax.test_util import check_grads

from lgcn_jax.config import Config
from lgcn_jax.data import csr
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation.scorers import HeadScorer
from lgcn_jax.graph import normalization, propagation
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.models import Nodes, neumf
from lgcn_jax.models.neumf import NeuMFHead, NeuMFSettings
from lgcn_jax.sampling import Batch
from lgcn_jax.training import step
from lgcn_jax.training.state import replicated_parameters

USERS, ITEMS, DIM, LAYERS = 7, 9, 8, 3
USER, POSITIVE = np.array([0, 3, 3, 6]), np.array([1, 8, 0, 8])
EACH = np.array([[2, 5], [4, 4], [7, 1], [0, 3]])  # two negatives of each example
COMMON = np.array([2, 5, 5])  # negatives of all examples


class Reference(torch.nn.Module):
    """As the paper has it: four tables of embeddings, layers of concatenated rows, one output layer."""

    def __init__(self, params: dict[str, np.ndarray]):
        super().__init__()
        table = torch.tensor(params["table"])
        parts = [table[:USERS, :DIM], table[USERS:, :DIM], table[:USERS, DIM:], table[USERS:, DIM:]]
        self.tables = torch.nn.ParameterList(torch.nn.Parameter(part.clone()) for part in parts)
        widths = [2 * DIM, *(DIM // 2**layer for layer in range(LAYERS))]
        pairs = itertools.pairwise(widths)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(*pair, dtype=torch.float64) for pair in pairs)
        self.output = torch.nn.Linear(DIM + widths[-1], 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            for number, layer in enumerate(self.layers, 1):
                layer.weight.copy_(torch.tensor(params[f"weights_{number}"].T))
                layer.bias.copy_(torch.tensor(params[f"bias_{number}"]))
            self.output.weight.copy_(torch.tensor(params["output"])[None])

    def forward(self, user, item) -> torch.Tensor:
        user, item = torch.broadcast_tensors(torch.as_tensor(user), torch.as_tensor(item))
        of_user, of_item, deep_user, deep_item = (
            table[place] for table, place in zip(self.tables, (user, item, user, item), strict=True)
        )
        hidden = torch.cat([deep_user, deep_item], dim=-1)
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
        return self.output(torch.cat([of_user * of_item, hidden], dim=-1)).squeeze(-1)

    def gradients(self) -> dict[str, np.ndarray]:
        users, items, deep_users, deep_items = (each.grad.numpy() for each in self.tables)
        found = {"table": np.block([[users, deep_users], [items, deep_items]]), "output": self.output.weight.grad[0]}
        for number, layer in enumerate(self.layers, 1):
            found |= {f"weights_{number}": layer.weight.grad.T, f"bias_{number}": layer.bias.grad}
        return {name: np.asarray(value) for name, value in found.items()}


@pytest.fixture
def exact():
    with jax.enable_x64(True):
        yield


def parameters() -> dict[str, np.ndarray]:
    """All of them drawn, the biases too, such that in each layer some units are off, for some of the pairs."""
    random, widths = np.random.default_rng(32), [2 * DIM, *(DIM >> layer for layer in range(LAYERS))]
    shapes: dict[str, tuple[int, ...]] = {"table": (USERS + ITEMS, 2 * DIM)}
    for layer, pair in enumerate(itertools.pairwise(widths), 1):
        shapes |= {f"weights_{layer}": pair, f"bias_{layer}": pair[1:]}
    shapes["output"] = (DIM + widths[-1],)
    return {name: random.standard_normal(shape) for name, shape in shapes.items()}


def head_of(params: dict) -> NeuMFHead:
    return NeuMFSettings(embedding_dim=DIM, mlp_layers=LAYERS).head({k: v for k, v in params.items() if k != "table"})


def all_scores(params: dict) -> jax.Array:
    head, table = head_of(params), params["table"]
    return head.score_matrix(head.project_users(table[:USERS]), head.project_items(table[USERS:]))


@pytest.mark.parametrize("numbers", [1, 30, 1 << 22], ids=["pair", "blocks", "whole"])
def test_all_scores_are_those_of_the_reference_in_whatever_blocks(exact, monkeypatch, numbers):
    monkeypatch.setattr(neumf, "BLOCK_NUMBERS", numbers)
    params = parameters()
    users, items = (each.ravel() for each in np.indices((USERS, ITEMS)))
    expected = Reference(params)(users, items).detach().numpy()
    found = jax.jit(all_scores)(params)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, expected.reshape(USERS, ITEMS), rtol=1e-12, atol=1e-13)
    scorer = HeadScorer.from_embeddings(head_of(params), params["table"][:USERS], params["table"][USERS:])
    np.testing.assert_allclose(scorer.pair_scores(users, items), expected, rtol=1e-12, atol=1e-13)
    one = scorer.select_items(np.array([4, 2])).scores(np.array([6]))
    np.testing.assert_allclose(one, found[6:, [4, 2]], rtol=1e-12, atol=1e-13)


def batch(negative: np.ndarray | None) -> Batch:
    arrays = [jnp.asarray(each, jnp.int32) for each in (USER, POSITIVE)]
    drawn = None if negative is None else jnp.asarray(negative, jnp.int32)
    return Batch(*arrays, drawn, jnp.ones(4, jnp.float32))


def softplus(x: torch.Tensor) -> torch.Tensor:
    """Without the threshold from which PyTorch leaves out the rest."""
    return torch.nn.functional.softplus(x, threshold=1000)


def reference_loss(model: Reference, kind: str, l2: float) -> torch.Tensor:
    """BPR of the mean over negatives, and the penalty of the batch's rows of the tables."""
    positive, square = (
        model(USER, POSITIVE),
        lambda places: sum(
            (table[torch.as_tensor(place)] ** 2).sum() for table, place in zip(model.tables, places, strict=True)
        ),
    )
    rows = [USER, POSITIVE, USER, POSITIVE]
    if kind == "each":
        total, added = softplus(model(USER[:, None], EACH) - positive[:, None]).mean(1), EACH
    elif kind == "common":
        total = softplus(model(USER[:, None], COMMON[None]) - positive[:, None]).mean(1)
        added = COMMON
    elif kind == "hardest":
        drawn = model(USER[:, None], EACH)
        worst = drawn.argmax(1).numpy()
        total, added = softplus(drawn.max(1).values - positive), EACH[np.arange(4), worst]
    else:
        every = model(USER[:, None], POSITIVE[None])
        own = torch.as_tensor(POSITIVE[:, None] == POSITIVE[None])
        total = softplus(every.masked_fill(own, -torch.inf) - positive[:, None]).mean(1)
        added = np.array([], int)
    none = np.array([], int)
    penalty = square(rows) + square([none, added.ravel(), none, added.ravel()])
    return total.mean() + l2 * 0.5 * penalty / 4


NEGATIVES = {
    "each": ({"num_negatives": 2}, EACH),
    "hardest": ({"negatives": "dns", "num_candidates": 2}, EACH),
    "common": ({"negatives": "shared", "num_shared": 3}, COMMON),
    "batch": ({"negatives": "in-batch"}, None),
}


def gradient_of(params: dict[str, np.ndarray], kind: str):
    """The loss of the trainer's own step, its gradients by name, and the step as a function of the parameters."""
    stated, negative = NEGATIVES[kind]
    config = Config.of(model="neumf", embedding_dim=DIM, mlp_layers=LAYERS, loss="bpr", l2=0.1, batch_size=4, **stated)
    graphdef, state = step.init_train_state(config, Nodes(jnp.arange(USERS + ITEMS), USERS, ITEMS))
    state = nnx.from_flat_state(
        {
            path: value.replace(jnp.asarray(params[path[0]]))
            for path, value in dict(nnx.to_flat_state(state.params)).items()
        }
    )
    train = csr.from_pairs(USER, POSITIVE, (USERS, ITEMS))
    layout = propagation.make_layout(normalization.normalized_adjacency(train, ITEMS, dtype=np.float64), "bcoo")
    adjacency = Adjacency(layout, jnp.arange(USERS + ITEMS, dtype=jnp.int32))
    gradient = step.make_gradient_and_metrics(config, graphdef, USERS)
    found, metrics = jax.jit(gradient)(state, adjacency, batch(negative), {})
    named = {path[0]: value[...] for path, value in dict(nnx.to_flat_state(found)).items()}
    return metrics["loss"], named


@pytest.mark.parametrize("kind", NEGATIVES)
def test_loss_and_gradient_of_a_step_are_those_of_the_reference(exact, kind):
    """Also of the biases and matrices, with negatives that are scored in pairs and those that are scored in a table."""
    params = parameters()
    model = Reference(params)
    expected = reference_loss(model, kind, 0.1)
    expected.backward()
    loss, found = gradient_of(params, kind)
    assert float(loss) == pytest.approx(expected.item(), rel=1e-12)
    for name, value in model.gradients().items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-12, err_msg=name)
        assert np.abs(value).max() > 1e-4


def test_the_gradient_of_blocks_is_that_of_numbers(exact, monkeypatch):
    monkeypatch.setattr(neumf, "BLOCK_NUMBERS", 30)
    check_grads(jax.jit(lambda params: jnp.sin(all_scores(params)).sum()), (parameters(),), order=1, modes=["rev"])


def temporary_bytes(function, *arguments) -> int:
    return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def test_memory_of_all_scores_is_bounded_by_that_of_blocks():
    """64 users x 200,000 items: the first hidden layer alone would take 1.6 GB at once, all scores take 51 MB."""
    settings, users, items = NeuMFSettings(embedding_dim=32), 64, 200_000
    params = jax.eval_shape(lambda: settings.create(jax.random.key(0), Nodes(jnp.arange(2), 1, 1)))
    head = jax.eval_shape(
        lambda: settings.head(
            {k: jnp.zeros(v.get_raw_value().shape) for k, v in replicated_parameters(nnx.state(params)).items()}
        )
    )
    rows = [jax.ShapeDtypeStruct((count, 64), jnp.float32) for count in (users, items)]
    table, block = 4 * users * items, 4 * neumf.BLOCK_NUMBERS

    def slope(head, *rows):
        return jax.grad(lambda rows: head.score_matrix(*rows).sum())(rows)

    assert temporary_bytes(lambda head, *rows: head.score_matrix(*rows), head, *rows) < 3 * table + 4 * block
    assert temporary_bytes(slope, head, *rows) < 6 * table + 8 * block
    assert 4 * users * items * 32 > 6 * table + 8 * block


def test_a_run_begins_with_matrices_by_xavier_and_without_biases():
    made = NeuMFSettings(embedding_dim=32, init_std=1.0).create(jax.random.key(1), Nodes(jnp.arange(3), 2, 1))
    assert made.table[...].shape == (3, 64)
    for name, fan in (("weights_1", 96), ("weights_2", 48), ("weights_3", 24), ("output", 41)):
        bound = (6 / fan) ** 0.5
        assert bound * 0.8 < float(jnp.abs(getattr(made, name)[...]).max()) <= bound
    assert not any(getattr(made, f"bias_{layer}")[...].any() for layer in (1, 2, 3))


@pytest.mark.parametrize(
    ("stated", "line"),
    [
        ({"embedding_dim": 6}, "--embedding_dim: found 6, expected a multiple of 4, so that each of --mlp_layers=3"),
        ({"mlp_layers": 0}, "--mlp_layers: found 0, expected an integer from 1 to 16"),
        ({"num_layers": 2}, "--num_layers: found 2, expected nothing with --model=neumf, which has none"),
        ({"score": "cosine"}, "--loss: found enhanced, which needs scores that are products of vectors, with --model"),
        *(
            (
                {"loss": loss},
                f"--loss: found {loss}, which needs scores that are products of vectors, with --model=neumf",
            )
            for loss in ("ssm", "bsl", "adap-tau", "sl@k", "ccl", "directau", "egcf")
        ),
        ({"loss": "simgcl"}, "--loss: found simgcl, whose noise goes between layers, with --model=neumf"),
        (
            {"popularity_prior": 0.2},
            "--popularity_prior: found 0.2, expected 0 with --model=neumf, whose scores are no",
        ),
        (
            {"popularity_prior": "auto", "eval_split": "valid"},
            "--popularity_prior: found auto, expected 0 with --model",
        ),
        ({"inference_weights": (1.0,)}, "--inference_weights: found 1.0, expected nothing with --model=neumf"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(stated, line):
    with pytest.raises(InputError) as error:
        Config.of(model="neumf", **stated)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
