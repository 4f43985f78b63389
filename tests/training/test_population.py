"""Each member of a population is its run alone: lines, places and failures."""

import threading

import jax
import numpy as np
import pytest

from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.errors import InputError
from lgcn_jax.training import loop, population_chunks, population_estimate
from lgcn_jax.training.members import Members
from lgcn_jax.training.population import build_population, compile_population, train_population
from lgcn_jax.training.population_chunks import equal_width
from lgcn_jax.training.population_state import PopulationListener, best_member_snapshot, member_snapshot
from lgcn_jax.training.population_steps import begin_epoch
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.step import epoch_key

WORLD = {
    **{"dataset": "synthetic", "num_users": 120, "num_items": 90, "num_interactions": 1500, "top_k": (5,)},
    **{"embedding_dim": 8, "batch_size": 256, "epochs": 4, "eval_every": 2},
}


class Lines(PopulationListener):
    """Keeps what is told; ends the members of `ends` after these epochs, and stops after `blocks`."""

    def __init__(self, ends=None, blocks=None):
        self.rows, self.saves, self._ends, self._blocks, self._epoch = {}, [], ends or {}, blocks, 0

    def log(self, number, row):
        self.rows.setdefault(number, []).append(row)
        self._epoch = row["epoch"]

    def limit_block(self, planned):
        return min(planned, 2)

    def progress(self, *place):
        if self._blocks:
            self._blocks -= 1

    def should_end_member(self, number):
        return self._ends.get(number) == self._epoch

    def save(self, snapshot, is_scheduled):
        self.saves.append((snapshot.epoch, snapshot.step, is_scheduled))

    def should_stop(self):
        return self._blocks == 0


class SoloLines(loop.Listener):
    """Keeps what a run tells, and ends it after an epoch."""

    def __init__(self, last=None):
        self.rows, self._last = [], last

    def log(self, row):
        self.rows.append(row)

    def should_stop(self):
        return self.rows[-1]["epoch"] == self._last if self.rows else False


def data_of(config):
    return datasets.load(config.data)


def trained(own, width=None, listener=None, **shared):
    members = Members.of(lambda each: Config.of(**WORLD | shared | each), own)
    whole, listener = build_population(members, data_of(members.base), width), listener or Lines()
    return whole, listener, train_population(whole, compile_population(whole), listener)


def require_alike(rows, expected):
    """Lines that are equal but for rounding, and for seconds."""
    assert len(rows) == len(expected)
    for row, solo in zip(rows, expected, strict=True):
        assert list(row) == list(solo)
        assert (row["epoch"], row["split"]) == (solo["epoch"], solo["split"])
        numbers = [name for name in row if name not in ("epoch", "split", "seconds")]
        np.testing.assert_allclose([row[n] for n in numbers], [solo[n] for n in numbers], rtol=2e-5, err_msg=str(row))


def require_solo(whole, listener, result, last=None):
    """Every member is its run alone."""
    for number, config in enumerate(whole.members.configs):
        alone, solo = build_setup(config, data_of(config)), SoloLines((last or {}).get(number))
        expected = loop.fit(alone, solo)
        require_alike(listener.rows[number], solo.rows)
        here = member_snapshot(whole, result.snapshot, number)
        found, table = whole.setup.table(here.state.params), expected.table
        np.testing.assert_allclose(found, table, rtol=0, atol=2e-6)
        assert (here.progress.epoch, here.progress.stale) == (
            expected.snapshot.progress.epoch,
            expected.snapshot.progress.stale,
        )
        best, told = best_member_snapshot(whole, result.snapshot, number), expected.snapshot.progress.best
        assert (best and best.progress.epoch) == (told and told["epoch"])


OF_BPR = [{"seed": 2, "l2": 0.1}, {"seed": 3, "learning_rate": 0.01, "init_std": 0.2}]
OF_ENHANCED = [{"margin": 0.5, "alpha": 0.3}, {"temperature": 0.1, "clip_norm": 0.05}]


@pytest.mark.parametrize(
    ("loss", "own", "layers"),
    [
        ("bpr", OF_BPR, 0),
        ("enhanced", OF_ENHANCED, 3),
        pytest.param("bpr", OF_BPR, 3, marks=pytest.mark.long),
        pytest.param("enhanced", OF_ENHANCED, 0, marks=pytest.mark.long),
    ],
)
def test_members_are_their_runs_alone(loss, own, layers):
    require_solo(*trained(own, loss=loss, num_layers=layers))


def test_members_end_by_patience_and_schedules_as_their_runs_alone():
    """By early stopping at other epochs, while the plateau schedule lowers each member's own rate."""
    plateau = {"plateau_factor": 0.5, "plateau_patience": 0, "early_stopping_patience": 2, "eval_every": 1}
    own = [{"seed": 2, "learning_rate": 0.02}, {"seed": 3, "learning_rate": 0.02}]
    found = trained(own, loss="bpr", epochs=8, **plateau)
    _, listener, result = found
    ends = {member.progress.epoch for member in result.snapshot.members}
    assert len(ends) > 1
    assert len({row["learning_rate"] for row in listener.rows[0] if row["split"] == "train"}) > 1
    require_solo(*found)


def test_a_member_that_is_asked_to_end_stays_as_it_is():
    last = {1: 1}
    whole, listener, result = trained([{"seed": 1}, {"seed": 2}], listener=Lines(ends=last), loss="bpr", num_layers=0)
    assert [member.status for member in result.snapshot.members] == ["completed", "interrupted"]
    assert result.status == "completed"
    require_solo(whole, listener, result, last)


def test_when_all_are_asked_to_end_the_population_ends():
    _, listener, result = trained(
        [{"seed": 1}, {"seed": 2}], listener=Lines(ends={0: 1, 1: 2}), loss="bpr", num_layers=0
    )
    assert result.status == "interrupted"
    assert (result.snapshot.epoch, listener.saves) == (2, [(2, 0, False)])


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_member_whose_numbers_go_bad_fails_alone():
    own = [{"seed": 1}, {"seed": 1, "learning_rate": 1e30}]
    whole, listener, result = trained(own, loss="bpr", num_layers=0, clip_norm=0.0)
    fine, failed = result.snapshot.members
    assert (result.status, fine.status, failed.status) == ("completed", "completed", "failed")
    assert "at epoch 1, step" in failed.error
    solo = SoloLines()
    loop.fit(build_setup(whole.members.configs[0], data_of(whole.members.base)), solo)
    require_alike(listener.rows[0], solo.rows)
    with pytest.raises(loop.NonFiniteError, match=failed.error.replace("(", r"\(")):
        loop.fit(build_setup(whole.members.configs[1], data_of(whole.members.base)))


def test_statistics_of_a_loss_are_each_members_own():
    own = [{"spread": 0.1, "seed": 1}, {"spread": 2.0, "seed": 1}]
    require_solo(*trained(own, loss="adap-tau", num_layers=1, assumed_epochs=1, epochs=3))


def test_the_renewal_of_statistics_is_time_of_the_epoch_that_it_begins():
    members = Members.of(lambda each: Config.of(**WORLD | {"loss": "adap-tau", "num_layers": 1} | each), [{"seed": 1}])
    population = build_population(members, data_of(members.base))
    ready = compile_population(population)
    (member,) = begin_epoch(population, ready.programs, ready.snapshot).members
    assert 0 < member.progress.epoch_seconds == member.progress.seconds


def test_noise_is_each_members_own():
    require_solo(*trained([{"seed": 1}, {"seed": 2}], loss="simgcl", num_layers=2, epochs=2))


def test_stopped_within_an_epoch_and_gone_on_with_it_is_the_same_population():
    """In two chunks, of which the second is filled up; its first member is its run alone."""
    own = [{"seed": 1}, {"seed": 2, "margin": 0.3}, {"seed": 3}]
    whole, listener, expected = trained(own, 2, num_layers=1)
    alone = loop.fit(build_setup(whole.members.configs[2], data_of(whole.members.base)))
    np.testing.assert_allclose(
        whole.setup.table(member_snapshot(whole, expected.snapshot, 2).state.params), alone.table, atol=2e-6
    )
    first = Lines(blocks=4)
    result = train_population(whole, compile_population(whole), first)
    assert result.status == "interrupted"
    assert 0 < result.snapshot.step < whole.setup.steps_per_epoch
    second = Lines()
    result = train_population(whole, compile_population(whole, result.snapshot), second)
    for number in range(3):
        tables = [
            whole.setup.table(member_snapshot(whole, r.snapshot, number).state.params) for r in (result, expected)
        ]
        np.testing.assert_array_equal(*tables)
        told = first.rows[number] + second.rows[number]
        assert [row["loss"] for row in told if "loss" in row] == [
            r["loss"] for r in listener.rows[number] if "loss" in r
        ]


def test_the_key_of_a_traced_seed_is_that_of_the_seed():
    seeds = np.array([0, 1, 2020, 2**31 - 1], np.uint32)
    found = jax.vmap(epoch_key, (0, None))(seeds, np.uint32(7))
    expected = [epoch_key(int(seed), np.uint32(7)) for seed in seeds]
    assert jax.random.key_data(found).tolist() == [jax.random.key_data(key).tolist() for key in expected]


def test_a_number_that_a_loss_looks_at_is_refused_by_name():
    own = [{"angular_margin": 0.1}, {"angular_margin": 0.2}]
    with pytest.raises(InputError, match="--angular_margin: found a setting that decides the compiled program"):
        trained(own, loss="bpr", score="cosine")


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        ({"mesh": "data:2"}, "--mesh: found data:2, expected one device"),
        ({"warm_start": "a"}, "--warm_start"),
        (
            {"inference_weights": "auto", "eval_split": "valid", "validation_fraction": 0.1},
            "--inference_weights: found auto",
        ),
    ],
)
def test_what_populations_do_not_have_is_refused(shared, said):
    with pytest.raises(InputError, match=said):
        trained([{"seed": 1}], **shared)


def test_chunks_have_one_width():
    assert [equal_width(members, 8) for members in (1, 8, 9, 16, 17)] == [1, 8, 5, 8, 6]


def test_chunks_fill_rounds_of_those_that_are_worked_on_at_the_same_time():
    assert [equal_width(members, 4, at_once=2) for members in (1, 2, 4, 9, 10, 16, 17)] == [1, 1, 2, 3, 3, 4, 3]


def test_chunks_at_the_same_time_are_those_one_after_the_other(monkeypatch):
    own, found = [{"seed": seed} for seed in range(3)], {}
    for at_once in (1, 3):
        monkeypatch.setattr(population_chunks, "chunks_at_once", lambda at_once=at_once: at_once)
        whole, listener, result = trained(own, width=1, loss="adap-tau", negatives="in-batch")
        tables = [member_snapshot(whole, result.snapshot, number).state for number in range(3)]
        found[at_once] = jax.device_get(tables), [[row | {"seconds": 0} for row in r] for r in listener.rows.values()]
    jax.tree.map(np.testing.assert_array_equal, *(tables for tables, _ in found.values()))
    assert found[1][1] == found[3][1]


def test_chunks_are_at_the_same_place_in_as_many_threads(monkeypatch):
    monkeypatch.setattr(population_chunks, "chunks_at_once", lambda: 3)
    together = threading.Barrier(3, timeout=60)

    def work(number):
        together.wait()
        return 2 * number

    assert population_chunks.map_chunks(work, [4, 0, 2]) == {4: 8, 0: 0, 2: 4}


def test_each_chunk_that_is_worked_on_holds_a_step_of_its_own(monkeypatch):
    members = Members.of(lambda each: Config.of(**WORLD | each), [{"seed": seed} for seed in range(6)])
    data, found = data_of(members.base), {}
    for at_once in (1, 2, 8):  # of three chunks
        monkeypatch.setattr(population_estimate, "chunks_at_once", lambda at_once=at_once: at_once)
        found[at_once] = population_estimate.memory_bytes(members, data, count=6, width=2)
    assert [found[each]["layer"] // found[1]["layer"] for each in found] == [1, 2, 3]
    assert len({(each["state"], each["layout"], each["program"]) for each in found.values()}) == 1


def test_what_goes_wrong_in_a_chunk_is_raised(monkeypatch):
    monkeypatch.setattr(population_chunks, "chunks_at_once", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        population_chunks.map_chunks(lambda number: 1 / number, [2, 1, 0])
