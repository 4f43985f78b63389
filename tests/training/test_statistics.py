"""Losses with statistics: renewed between epochs, on one device and on several, and saved with a run."""

import time

import jax
import numpy as np
import pytest
import scipy.special

from lgcn_jax.data import csr, datasets
from lgcn_jax.runs import checkpoint
from lgcn_jax.runs.checkpoint import Checkpoints
from lgcn_jax.training import loop
from lgcn_jax.training.loop import CompiledRun
from lgcn_jax.training.programs import Programs, make_renewal
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.state import Snapshot, table_sha256

SETTINGS = {"sl@k": {"loss": "sl@k", "renew_every": 1, "weight_k": 5}, "adap-tau": {"loss": "adap-tau"}}
FACTS = {"config": {}, "content_sha256": "", "environment": {}, "log": []}


def made(small, name: str, **more) -> Setup:
    settings = {"num_layers": 1, "embedding_dim": 8, "sampler": "edge", "learning_rate": 0.02, "epochs": 2}
    config = small.replace(**settings, **SETTINGS[name] | more)
    return build_setup(config, datasets.load(config.data))


def renewed(setup: Setup, *epochs: int) -> dict[str, np.ndarray]:
    """The statistics of the table that a run begins with, renewed before each of these epochs, those of users in the
    order of their ids."""
    state = setup.init_state()
    program = jax.jit(make_renewal(setup), out_shardings=setup.mesh.shardings(state.statistics))
    found = state.statistics
    for epoch in map(np.int32, epochs):
        found = program(state.params, found, setup.adjacency, setup.counts, setup.mesh.replicate(epoch))
    return {
        name: setup._gather_on_host(value)[: setup.num_users] if value.ndim else value for name, value in found.items()
    }


@pytest.mark.parametrize("mesh", ["data:1", "data:2,nodes:2", "nodes:3"])
def test_statistics_are_those_of_all_embeddings(small, mesh):
    setup = made(small, "sl@k", mesh=mesh)
    final = setup.final_embeddings(setup.init_state().params)
    users, items = np.split(final / np.linalg.norm(final, axis=1, keepdims=True), [setup.num_users])
    np.testing.assert_allclose(renewed(setup, 2)["beta"], np.sort(users @ items.T)[:, -5], rtol=1e-5)
    setup = made(small, "adap-tau", mesh=mesh)
    train = datasets.load(setup.config.data).train
    user, pairs = csr.row_of_entry(train), csr.degrees(train)
    own = (users[user] * items[train.indices]).sum(1)
    often = pairs > np.quantile(pairs, 0.2)
    gap = own[often[user]].mean() - (users[often] @ items.T).mean()
    expected = gap / np.log(often.sum() * setup.num_items / pairs[often].sum() / 2)
    found = renewed(setup, 101)
    assert float(found["temperature"]) == pytest.approx(expected, rel=1e-4)
    share = np.bincount(train.indices, minlength=setup.num_items) / train.nnz
    mean_own = np.bincount(user, own, setup.num_users) / np.maximum(pairs, 1)
    losses = np.log(np.exp(users @ items.T) @ share) - mean_own
    order = np.argsort(losses[pairs > 0])
    assert (np.diff(found["user_temperature"][pairs > 0][order]) > -1e-6).all()  # rises with the user's loss


@pytest.mark.parametrize("mesh", ["data:1", "data:2,nodes:2", "nodes:3"])
def test_a_user_s_loss_is_averaged_with_that_of_the_renewal_before(small, mesh):
    """Renewed twice of one model, both halves are equal; renewed once, the other half is the zeros of the start."""
    setup = made(small, "adap-tau", mesh=mesh, spread=3.0)  # so that no user's loss is at the bound
    pairs = csr.degrees(datasets.load(setup.config.data).train)
    for epochs, share in ((1, 2), 1.0), ((2,), 0.5):
        found = renewed(setup, *epochs)
        away = share * (found["user_loss"] - found["user_loss"][pairs > 0].mean()) / 3
        adapted = np.where(pairs > 0, np.exp(scipy.special.lambertw(away).real), 1)
        np.testing.assert_allclose(found["user_temperature"], found["temperature"] * adapted, rtol=1e-4)
        assert np.ptp(adapted) > 0.01


@pytest.fixture(scope="module")
def trained():
    """Of each loss, a run on one device, made once."""
    runs = {}

    def of(small, name):
        if name not in runs:
            runs[name] = loop.fit(made(small, name))
        return runs[name]

    return of


@pytest.mark.parametrize("name", SETTINGS)
def test_several_devices_give_what_one_gives(small, trained, name):
    """Over two epochs, so that statistics that were renewed are in the gradient."""
    one, several = trained(small, name), made(small, name, mesh="data:2,nodes:2", eval_split="none")
    found = loop.fit(several)
    np.testing.assert_allclose(found.table, one.table, rtol=0, atol=1e-4)
    assert all(np.abs(np.asarray(value)).max() > 0 for value in found.snapshot.state.statistics.values())


@pytest.mark.parametrize("name", SETTINGS)
def test_two_epochs_are_better_than_popularity(small, trained, name):
    data = datasets.load(small.data)
    popular = np.argsort(-np.bincount(data.train.indices, minlength=data.num_items), kind="stable")
    recall = []
    for user in np.flatnonzero(csr.degrees(data.test)):
        own, wanted = (part.indices[part.indptr[user] : part.indptr[user + 1]] for part in (data.train, data.test))
        recall.append(np.isin(wanted, popular[~np.isin(popular, own)][:20]).mean())
    assert trained(small, name).last["recall@20"] > 1.5 * np.mean(recall)


class Stopping(loop.Listener):
    """Stops after blocks of nine steps, and saves."""

    def __init__(self, setup, folder):
        self.setup, self.folder, self.steps = setup, folder, []

    def limit_block(self, planned):
        return 9

    def should_stop(self):
        return True

    def save(self, snapshot, is_scheduled):
        with Checkpoints(self.folder, "recall@20") as checkpoints:
            arrays = self.setup.to_node_order((snapshot.state, snapshot.totals))
            checkpoints.save(Snapshot(*arrays, snapshot.progress), self.setup.steps_per_epoch, FACTS)
        self.steps.append(snapshot.progress.epoch * self.setup.steps_per_epoch + snapshot.progress.step)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_that_is_stopped_and_loaded_again_is_the_whole_run_bit_for_bit(small, tmp_path, name):
    """Stopped in the middle of epochs, before and after statistics are renewed, and between epochs."""
    setup = made(small, name, eval_split="none", batch_size=230)
    ready = loop.compile_run(setup)
    whole = loop.train(setup, CompiledRun(setup.initial_snapshot(), ready.programs, 0), loop.Listener())
    here, listener = setup.initial_snapshot(), Stopping(setup, tmp_path)
    while not loop.is_finished(setup.config, here.progress):
        loop.train(setup, CompiledRun(here, ready.programs, 0), listener)
        meta = checkpoint.read_metadata(tmp_path, listener.steps[-1])
        state, totals, progress = checkpoint.load(tmp_path, listener.steps[-1], meta, setup.abstract_state()).snapshot
        here = Snapshot(setup.to_row_order(state), totals, progress)
    assert listener.steps == [9, 18, 27, 36]
    assert table_sha256(setup.table(here.state.params)) == table_sha256(whole.table)
    for kind, expected in whole.snapshot.state.statistics.items():
        np.testing.assert_array_equal(here.state.statistics[kind], expected)


def test_losses_without_statistics_have_and_save_none(small):
    setup = build_setup(small.replace(loss="ssm"), datasets.load(small.data))
    start = setup.initial_snapshot()
    assert setup.counts is None
    assert not jax.tree.leaves(start.state.statistics)
    assert checkpoint._snapshot_arrays(start).keys() == {"params", "optimizer", "totals"}
    assert "statistics" in checkpoint._snapshot_arrays(made(small, "sl@k").initial_snapshot())


def test_seconds_of_a_renewal_are_those_of_the_epoch(small):
    setup = made(small, "adap-tau")
    start = setup.initial_snapshot()

    def slow(_, before, *__):
        assert before is start.state.statistics
        time.sleep(0.01)
        return start.state.statistics

    found = loop.begin_epoch(setup, Programs(None, None, slow), start)
    assert found.progress.epoch_seconds == found.progress.seconds >= 0.01
    assert loop.begin_epoch(setup, Programs(None, None), start).progress == start.progress
