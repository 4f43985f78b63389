"""Runs with in-batch and shared negatives: a golden step, devices, resume, settings that do not go together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.errors import InputError
from lgcn_jax.training import loop
from lgcn_jax.training.setup import build_setup
from lgcn_jax.training.state import table_on_host
from lgcn_jax.training.step import make_train_step, named_key

SETTINGS = {
    "ssm": {"loss": "ssm"},
    "sl": {"loss": "ssm", "keep_positive": False, "mask_duplicates": True},
    "shared": {"loss": "ssm", "negatives": "shared", "num_shared": 64},
    "both": {"loss": "ssm", "negatives": "shared", "num_shared": 64, "in_batch": True, "logq": True},
    "bsl": {"loss": "bsl", "logq": True},
}


@pytest.fixture
def config(small) -> Config:
    return small.replace(sampler="edge", init="xavier", num_layers=1, epochs=3, learning_rate=0.01)


# Loss, its term, the penalty, norm of the gradient and the sum of the table's magnitudes; see test_training.py.
GOLDEN = [6.49646044, 6.49644804, 0.123948865, 2.18750334, 602.903625]


def test_one_step_gives_the_golden_numbers(config):
    setup = build_setup(config.replace(loss="ssm"), datasets.load(config.data))
    step = make_train_step(setup.config, setup.graphdef(), setup.num_users)
    key = jax.random.fold_in(named_key(config.training.seed, "data"), 1)
    drawn = setup.sampler.draw(key, jnp.int32(0), config.training.batch_size)
    state, metrics = jax.jit(step)(setup.init_state(), setup.adjacency, drawn)
    names = ("loss", "loss_softmax", "loss_l2", "grad_norm")
    found = [*(float(metrics[name]) for name in names), float(np.abs(table_on_host(state.params)).sum())]
    assert found == pytest.approx(GOLDEN, rel=1e-5)


# Of the meshes of `data` alone `both` has all that the others have.
ON_DATA = [pytest.param(name, "data:4", marks=() if name == "both" else pytest.mark.long) for name in SETTINGS]


@pytest.mark.parametrize(("name", "mesh"), [*ON_DATA, *((name, "data:2,nodes:2") for name in SETTINGS)])
def test_several_devices_give_what_one_gives(config, name, mesh):
    config = config.replace(epochs=1, **SETTINGS[name])
    data = datasets.load(config.data)
    one, more = (loop.fit(build_setup(each, data)).table for each in (config, config.replace(mesh=mesh)))
    np.testing.assert_allclose(one, more, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_goes_on_bit_for_bit(config, name):
    config = config.replace(**SETTINGS[name])
    data = datasets.load(config.data)
    whole = loop.fit(build_setup(config, data))
    half = loop.fit(build_setup(config.replace(epochs=1), data))
    goes_on = loop.fit(build_setup(config, data), start=half.snapshot)
    assert goes_on.to_json()["parameters_sha256"] == whole.to_json()["parameters_sha256"]


def test_the_loss_chooses_the_negatives_unless_they_are_stated():
    assert Config.of(loss="ssm").to_dict()["negatives"] == "in-batch"
    assert Config.of(loss="ssm", negatives="shared").to_dict()["negatives"] == "shared"
    assert Config.of(loss="bpr").to_dict()["negatives"] == "uniform"
    assert Config.of(loss="bpr").replace(loss="ssm").to_dict()["negatives"] == "in-batch"
    assert Config.of(loss="ssm").replace(loss="bpr").to_dict()["negatives"] == "uniform"
    assert Config.of(loss="ssm", negatives="shared").replace(loss="bpr").to_dict()["negatives"] == "shared"
    assert Config.of(loss="ssm").replace(loss="bpr", negatives="in-batch").to_dict()["negatives"] == "in-batch"


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"loss": "ssm", "batch_size": 1}, r"--batch_size: found 1 with in-batch negatives, expected at least 2"),
        ({"loss": "bpr", "negatives": "in-batch", "batch_size": 1}, r"--batch_size: found 1 with in-batch"),
        ({"loss": "ssm", "negatives": "uniform", "logq": True}, r"--logq: found true with --negatives=uniform, expec"),
        ({"loss": "ssm", "score": "angle"}, r"--score: found angle, expected one of cosine, dot"),
        ({"loss": "bpr", "logq": True}, r"--logq: found True, expected nothing with --loss=bpr"),
        ({"loss": "ssm", "num_shared": 3}, r"--num_shared: found 3, expected nothing with --negatives=in-batch, which"),
        ({"loss": "bsl", "ratio": 0.0}, r"--ratio: found 0.0, expected a number above 0"),
        ({"init": "zeros"}, r"--init: found zeros, expected one of normal, xavier"),
    ],
)
def test_what_does_not_go_together_is_refused(stated, message):
    with pytest.raises(InputError, match=message):
        Config.of(**stated)
