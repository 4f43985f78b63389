"""What members may differ in, and what is said of those that may not."""

import jax
import jax.numpy as jnp
import pytest

from lgcn_jax.config import Config
from lgcn_jax.errors import InputError
from lgcn_jax.training.members import Members, settings_that_may_differ, with_traced_settings


def members(*own, **shared):
    return Members.of(lambda each: Config.of(**shared | each), own)


def test_settings_that_only_some_state_are_there_for_all():
    made = members({"seed": 1}, {"margin": 0.1, "seed": 2}, {"margin": 1})
    assert made.settings == ({"seed": 1, "margin": 0.05}, {"seed": 2, "margin": 0.1}, {"seed": 2020, "margin": 1.0})
    assert type(made.configs[2].loss.margin) is float  # as of a flag, in config.json as well


def test_values_are_of_what_differs_and_of_the_seeds():
    values = members(
        {"seed": 1, "margin": 0.1, "alpha": 0.5}, {"seed": 1, "margin": 0.2, "alpha": 0.5}
    ).traced_settings()
    assert {name: value.tolist() for name, value in values.items()} == {
        "seed": [1, 1],
        "margin": [pytest.approx(0.1), pytest.approx(0.2)],
    }
    assert (values["seed"].dtype, values["margin"].dtype) == ("uint32", "float32")


def test_the_numbers_of_loss_optimizer_and_start_may_differ():
    assert {"seed", "init_std", "learning_rate", "clip_norm", "l2", "margin", "temperature"} <= set(
        settings_that_may_differ()
    )
    assert not {"num_layers", "batch_size", "loss", "epochs", "num_negatives", "plateau_factor"} & set(
        settings_that_may_differ()
    )


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ([], "--population: found no member"),
        ([{"seed": 1}, {"seed": 1}], "members 0 and 1 alike (seed=1)"),
        ([{"margin": 0.05}, {"seed": 2020}], "members 0 and 1 alike (margin=0.05, seed=2020)"),
        (
            [{"seed": 1}, {"margn": 1}],
            "member 1: found 'margn', expected a setting that there is (did you mean --margin",
        ),
        ([{"num_layers": 1}], "member 0: --num_layers: found a setting that decides the compiled program"),
        ([{"seed": 1}, {"margin": "0.1"}], "member 1: --margin: found '0.1', expected a number"),
        ([{"margin": None}], "member 0: --margin: found None, expected a number"),
        ([{"margin": True}], "member 0: --margin: found True, expected a number"),
        ([{"temperature": 0.1}, {"temperature": -1}], "member 1: --temperature: found -1.0, expected a number above 0"),
        ([{"margin": float("nan")}], "member 0: --margin: found nan"),
        ([{"seed": -1}], "member 0: --seed: found -1"),
        ([{"seed": 1.5}], "member 0: --seed: found 1.5"),
        ([{"clip_norm": 1}, {"clip_norm": 0}], "member 1: --clip_norm: found 0, no clipping"),
        ([{"spread": 1}], "member 0: --spread: found 1.0, expected nothing with --loss=enhanced"),
    ],
)
def test_what_cannot_be_is_refused_by_name(own, said):
    with pytest.raises(InputError) as caught:
        members(*own)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_setting_without_effect_is_refused():
    with pytest.raises(InputError, match="--init_std: found a setting without effect here"):
        members({"init_std": 0.1}, {"init_std": 0.2}, init="xavier")


def test_traced_numbers_stand_in_place_of_those_of_the_settings():
    config = Config.of(loss="enhanced", alpha=0.7)

    def total(margin, rate):
        traced = with_traced_settings(config, {"margin": margin, "learning_rate": rate})
        assert traced.loss.alpha == 0.7
        assert traced.to_dict()["loss"] == "enhanced"
        return traced.loss.margin + traced.optimizer.learning_rate

    assert jax.jit(total)(jnp.float32(0.5), jnp.float32(2.0)) == 2.5
    assert (config.loss.margin, config.optimizer.learning_rate) == (0.05, 0.001)  # as they were
