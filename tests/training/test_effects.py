"""Settings reach a run: it is the one that the parts make which they name, put together by hand."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lgcn_jax import sampling
from lgcn_jax.cli import main
from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.graph import normalization, order, propagation
from lgcn_jax.graph.propagation import Adjacency
from lgcn_jax.models import Nodes
from lgcn_jax.runs import scoring, session
from lgcn_jax.sampling import SAMPLERS
from lgcn_jax.training import loop, setup
from lgcn_jax.training.state import table_on_host
from lgcn_jax.training.step import init_train_state, make_train_step, named_key

CONFIG = Config.of(
    **{"dataset": "synthetic", "num_users": 300, "num_items": 200, "num_interactions": 5000, "top_k": (5,)},
    **{"num_layers": 2, "embedding_dim": 8, "batch_size": 300, "learning_rate": 0.01, "epochs": 2},
)
NAMES = ("dataset", "num_users", "num_items", "num_interactions", "num_layers", "embedding_dim", "batch_size")
FLAGS = [f"--{name}={CONFIG.to_dict()[name]}" for name in (*NAMES, "learning_rate", "epochs")]


def train(folder, *more) -> np.ndarray:
    """The table that a run ends with."""
    run_to_its_end, found = loop.train, []

    def noted(*arguments):
        found.append(run_to_its_end(*arguments))
        return found[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", noted)
        assert main.main(["train", *FLAGS, "--top_k=5", "--quiet", f"--workdir={folder}", *more]) == 0
    return found[0].table


def by_hand(sampler: str = "user", propagation_dtype: str = "float32") -> np.ndarray:
    """The same of sampler, product and train step alone, rows in the order of ids, an epoch a loop of Python."""
    data = datasets.load(CONFIG.data)
    rows = jnp.arange(data.num_users + data.num_items, dtype=jnp.int32)
    matrix = normalization.normalized_adjacency(data.train, data.num_items)
    adjacency = Adjacency(propagation.make_layout(matrix, "bcsr", propagation_dtype), rows)
    graphdef, state = init_train_state(CONFIG, Nodes(rows, data.num_users, data.num_items))
    drawn = sampling.build_sampler(SAMPLERS[sampler](), data.train, data.num_items)
    step = jax.jit(make_train_step(CONFIG, graphdef, data.num_users))
    draw = jax.jit(lambda key, number: drawn.draw(key, number, CONFIG.training.batch_size))
    for epoch in (1, 2):
        key = jax.random.fold_in(named_key(CONFIG.training.seed, "data"), epoch)
        for number in range(math.ceil(drawn.num_examples / CONFIG.training.batch_size)):
            state, _ = step(state, adjacency, draw(key, jnp.int32(number)))
    return table_on_host(state.params)


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """The mean difference; of rounding alone, single numbers may differ more, since Adam divides by small ones."""
    return float(np.abs(found - expected).mean())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The folder of a run with the default settings, and its table."""
    folder = tmp_path_factory.mktemp("effects") / "run"
    return folder, train(folder)


def test_a_run_is_its_parts(plain):
    assert apart(plain[1], by_hand()) < 1e-5


@pytest.mark.parametrize("setting", [("sampler", "edge"), ("propagation_dtype", "bfloat16")], ids="=".join)
def test_sampler_and_dtype_reach_a_run(tmp_path, plain, setting):
    """The run is that of the parts with this setting, and far from the one with the default."""
    name, value = setting
    found, expected = train(tmp_path / "run", f"--{name}={value}"), by_hand(**{name: value})
    assert 20 * apart(found, expected) < apart(plain[1], expected)


@pytest.fixture
def made(monkeypatch):
    """The setups that are built from here on, by `train` and by `evaluate`."""
    found, build_setup = [], setup.build_setup

    def noted(*arguments, **options):
        found.append(build_setup(*arguments, **options))
        return found[-1]

    for module in (session, scoring):
        monkeypatch.setattr(module, "build_setup", noted)
    return found


@pytest.mark.parametrize("name", ["natural", "local", "auto"])
def test_the_order_of_rows_reaches_a_run_and_changes_no_number_but_for_rounding(
    tmp_path, plain, made, monkeypatch, name
):
    monkeypatch.setattr(order, "SMALLEST", 20)  # else all of so small a graph is one neighborhood
    found = train(tmp_path / "run", f"--node_order={name}")
    assert apart(found, plain[1]) < 1e-5
    rows = made[0].order.row_of_node
    ids = np.arange(500)
    np.testing.assert_array_equal(np.sort(rows), ids)
    assert (rows == ids).all() == (name == "natural")
    if name != "natural":
        data = datasets.load(CONFIG.data)
        local = order.locality_order(normalization.normalized_adjacency(data.train, data.num_items), data.num_users)
        np.testing.assert_array_equal(rows, local.row_of_node)


@pytest.mark.parametrize(("flag", "devices"), [((), 1), (("--mesh=nodes:2",), 2)])
def test_evaluate_uses_the_devices_of_its_mesh(plain, made, capsys, flag, devices):
    """Graph, users' pairs and items are cut over both, and the metrics are the same."""
    last = json.loads((plain[0] / "result.json").read_text())["last"]
    capsys.readouterr()
    assert main.main(["evaluate", f"--workdir={plain[0]}", "--checkpoint=latest", *flag]) == 0
    label, *cells = capsys.readouterr().out.splitlines()[-1].split("  ")
    assert label == "epoch 2 (latest)"
    figures = [float(cell) for cell in cells if cell]
    assert figures == pytest.approx([last[f"{name}@5"] for name in ("precision", "recall", "ndcg")], abs=1e-3)
    (setup,) = made
    for leaf in jax.tree.leaves((setup.adjacency, setup.task)):
        assert len(leaf.sharding.device_set) == devices
    entries = sum(leaf.addressable_shards[0].data.size for leaf in jax.tree.leaves(setup.adjacency.layout))
    whole = 2 * datasets.load(CONFIG.data).train.nnz
    assert (entries < 1.7 * whole) == (devices == 2)  # column and value of each entry, and the starts of rows
