"""The cosine schedule: its curve, and runs that are stopped and lengthened."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.devices.mesh import WHOLE, Mesh
from lgcn_jax.errors import InputError
from lgcn_jax.optimization import Cosine
from lgcn_jax.training import loop
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.state import table_sha256

COSINE = {"schedule": "cosine", "decay_epochs": 3, "final_fraction": 0.2, "warmup_epochs": 1}
MIDDLES = (1 / 6, 3 / 6, 5 / 6)  # of the three epochs of the descent
EXPECTED = [0.5, *(0.2 + 0.8 * (1 + np.cos(np.pi * t)) / 2 for t in MIDDLES), 0.2, 0.2]


class Rates(loop.Listener):
    """Notes the learning rate of each epoch."""

    def __init__(self):
        self.rates = []

    def log(self, row):
        if row["split"] == "train":
            self.rates.append(row["learning_rate"])


class Impatient(Rates):
    """Stops the run after every block, each of five steps."""

    def limit_block(self, planned):
        return 5

    def should_stop(self):
        return True


@pytest.fixture
def setup(small):
    config = small.replace(**COSINE, epochs=6, eval_split="none", learning_rate=0.01, batch_size=1000)
    return build_setup(config, datasets.load(config.data))


def test_the_scale_is_that_of_the_epochs_middle():
    schedule = Config.of(**COSINE).schedule
    np.testing.assert_allclose([schedule.scale_in(epoch) for epoch in range(1, 7)], EXPECTED, rtol=1e-12)
    risen = [Cosine(warmup_epochs=4).scale_in(epoch) for epoch in range(1, 5)]
    np.testing.assert_allclose(risen, [1 / 8, 3 / 8, 5 / 8, 7 / 8], rtol=1e-12)


def test_the_scale_multiplies_every_update():
    optimizer = Config.of(**COSINE).build_optimizer()
    params, gradients = {"table": jnp.ones((3, 2))}, {"table": jnp.full((3, 2), 0.1)}
    state = optimizer.init(params)
    full, _ = optimizer.update(gradients, state, params)
    scaled, _ = optimizer.update(gradients, optimizer.begin_epoch(state, 6), params)
    np.testing.assert_allclose(scaled["table"], 0.2 * full["table"], rtol=1e-6)


def test_a_run_reports_the_rates_of_the_curve(setup):
    """And an epoch's beginning moves nothing that it does not name."""
    listener, (here, programs, _) = Rates(), loop.compile_run(setup)
    with jax.transfer_guard("disallow"):
        for _ in EXPECTED:
            here = loop.train_epoch(setup, programs, here, listener)
    np.testing.assert_allclose(listener.rates, 0.01 * np.asarray(EXPECTED), rtol=1e-6)


def test_a_run_that_is_stopped_and_lengthened_is_the_long_run_bit_for_bit(setup):
    """Stopped after every five steps, and said to have three epochs until these are done."""
    whole = loop.fit(setup)
    shorter, listener = dataclasses.replace(setup, config=setup.config.replace(epochs=3)), Impatient()
    here = loop.fit(shorter, listener).snapshot
    for run in (shorter, setup):
        while not loop.is_finished(run.config, here.progress):
            here = loop.fit(run, listener, here).snapshot
    assert setup.steps_per_epoch == 5
    assert len(listener.rates) == 6
    assert table_sha256(setup.table(here.state.params)) == table_sha256(whole.table)
    assert all(later < sooner for sooner, later in itertools.pairwise(listener.rates[1:5]))


def test_the_scale_is_put_where_the_state_is():
    optimizer, everywhere = Config.of(**COSINE).build_optimizer(), Mesh.of("nodes:2").sharding(WHOLE)
    state = jax.device_put(optimizer.init({"table": jnp.ones((3, 2))}), everywhere)
    after = optimizer.begin_epoch(state, 2)
    assert after.plateau.scale.sharding.is_equivalent_to(everywhere, 0)
    shapes = (jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), each) for each in (state, after))
    assert next(shapes) == next(shapes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay_epochs": 0}, "--decay_epochs"),
        ({"final_fraction": 1.5}, "--final_fraction"),
        ({"warmup_epochs": -1}, "--warmup_epochs"),
        ({"plateau_factor": 0.5}, "nothing with --schedule=cosine"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Config.of(**{"schedule": "cosine"} | settings)
    with pytest.raises(InputError, match="nothing with --schedule=plateau"):
        Config.of(decay_epochs=3)
