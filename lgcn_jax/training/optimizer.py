"""Clipped Adam, and a plateau schedule that watches the evaluation metric instead of the training loss."""

import functools
from typing import NamedTuple

import jax
import numpy as np
import optax

from lgcn_jax.config import Config


class OptimizerState(NamedTuple):
    """State of clip and Adam, and of the plateau schedule, whose `scale` multiplies every update."""

    adam: optax.OptState
    plateau: optax.contrib.ReduceLROnPlateauState


class Optimizer(NamedTuple):
    """`optax.clip_by_global_norm` -> `optax.adam` -> plateau scale, as pure functions of their state."""

    adam: optax.GradientTransformation
    plateau: optax.GradientTransformationExtraArgs | None

    def init(self, params) -> OptimizerState:
        return OptimizerState(self.adam.init(params), _plateau_init(params))

    def update(self, gradients, state: OptimizerState, params):
        """One step: the updates to add to `params` and the next state. The plateau's state is only read."""
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integer counts and floats
            updates, adam = self.adam.update(gradients, state.adam, params)
        updates = jax.tree.map(lambda u: state.plateau.scale.astype(u.dtype) * u, updates)
        return updates, state._replace(adam=adam)

    def observe(self, state: OptimizerState, metric: float) -> OptimizerState:
        """The state after an evaluation found `metric` (higher is better, at most 1).

        optax's schedule follows falling values and counts the update at which patience ends, PyTorch's the first one
        past it: hence `1 - metric`, and one more than the patience asked for.
        """
        if self.plateau is None:
            return state
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integer counts and floats
            best = state.plateau.best_value
            value = jax.device_put(np.asarray(1 - metric, best.dtype), best.sharding)
            _, plateau = self.plateau.update({}, state.plateau, value=value)
        return state._replace(plateau=plateau)


def _plateau_init(params):
    # The state's form does not depend on the schedule's settings; a schedule that is off keeps scale 1.
    return optax.contrib.reduce_on_plateau().init(params)


@functools.cache  # an evaluation asks for it again, and must not compile the schedule's update again
def build(config: Config) -> Optimizer:
    """The optimizer that the configuration asks for."""
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    adam = optax.chain(clip, optax.adam(config.learning_rate))
    if config.plateau_factor == 1:
        return Optimizer(adam, None)
    plateau = optax.contrib.reduce_on_plateau(
        factor=config.plateau_factor,
        patience=config.plateau_patience + 1,
        min_scale=config.plateau_min_lr / config.learning_rate,
    )
    return Optimizer(adam, plateau._replace(update=jax.jit(plateau.update)))


def learning_rate(config: Config, state: OptimizerState) -> float:
    """Host: the step size in force, Adam's times the plateau's scale, as the device multiplies them."""
    scale = jax.device_get(state.plateau.scale)
    return float(scale.dtype.type(config.learning_rate) * scale)
