"""Whole processes: the same command twice, and killed at random moments, ends in the same bits."""

import dataclasses

import kill_test
import pytest

TRIAL = kill_test.Trial(
    (
        *("--dataset=synthetic", "--num_users=300", "--num_items=200", "--num_interactions=5000", "--top_k=5"),
        *("--num_layers=2", "--embedding_dim=8", "--batch_size=256", "--epochs=8", "--eval_every=2"),
        *("--save_every=1", "--plateau_factor=0.5", "--plateau_patience=0"),
        *("--eval_split=valid", "--validation_fraction=0.2", "--early_stopping_patience=3"),
    )
)


@pytest.fixture(scope="module")
def trial(tmp_path_factory, store) -> kill_test.Trial:
    """A run that keeps its programs, in a folder that no other test uses: a kill may cut off one of its files."""
    folder = store.lend(tmp_path_factory.mktemp("programs"))
    return dataclasses.replace(TRIAL, settings=(*TRIAL.settings, f"--compilation_cache={folder}"))


@pytest.fixture(scope="module")
def two(tmp_path_factory, trial) -> list[kill_test.Undisturbed]:
    """The outcomes of two processes with the same command; the second one takes its programs from the first.

    A test of --compilation_cache itself holds that this changes no bit.
    """
    return [kill_test.leave_alone(trial, tmp_path_factory.mktemp(name) / "run") for name in ("one", "two")]


def test_the_same_command_twice_gives_the_same_bits(two):
    assert two[0].outcome.differences(two[1].outcome) == []


def test_a_difference_of_one_bit_is_seen(two):
    whole = two[0].outcome
    name, content = next((name, content) for name, content in whole.arrays.items() if "table" in name)
    changed = dataclasses.replace(whole, arrays=whole.arrays | {name: bytes([content[0] ^ 1]) + content[1:]})
    assert whole.differences(changed) == ["arrays"]


@pytest.mark.long  # kills at moments of the clock mostly come while a run trains; those inside a save follow
@pytest.mark.parametrize("kills", [1, 4])
def test_killed_runs_end_as_the_one_left_alone(tmp_path, trial, two, kills):
    """The first one of them is killed again while it goes on."""
    same, moments = kill_test.survive(trial, tmp_path / "kill", kills, seed=1, alone=two[1])
    assert same == moments.total() == kills


def test_runs_killed_inside_a_save_a_rename_and_a_removal_end_as_the_one_left_alone(tmp_path, trial, two):
    same, moments = kill_test.survive(trial, tmp_path / "kill", kills=3, seed=2, mode="inside", alone=two[1])
    assert same == 3
    assert sorted(moment.split(",")[0] for moment in moments) == [
        "inside a removal",
        "inside a rename",
        "inside a save",
    ]
    assert any("and again" in moment for moment in moments)


@pytest.mark.long
def test_runs_of_two_processes_of_which_one_is_killed_end_as_the_one_left_alone(tmp_path):
    pair = kill_test.Pair(TRIAL.settings)
    same, moments = kill_test.survive(pair, tmp_path / "kill", kills=3, seed=3, mode="processes")
    assert same == moments.total() == 3
