"""The trials of a study: lost ones are drawn again, and none is begun that is not left."""

import json

import pytest

from lgcn_jax.errors import InputError
from lgcn_jax.searching import storages
from lgcn_jax.searching.space import Space
from lgcn_jax.searching.study import FACTS, open_study

SPACE = Space.of(
    {"learning_rate": {"low": 1e-3, "high": 1, "log": True}, "num_layers": [1, 2]},
    {"dataset": "synthetic", "eval_split": "valid"},
)


def opened(path, seed=1):
    return open_study(path, SPACE, SPACE.facts() | {"content_sha256": "a"}, seed, epochs=8, prunes=True)


def settings(asked) -> list:
    return [SPACE.pick_searched(each.settings) for each in asked]


def states(study) -> list[str]:
    return [trial.state.name for trial in study.all_trials()]


@pytest.mark.parametrize("name", ["a.log", "a.db"])
def test_trials_of_a_worker_that_is_gone_are_drawn_again(tmp_path, name):
    """The first one is over, the second and third were in hand; the numbers of lost trials are not used again."""
    with opened(tmp_path / name) as study:
        lost = study.claim(3, 9)
        study.complete(lost[0].trial, 0.5, {"ended": "completed"})
    with opened(tmp_path / name) as study:
        again = study.claim(3, 9)
        assert states(study) == ["COMPLETE", "FAIL", "FAIL", "RUNNING", "RUNNING", "RUNNING"]
        assert settings(again)[:1] == settings(lost)[1:2]  # drawn of the same number, though now one trial is known
        assert len({str(each) for each in settings(again)}) == 3


def test_no_more_are_begun_than_are_left_whoever_has_them_in_hand(tmp_path):
    with opened(tmp_path / "a.log") as first, opened(tmp_path / "a.log") as second:
        assert len(first.claim(3, 5)) == 3
        asked = second.claim(4, 5)
        assert len(asked) == 2
        assert first.claim(1, 5) == second.claim(1, 5) == []
        assert first.num_running() == 5
        second.fail(asked[0].trial)
        assert len(first.claim(4, 5)) == 1
        second.prune(asked[1].trial, {})
        assert first.claim(4, 5) == []


def test_two_workers_draw_what_one_would(tmp_path):
    with opened(None) as alone:
        expected = settings(alone.claim(4, 9))
    with opened(tmp_path / "a.log") as first, opened(tmp_path / "a.log") as second:
        found = [each for study in (first, second, second, first) for each in study.claim(1, 9)]
    assert settings(found) == expected


def test_a_trial_that_was_lost_between_two_writes_is_one_of_nobody(tmp_path):
    with opened(tmp_path / "a.log") as study, storages.quiet_optuna():
        study._study.ask()
        assert len(study.claim(2, 2)) == 2
        assert states(study) == ["FAIL", "RUNNING", "RUNNING"]


def test_the_best_is_the_highest_of_those_that_are_completed_the_first_of_equals(tmp_path):
    with opened(None) as study:
        asked = [each.trial for each in study.claim(4, 4)]
        study.complete(asked[1], 0.5, {})
        study.complete(asked[0], 0.3, {})
        study.complete(asked[2], 0.5, {})
        study.report(asked[3], 0.9, 2)
        study.prune(asked[3], {})
        assert [trial.number for trial in study.completed_trials()] == [1, 2, 0]
        assert len(study.finished_trials()) == 4


def test_importance_waits_for_eight_trials():
    with opened(None) as study:
        for number, each in enumerate(study.claim(8, 8)):
            assert study.importance() == {}
            study.complete(each.trial, each.settings["learning_rate"] + number / 1e6, {})
        found = study.importance()
    assert list(found) == ["learning_rate", "num_layers"]
    assert sum(found.values()) == pytest.approx(1)


def test_a_study_without_what_it_was_begun_with_is_refused(tmp_path):
    with opened(tmp_path / "a.log") as study:
        study.claim(1, 1)
    content = (tmp_path / "a.log").read_text().splitlines()
    kept = [line for line in content if FACTS not in json.loads(line).get("user_attr", {})]
    (tmp_path / "a.log").write_text("\n".join([*kept, ""]))
    with pytest.raises(InputError, match="found a study that is none of this version"), opened(tmp_path / "a.log"):
        pass


def test_one_that_was_killed_before_it_noted_what_it_is_can_be_taken(tmp_path):
    with opened(tmp_path / "a.log"):
        pass
    content = (tmp_path / "a.log").read_text().splitlines()
    (tmp_path / "a.log").write_text("\n".join([line for line in content if '"user_attr"' not in line] + [""]))
    with opened(tmp_path / "a.log") as study:
        assert len(study.claim(1, 1)) == 1
