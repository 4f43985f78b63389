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
def programs(tmp_path_factory):
    """Where the programs of TRIAL lie, once `two` has compiled them."""
    return tmp_path_factory.mktemp("kill") / "programs"


@pytest.fixture(scope="module")
def two(tmp_path_factory, programs) -> list[kill_test.Outcome]:
    """The outcomes of two processes with the same command; the second one takes its programs from the first."""
    folders = [tmp_path_factory.mktemp(name) / "run" for name in ("one", "two")]
    for folder in folders:
        dataclasses.replace(TRIAL, settings=(*TRIAL.settings, f"--compilation_cache={programs}")).finish(folder)
    return [kill_test.Outcome.of(folder) for folder in folders]


def test_the_same_command_twice_gives_the_same_bits(two):
    assert two[0].differences(two[1]) == []


def test_a_difference_of_one_bit_is_seen(two):
    name, content = next((name, content) for name, content in two[0].arrays.items() if "table" in name)
    changed = dataclasses.replace(two[0], arrays=two[0].arrays | {name: bytes([content[0] ^ 1]) + content[1:]})
    assert two[0].differences(changed) == ["arrays"]


@pytest.mark.usefixtures("two")
def test_killed_runs_end_as_the_one_left_alone(tmp_path, programs):
    same, moments = kill_test.survive(TRIAL, tmp_path / "kill", kills=2, seed=1, programs=programs)
    assert same == moments.total() == 2


@pytest.mark.usefixtures("two")
def test_runs_killed_inside_a_save_a_rename_and_a_removal_end_as_the_one_left_alone(tmp_path, programs):
    same, moments = kill_test.survive(TRIAL, tmp_path / "kill", kills=3, seed=2, mode="inside", programs=programs)
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
