"""A world, and a model that trains in no time."""

from pathlib import Path

import pytest
from quick_model import QuickModel

import lgcn_jax as lg
from lgcn_jax.errors import InputError
from lgcn_jax.searching import keeping, trials
from lgcn_jax.serving import storage


@pytest.fixture(scope="session")
def world():
    return lg.load("synthetic", validation_fraction=0.2, num_users=60, num_items=40, num_interactions=700)


@pytest.fixture
def quick(monkeypatch):
    """Trials are trained in no time; what is fitted is listed."""

    def loaded(folder, interactions=None):
        model = QuickModel()
        model.value = float((Path(folder) / storage.FACTS).read_text())
        return model

    def no_population(*arguments, **stated):
        raise InputError("members", "models that are none", "those of this package")

    monkeypatch.setattr(trials, "Model", QuickModel)
    monkeypatch.setattr(trials, "fit_population", no_population)
    monkeypatch.setattr(keeping.loading, "load_model", loaded)
    monkeypatch.setattr(QuickModel, "fitted", [])
    return QuickModel
