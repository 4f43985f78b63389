"""Clipped Adam against its formulas, and the plateau schedule against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from lgcn_jax.config import Config
from lgcn_jax.devices.mesh import WHOLE, Mesh
from lgcn_jax.errors import InputError

RISING = [0.01 * n for n in range(1, 40)]
FALLING = RISING[::-1]
NOISY = [0.2 + 0.1 * ((n * 7919) % 13) / 13 for n in range(40)]
LATE = [0.1] * 12 + [0.2] * 3 + [0.3] + [0.25] * 20
GAPS = [float("nan") if n % 4 == 1 else value for n, value in enumerate(NOISY)]
SEQUENCES = {
    "rising": RISING,
    "falling": FALLING,
    "noisy": NOISY,
    "constant": [0.3] * 40,
    "late": LATE,
    "with NaN": GAPS,
    "NaN alone": [float("nan")] * 20,
    "perfect": [1.0] * 20,
    "barely rising": [0.5 * (1 + 0.7e-5 * n) for n in range(40)],
}


def ours(config: Config, sequence) -> list[float]:
    """The learning rate after each observation."""
    schedule = config.build_optimizer()
    state = schedule.init({"table": jnp.zeros((2, 2))})
    rates = []
    for metric in sequence:
        state = schedule.observe(state, metric)
        rates.append(float(schedule.current_learning_rate(state)))
    return rates


def pytorch(config: Config, sequence) -> list[float]:
    adam = torch.optim.Adam([torch.zeros(2, requires_grad=True)], lr=config.optimizer.learning_rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        adam,
        "min",
        factor=config.schedule.plateau_factor,
        patience=config.schedule.plateau_patience,
        min_lr=config.schedule.plateau_min_lr,
    )
    rates = []
    for metric in sequence:
        schedule.step(1 - metric)
        rates.append(adam.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("patience", [0, 1, 3, 10])
@pytest.mark.parametrize("name", SEQUENCES)
def test_the_schedule_reduces_where_pytorchs_does(name, patience):
    config = Config.of(plateau_factor=0.5, plateau_patience=patience, learning_rate=1e-2)
    # PyTorch leaves a rate alone that would fall by less than 1e-8; the schedule here goes on down.
    expected = [rate for rate in pytorch(config, SEQUENCES[name]) if rate > 2e-8]
    np.testing.assert_allclose(ours(config, SEQUENCES[name])[: len(expected)], expected, rtol=1e-6)


def test_the_rate_does_not_fall_below_its_floor():
    config = Config.of(plateau_factor=0.1, plateau_patience=0, plateau_min_lr=3e-4)
    expected = pytorch(config, [0.5] * 10)
    assert expected[-1] == 3e-4
    np.testing.assert_allclose(ours(config, [0.5] * 10), expected, rtol=1e-6)


def test_a_schedule_that_is_off_keeps_the_rate():
    assert ours(Config.of(), FALLING) == pytest.approx([1e-3] * len(FALLING))


def test_a_reduced_rate_scales_the_update():
    config = Config.of(plateau_factor=0.25, plateau_patience=0)
    schedule = config.build_optimizer()
    params, gradients = {"table": jnp.ones((3, 2))}, {"table": jnp.full((3, 2), 0.1)}
    fresh = schedule.init(params)
    reduced = schedule.observe(schedule.observe(fresh, 0.5), 0.5)
    full, _ = schedule.update(gradients, fresh, params)
    scaled, _ = schedule.update(gradients, reduced, params)
    np.testing.assert_allclose(scaled["table"], 0.25 * full["table"], rtol=1e-6)


def test_the_gradient_is_clipped_by_its_global_norm():
    config = Config.of(clip_norm=0.5)
    schedule = config.build_optimizer()
    params = {"table": jnp.zeros((2, 2))}
    long = {"table": jnp.asarray([[3.0, 0.0], [0.0, 4.0]])}  # norm 5, cut to .5: a tenth of it
    _, clipped = schedule.update(long, schedule.init(params), params)
    moment = clipped.adam[1][0].mu["table"]  # Adam's first moment is .1 of the gradient after one step
    np.testing.assert_allclose(moment, 0.1 * long["table"] / 10, rtol=1e-6)


def test_clipping_is_off_at_0():
    schedule = Config.of(clip_norm=0.0).build_optimizer()
    params, long = {"table": jnp.zeros(3)}, {"table": jnp.full(3, 1e3)}
    _, state = schedule.update(long, schedule.init(params), params)
    np.testing.assert_allclose(state.adam[1][0].mu["table"], 0.1 * 1e3, rtol=1e-6)


def test_the_first_step_of_adam_is_the_learning_rate_against_the_gradient():
    schedule = Config.of(learning_rate=0.01).build_optimizer()
    params, gradients = {"table": jnp.zeros(3)}, {"table": jnp.asarray([0.2, -0.3, 0.0])}
    updates, _ = schedule.update(gradients, schedule.init(params), params)
    np.testing.assert_allclose(updates["table"], [-0.01, 0.01, 0.0], rtol=1e-5)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_the_states_types_do_not_change(factor):
    schedule = Config.of(plateau_factor=factor).build_optimizer()
    params = {"table": jnp.ones((3, 2))}
    before = schedule.init(params)
    _, after = schedule.update(params, before, params)
    after = schedule.observe(after, 0.1)
    shape = jax.eval_shape(lambda state: state, before)
    assert shape == jax.eval_shape(lambda state: state, after)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_state_and_updates_have_the_dtype_of_the_table(dtype):
    schedule = Config.of(plateau_factor=0.5).build_optimizer()
    with jax.enable_x64(True):
        params = {"table": jnp.ones((3, 2), dtype)}
        state = schedule.observe(schedule.init(params), 0.1)
        updates, _ = schedule.update(params, state, params)
        assert updates["table"].dtype == state.plateau.scale.dtype == state.plateau.best_value.dtype == dtype


def test_an_observation_is_put_where_the_state_is():
    """Nothing is moved between devices that the program does not name."""
    schedule = Config.of(plateau_factor=0.5).build_optimizer()
    everywhere = Mesh.of("nodes:2").sharding(WHOLE)
    state = jax.device_put(schedule.init({"table": jnp.ones((3, 2))}), everywhere)
    with jax.transfer_guard("disallow"):
        after = schedule.observe(state, 0.1)
    assert after.plateau.best_value.sharding.is_equivalent_to(everywhere, 0)


def test_the_longest_patience_is_one_that_its_counter_holds():
    config = Config.of(plateau_factor=0.5, plateau_patience=2**31 - 2)
    assert ours(config, FALLING[:3]) == pytest.approx([1e-3] * 3)
    with pytest.raises(InputError, match="--plateau_patience"):
        Config.of(plateau_patience=2**31 - 1)
