"""Checkpoints by themselves: devices, damage, and which are kept."""

import dataclasses
import shutil
import subprocess
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lgcn_jax.data import datasets
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.losses import Enhanced
from lgcn_jax.models import Nodes
from lgcn_jax.runs import checkpoint, integrity, selection
from lgcn_jax.runs.checkpoint import Checkpoints
from lgcn_jax.runs.integrity import DamagedError
from lgcn_jax.training import loop
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.state import Progress, Snapshot, zero_totals
from lgcn_jax.training.step import init_train_state

NUM_NODES = 24
STEPS = 7  # steps of an epoch


def read(folder, step, like):
    """The checkpoint of a step, verified and loaded."""
    return checkpoint.load(folder, step, integrity.verify(folder, step), like)


def snapshot(config, epoch=1, metric=0.5, step=0, seed=0) -> Snapshot:
    """A place in a run whose arrays are random, so that no two of them are equal by chance."""
    state = init_train_state(config, Nodes(jnp.arange(NUM_NODES, dtype=jnp.int32), NUM_NODES, 0))[1]
    leaves, structure = jax.tree.flatten(state)
    draw = np.random.Generator(np.random.PCG64(seed))
    leaves = [jnp.asarray(draw.normal(size=leaf.shape) * 100, leaf.dtype) for leaf in leaves]
    row = {"epoch": epoch, "split": "test", "recall@20": metric}
    progress = Progress(epoch=epoch, step=step, best=row, last=row)
    return Snapshot(jax.tree.unflatten(structure, leaves), jax.device_put(zero_totals(Enhanced())), progress)


FACTS = {"config": {}, "content_sha256": "", "environment": {}, "log": []}


def saved(folder, *snapshots) -> None:
    with Checkpoints(folder, "recall@20") as checkpoints:
        for each in snapshots:
            checkpoints.save(each, STEPS, FACTS)


def same_bits(left, right) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() and a.dtype == b.dtype for a, b in pairs)


def on_devices(tree, count: int):
    """The tree over `count` devices: tables by rows, everything else on all of them."""
    mesh = Mesh(np.array(jax.devices()[:count]), ("nodes",))

    def replicate(leaf):
        spec = PartitionSpec("nodes") if leaf.shape and leaf.shape[0] == NUM_NODES else PartitionSpec()
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    return jax.tree.map(replicate, tree)


def test_one_four_and_one_devices_hold_the_same_bits(small, tmp_path):
    one = snapshot(small)
    saved(tmp_path / "one", one)
    like = Snapshot(on_devices(one.state, 4), on_devices(one.totals, 4), one.progress)
    four = read(tmp_path / "one", STEPS, like).snapshot
    table = four.state.params["table"][...]
    assert len(table.sharding.device_set) == 4
    assert table.addressable_shards[0].data.shape[0] == NUM_NODES // 4
    assert same_bits(four.state, one.state)
    saved(tmp_path / "four", four)
    again = read(tmp_path / "four", STEPS, one).snapshot
    assert len(again.state.params["table"][...].sharding.device_set) == 1
    assert same_bits(again.state, one.state)
    assert again.progress == one.progress


def test_the_newest_two_and_the_best_are_kept(small, tmp_path):
    metrics = [0.1, 0.4, 0.3, 0.4, 0.2, 0.1]
    saved(tmp_path, *(snapshot(small, epoch + 1, metric) for epoch, metric in enumerate(metrics)))
    assert integrity.checkpoint_steps(tmp_path) == [
        2 * STEPS,
        5 * STEPS,
        6 * STEPS,
    ]  # the earlier of two equal ones is the best


def test_a_place_without_an_evaluation_is_never_the_best(small, tmp_path):
    within = snapshot(small, 2, 0.1, step=3)
    saved(tmp_path, snapshot(small, 1, 0.1), snapshot(small, 2, 0.05), within, snapshot(small, 3, 0.01))
    assert integrity.checkpoint_steps(tmp_path) == [STEPS, 2 * STEPS + 3, 3 * STEPS]


def test_saving_the_same_place_again_changes_nothing(small, tmp_path):
    saved(tmp_path, snapshot(small))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with Checkpoints(tmp_path, "recall@20") as checkpoints:
        checkpoints.save(snapshot(small), STEPS, FACTS)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_sums_are_those_of_sha256sum(small, tmp_path):
    saved(tmp_path, snapshot(small))
    arrays = tmp_path / str(STEPS) / "arrays"
    command = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=arrays, check=False, capture_output=True).returncode == 0


def test_every_damaged_file_of_the_arrays_is_named(small, tmp_path):
    one = snapshot(small)
    saved(tmp_path, one)
    arrays = tmp_path / str(STEPS) / "arrays"
    files = [path for path in arrays.rglob("*") if path.is_file() and path.name != "commit_success.txt"]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(DamagedError):
            read(tmp_path, STEPS, one)
        path.write_bytes(content)
    assert same_bits(read(tmp_path, STEPS, one).snapshot.state, one.state)


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        selection.select_checkpoint(tmp_path, "best", "recall@20")


def test_a_removed_checkpoint_that_is_a_link_leaves_its_target(small, tmp_path):
    saved(tmp_path / "elsewhere", snapshot(small))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / str(STEPS)).symlink_to(tmp_path / "elsewhere" / str(STEPS))
    checkpoint.remove(tmp_path / "run", STEPS)
    assert integrity.checkpoint_steps(tmp_path / "run") == []
    assert integrity.checkpoint_steps(tmp_path / "elsewhere") == [STEPS]


def test_a_snapshot_outlives_the_steps_that_are_given_its_memory(small, tmp_path):
    """The run goes on, in place, while a checkpoint is still being written."""
    setup = build_setup(small.replace(save_every=1, epochs=3), datasets.load(small.data))
    hashes = {}

    class Keeping(loop.Listener):
        def save(self, snapshot, is_scheduled):
            state, totals = setup.to_node_order((snapshot.state, snapshot.totals))
            checkpoints.save(Snapshot(state, totals, snapshot.progress), setup.steps_per_epoch, FACTS)
            hashes[snapshot.progress.epoch] = [np.asarray(leaf).copy() for leaf in jax.tree.leaves(state)]

    with Checkpoints(tmp_path, "recall@5") as checkpoints:
        loop.fit(setup, Keeping())
    like = setup.abstract_state()
    found = integrity.checkpoint_steps(tmp_path)
    assert len(found) >= 2
    for step in found:
        saved = read(tmp_path, step, like).snapshot
        assert same_bits(saved.state, hashes[saved.progress.epoch])


def test_a_save_that_fails_in_the_background_is_told_soon(small, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(integrity.ChecksumHandler, "finalize", fail)
    checkpoints = Checkpoints(tmp_path, "recall@20")
    checkpoints.save(snapshot(small), STEPS, FACTS)
    while checkpoints._manager.is_saving_in_progress():
        time.sleep(0.01)
    with pytest.raises(WriteError, match="No space left on device"):
        checkpoints.check()


def test_checkpoints_off_the_schedule_give_way_when_the_run_goes_on(small, tmp_path):
    with Checkpoints(tmp_path, "recall@20") as checkpoints:
        checkpoints.save(snapshot(small, 1, 0.5), STEPS, FACTS)
        checkpoints.save(snapshot(small, 2, 0.4), STEPS, FACTS)
        checkpoints.save(snapshot(small, 3, 0.3), STEPS, FACTS)
        checkpoints.save(snapshot(small, 3, 0.3, step=2), STEPS, FACTS, is_scheduled=False)
        checkpoints.wait()
        assert integrity.checkpoint_steps(tmp_path) == [STEPS, 2 * STEPS, 3 * STEPS, 3 * STEPS + 2]
        checkpoints.save(snapshot(small, 4, 0.2), STEPS, FACTS)
    assert integrity.checkpoint_steps(tmp_path) == [STEPS, 3 * STEPS, 4 * STEPS]


def test_a_folder_that_cannot_be_made_is_a_failed_write(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(WriteError, match="Not a directory"):
        Checkpoints(tmp_path / "run" / "checkpoints", "recall@20")


def with_the_first_as_best(config, *metrics: float) -> list[Snapshot]:
    """Places after the first epochs, of these metrics, that all know the first one as the best."""
    places = [snapshot(config, epoch, metric) for epoch, metric in enumerate(metrics, 1)]
    best = places[0].progress.best
    return [place._replace(progress=dataclasses.replace(place.progress, best=best)) for place in places]


def test_a_choice_beside_a_run_that_removes_the_best_checkpoint_looks_again(small, tmp_path, monkeypatch):
    """While we look at the newest one, the run beside us saves a new best one and removes the old one."""
    saved(tmp_path, *with_the_first_as_best(small, 0.5, 0.1, 0.2))
    verify, moved = integrity.verify, []

    def verify_beside_a_run(folder, step):
        found = verify(folder, step)
        if not moved:
            moved.append(step)
            saved(tmp_path, snapshot(small, 4, 0.9))
            checkpoint.remove(folder, STEPS)
        return found

    monkeypatch.setattr(selection, "verify", verify_beside_a_run)
    assert selection.select_checkpoint(tmp_path, "best", "recall@20") == selection.CheckpointSelection(
        4 * STEPS, "", []
    )


def test_where_the_best_checkpoint_is_lost_the_best_that_is_left_is_named(small, tmp_path):
    saved(tmp_path, *with_the_first_as_best(small, 0.5, 0.3, 0.2))
    (tmp_path / str(STEPS) / "meta" / "metadata").unlink()
    choice = selection.select_checkpoint(tmp_path, "best", "recall@20")
    assert choice.step == 2 * STEPS
    assert choice.missing.startswith(f"the best checkpoint, {STEPS}, is lost (metadata is missing)")
    assert choice.missing.endswith(f"{2 * STEPS} is the best of those that are left")
    assert selection.select_checkpoint(tmp_path, "latest", "recall@20") == selection.CheckpointSelection(
        3 * STEPS, "", []
    )


def test_where_no_checkpoint_left_was_evaluated_the_newest_is_taken(small, tmp_path):
    first, *later = with_the_first_as_best(small, 0.5, 0.3, 0.2)
    latest = first.progress.last
    later = [place._replace(progress=dataclasses.replace(place.progress, last=latest)) for place in later]
    saved(tmp_path, first, *later)
    (tmp_path / str(STEPS) / "meta" / "metadata").unlink()
    choice = selection.select_checkpoint(tmp_path, "best", "recall@20")
    assert choice.step == 3 * STEPS
    assert choice.missing.endswith(f"of those that are left none was evaluated, {3 * STEPS} is the newest")


def test_of_whole_checkpoints_those_are_superfluous_that_orbax_would_have_removed(small, tmp_path):
    """What the policy leaves of five saves, and what is said of all five where none was removed."""
    for metrics in ((0.5, 0.1, 0.2, 0.3, 0.4), (0.1, 0.5, 0.5, 0.2, 0.3), (0.0, 0.0, 0.0, 0.0, 0.0)):
        places = [snapshot(small, epoch, metric) for epoch, metric in enumerate(metrics, 1)]
        saved(tmp_path / "all", *places)
        left = integrity.checkpoint_steps(tmp_path / "all")
        for place in places:
            saved(tmp_path / str(place.progress.epoch), place)
        good = {n * STEPS: integrity.verify(tmp_path / str(n), n * STEPS) for n in range(1, 6)}
        assert sorted(good.keys() - checkpoint.steps_to_prune(good, "recall@20")) == left, metrics
        shutil.rmtree(tmp_path / "all")
        for n in range(1, 6):
            shutil.rmtree(tmp_path / str(n))


def test_an_evaluation_that_comes_later_leaves_the_arrays_where_they_are(small, tmp_path):
    one = snapshot(small, 1, 0.5)
    saved(tmp_path, one)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    final = {"epoch": 1, "split": "test", "recall@20": 0.7}
    saved(tmp_path, one._replace(progress=dataclasses.replace(one.progress, final=final, final_best=True)))
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert [path.name for path in before if before[path] != after.get(path)] == ["metadata"]
    assert integrity.verify(tmp_path, STEPS)["progress"]["final"] == final


DAMAGED_RECORDS = {
    "nested": b"[" * 100_000,
    "list": b"[]",
    "text": b'{"commit_timestamp_nsecs": "x"}',
    "huge": b'{"commit_timestamp_nsecs": 1%040d}' % 0,
    "handlers": b'{"item_handlers": 3}',
    "cut": b"{",
    "empty": b"",
}


@pytest.mark.parametrize("content", DAMAGED_RECORDS.values(), ids=DAMAGED_RECORDS)
def test_a_damaged_record_of_orbax_s_keeps_no_run_from_saving(small, tmp_path, content):
    """It says when a checkpoint was saved. Nobody here asks, but Orbax reads it before it saves the next one."""
    one, two = (snapshot(small, epoch=epoch, metric=0.1 * epoch, seed=epoch) for epoch in (1, 2))
    saved(tmp_path, one)
    record = tmp_path / str(STEPS) / checkpoint.RECORD
    assert record.is_file()
    record.write_bytes(content)
    saved(tmp_path, two)
    assert integrity.checkpoint_steps(tmp_path) == [STEPS, 2 * STEPS]
    assert same_bits(read(tmp_path, 2 * STEPS, two).snapshot.state, two.state)
