"""What tests of the study share: a tiny experiment in place of a real one, and what the runner makes of it."""

from pathlib import Path

import parts
import pytest
import run
from programs import call


@pytest.fixture(scope="module")
def tiny(request) -> parts.Experiment:
    """The experiment TINY of the test's module, in place of that of its name."""
    experiment = request.module.TINY
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(parts.EXPERIMENTS, experiment.name, experiment)
        yield experiment


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory, compiled_once) -> Path:
    """The folder that the runner filled, of two conditions with two seeds."""
    folder = tmp_path_factory.mktemp("results")
    call(run, tiny.name, f"--results={folder}")
    return folder
