"""Traced steps: what is written, what it holds, and that the run is the one without a trace."""

import pytest

from lgcn_jax.data import datasets
from lgcn_jax.devices import profile
from lgcn_jax.devices.profile import STEPS, Profile
from lgcn_jax.errors import WriteError
from lgcn_jax.training import loop
from lgcn_jax.training.setup import Setup, build_setup


class Traced(loop.Listener):
    """Lets a profile decide on the blocks, and notes where they end."""

    def __init__(self, profile):
        self.profile, self.ends = profile, []

    def limit_block(self, planned):
        return self.profile.begin_block(planned)

    def progress(self, epoch, step, steps, loss):
        self.profile.end_block()
        self.ends.append((epoch, step))


def annotations(folder) -> list[dict]:
    """What the trace in `folder` says of its blocks."""
    assert len(list(folder.rglob("*.xplane.pb"))) == 1  # for XProf
    return [event.stats for event in profile.read_trace_events(folder) if event.name == "block"]


@pytest.fixture
def setup(small) -> Setup:
    return build_setup(small.replace(epochs=2), datasets.load(small.data))


def digest(result) -> str:
    return result.to_json()["parameters_sha256"]


def test_the_second_block_is_traced_and_no_bit_changes(setup, tmp_path):
    with Profile(tmp_path / "profile") as traced:
        listener = Traced(traced)
        found = loop.fit(setup, listener)
    assert listener.ends[:2] == [(1, 1), (1, 1 + STEPS)]
    assert traced.steps == STEPS
    assert annotations(tmp_path / "profile") == [{"steps": str(STEPS)}]
    assert list((tmp_path / "profile").rglob("*.trace.json.gz"))
    assert f"{STEPS} steps" in traced.summary()
    assert digest(found) == digest(loop.fit(setup))


def test_without_a_folder_nothing_is_traced(tmp_path):
    with Profile(None) as profile:
        assert [profile.begin_block(100) for _ in range(3)] == [100, 100, 100]
    assert profile.steps == 0


def test_a_single_block_is_not_traced_and_told_so(tmp_path):
    with Profile(tmp_path / "profile") as profile:
        assert profile.begin_block(3) == 3
        profile.end_block()
    assert "nothing was traced" in profile.summary()
    assert not (tmp_path / "profile").exists()


def test_a_trace_that_is_cut_off_by_an_error_is_closed(tmp_path):
    def fail():
        with Profile(tmp_path / "profile") as profile:
            profile.begin_block(100)
            profile.begin_block(100)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with Profile(tmp_path / "again") as profile:  # JAX has one trace at a time
        profile.begin_block(1)
        profile.begin_block(1)
    assert annotations(tmp_path / "again") == [{"steps": "1"}]


def test_a_trace_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "file").write_text("")
    with Profile(tmp_path / "file" / "profile") as profile:
        profile.begin_block(2)
        with pytest.raises(WriteError, match=r"the trace in .*file/profile"):
            profile.begin_block(2)
