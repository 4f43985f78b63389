"""What a run needs is told before it begins, and one that does not fit is refused."""

import jax
import numpy as np
import pytest

from lgcn_jax.cli import main
from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.errors import InputError
from lgcn_jax.losses import LOSSES
from lgcn_jax.models import ENCODERS
from lgcn_jax.training import estimate, programs
from lgcn_jax.training.setup import build_setup

WORLD = ["--dataset=synthetic", "--num_users=120", "--num_items=80", "--num_interactions=2500", "--top_k=5"]
RUN = [*WORLD, "--embedding_dim=8", "--batch_size=120", "--epochs=3"]


def test_the_formula_counts_what_is_held():
    terms = estimate.memory_bytes(train=1000, test=200, nodes=300, dim=8)
    table = 4 * 300 * 8
    assert terms == {
        "interactions": 4 * 1200,
        "sampler": 4000,
        "layout": 16_000,
        "evaluation": 8 * 1000 + 4 * 200,
        "index": 64 * 300,
        "state": 3 * table,
        "layer": table,
        "batch": 14_000,
        "program": 300_000_000,
    }


COMPILED = {  # of each loss and encoder: what makes it, and with what it was to be told apart from others
    "bpr": {"loss": "bpr"},
    "several": {"loss": "bpr", "negatives": "uniform", "num_negatives": 16},
    "softmax": {"loss": "ssm"},
    "simgcl": {"loss": "simgcl"},
    "ngcf": {"loss": "bpr", "model": "ngcf"},
}
LONG_COMPILED = {
    "in-batch": {"loss": "bpr", "negatives": "in-batch"},
    "shared": {"loss": "bpr", "negatives": "shared", "num_shared": 600},
    "popularity": {"loss": "bpr", "negatives": "popularity", "num_negatives": 4},
    "dns": {"loss": "bpr", "negatives": "dns"},
    "enhanced": {"loss": "enhanced", "score": "cosine"},
    "both": {"loss": "ssm", "negatives": "shared", "in_batch": True, "num_shared": 600},
    "drawn": {"loss": "ssm", "negatives": "uniform", "num_negatives": 32},
    "bsl": {"loss": "bsl"},
    "sl@k": {"loss": "sl@k"},
    "adap-tau": {"loss": "adap-tau"},
    "directau": {"loss": "directau"},
    "ccl": {"loss": "ccl", "negatives": "uniform", "num_negatives": 32},
    "ccl, shared": {"loss": "ccl", "negatives": "shared", "num_shared": 600},
    "xsimgcl": {"loss": "xsimgcl"},
    "egcf": {"loss": "egcf"},
    "mf": {"loss": "bpr", "model": "mf"},
    "learned": {"loss": "bpr", "layer_combination": "learned"},
    "lightgcn++": {"loss": "bpr", "model": "lightgcn++"},
    "egcf's encoder": {"loss": "bpr", "model": "egcf"},
    "ngcf and softmax": {"loss": "ssm", "model": "ngcf"},
    "neumf": {"loss": "bpr", "model": "neumf"},
}
FACTOR = 1.6  # by which an estimate may differ from what XLA says of the compiled step


def named(cases: dict, *marks):
    return [pytest.param(settings, marks=marks, id=name) for name, settings in cases.items()]


@pytest.mark.parametrize("settings", named(COMPILED) + named(LONG_COMPILED, pytest.mark.long))
def test_the_estimate_of_a_step_is_that_of_the_compiled_one(settings):
    size = {"num_users": 3000, "num_items": 2000, "num_interactions": 60_000}
    config = Config.of(dataset="synthetic", **size, embedding_dim=32, batch_size=1024, **settings)
    data = datasets.load(config.data)
    setup = build_setup(config, data)
    start = setup.initial_snapshot()
    found = programs.compile_block(setup, start).memory_analysis().temp_size_in_bytes
    terms = estimate.run_memory_bytes(config, data)
    expected = sum(terms[name] for name in estimate.WITHIN_STEP)
    assert found / FACTOR < expected < found * FACTOR
    if setup.counts is not None:
        renew = jax.jit(programs.make_renewal(setup)).lower(
            start.state.params, start.state.statistics, setup.adjacency, setup.counts, np.int32(1)
        )
        found = renew.compile().memory_analysis().temp_size_in_bytes
        assert found / 2 < estimate.renewal_bytes(config, 5000) < found * 2


def test_every_loss_and_encoder_is_compared():
    stated = [Config.of(**settings) for settings in (COMPILED | LONG_COMPILED).values()]
    assert {LOSSES.name_of(config.loss) for config in stated} == set(LOSSES)
    assert {ENCODERS.name_of(config.model) for config in stated} == set(ENCODERS)


def test_statistics_count_where_they_take_more_than_a_step():
    """Since the tables that they gather are whole on every device."""
    data = datasets.load(DataSettings(dataset="synthetic", num_users=120, num_items=80, num_interactions=2500))
    for loss, counted in (("sl@k", True), ("ssm", False)):
        terms = estimate.run_memory_bytes(Config.of(loss=loss, batch_size=16, embedding_dim=8), data)
        assert (terms["statistics"] > 0) == counted


@pytest.mark.parametrize(("own", "share"), [(10**9, 1 / 4), (None, 8 / 4)])
def test_tables_and_graph_are_cut_over_nodes_and_repeated_over_data(monkeypatch, own, share):
    """On devices with a memory of their own; the eight parts of a CPU hold all of it, in one memory."""
    monkeypatch.setattr(estimate, "device_bytes", lambda: own)
    interactions = datasets.load(DataSettings(dataset="synthetic", num_users=120, num_items=80, num_interactions=2500))
    one, eight = (
        estimate.run_memory_bytes(Config.of(mesh=mesh), interactions) for mesh in ("data:1", "data:2,nodes:4")
    )
    assert eight["state"] == one["state"] * share
    assert eight["layout"] == one["layout"] * share
    assert eight["program"] == one["program"]


def test_a_run_that_does_not_fit_is_refused_with_the_estimate(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(estimate, "available_bytes", lambda: 100_000_000)
    for more in ([], ["--dry_run"]):
        assert main.main(["train", *RUN, f"--workdir={tmp_path / 'run'}", *more]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("memory: found a run of about 0.3 GB on a device (program 0.3, ")
        assert "expected at most the 0.1 GB that it has" in line
    assert list(tmp_path.iterdir()) == []


def test_the_limit_is_that_of_the_device_where_it_has_one(monkeypatch):
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 7}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert estimate.available_bytes() == 7


def test_a_dry_run_tells_and_writes_nothing(tmp_path, capsys):
    assert main.main(["train", *RUN, "--dry_run", f"--workdir={tmp_path / 'run'}"]) == 0
    out = capsys.readouterr().out
    for text in (
        "synthetic: 120 users",
        "memory, layout",
        "memory in all about 0.3",
        "an epoch of ",
        "nothing was begun",
    ):
        assert text in out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_run_that_is_there_changes_nothing(tmp_path, capsys):
    assert main.main(["train", *RUN, "--quiet", f"--workdir={tmp_path / 'run'}"]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main.main(["train", "--dry_run", "--epochs=9", f"--workdir={tmp_path / 'run'}"]) == 0
    assert "9 epochs" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert main.main(["train", "--dry_run", "--seed=1", f"--workdir={tmp_path / 'run'}"]) == 2


def test_the_time_of_an_epoch_is_that_of_its_steps(monkeypatch, small):
    ticks = iter([0.0, 5.0, 10.0, 10.0 + 0.5 * estimate.TIMED_STEPS])
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: next(ticks))
    setup = build_setup(small, datasets.load(small.data))
    assert estimate.measure_epoch_seconds(setup) == pytest.approx(0.5 * setup.steps_per_epoch)


def test_an_estimate_is_no_error_where_it_fits(small):
    estimate.require_memory(small, datasets.load(small.data))
    with pytest.raises(InputError, match="memory: found a run of about"):
        estimate.require_memory(small.replace(embedding_dim=65536), _Large())


class _Large:
    num_users = num_items = 10**6
    weights = None

    class train:
        nnz = 10**9

    def part(self, split):
        return self.train
