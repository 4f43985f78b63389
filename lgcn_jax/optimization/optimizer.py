"""Clipped Adam, and a schedule that counts epochs or observes the evaluations, as pure functions of their state."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np
import optax

from lgcn_jax.settings import Settings, real


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam(Settings):
    """Adam after clipping by the global norm."""

    learning_rate: float = real(1e-3, "Adam's step size", lambda v: v > 0, "a number above 0")
    clip_norm: float = real(
        1.0, "largest global norm of the gradient; 0: no clipping", lambda v: v >= 0, "a number of at least 0"
    )

    def transform(self) -> optax.GradientTransformation:
        """`optax.clip_by_global_norm` -> `optax.adam`. Numbers may be traced ones; such a norm is above 0."""
        clips = isinstance(self.clip_norm, jax.Array) or self.clip_norm > 0
        clip = optax.clip_by_global_norm(self.clip_norm) if clips else optax.identity()
        return optax.chain(clip, optax.adam(self.learning_rate))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule(Settings):
    """Base of the schedules of the learning rate, which multiply every update with a scale; this one keeps 1."""

    def observed_metric(self, metrics: tuple[str, ...], watched: str) -> str | None:
        """Which of a run's metrics it observes, of which `watched` chooses the best epoch; None: none.

        Raises:
          InputError: it is to observe one that the run does not have.
        """
        del metrics, watched
        return None

    def validate(self, learning_rate: float) -> None:
        """Raises an InputError where the schedule does not go with the learning rate."""

    def transform(self, learning_rate: float) -> optax.GradientTransformationExtraArgs | None:
        """What observes 1 - metric, with a state like that of `optax.contrib.reduce_on_plateau`; None: never."""
        del learning_rate
        return None

    def scale_in(self, epoch: int) -> float | None:
        """What every update of `epoch` (from 1) is multiplied with; None: what the evaluations have made of it."""
        del epoch
        return None

    def ignored_settings(self) -> dict[str, str]:
        """The settings that others leave without effect, each with what would give it one."""
        return {}


class OptimizerState(NamedTuple):
    """State of clip and Adam, and of optax's plateau schedule, whose `scale` multiplies every update."""

    adam: optax.OptState
    plateau: optax.contrib.ReduceLROnPlateauState


class Optimizer(NamedTuple):
    """clip -> Adam -> scale of the schedule, as pure functions of their state."""

    adam: optax.GradientTransformation
    plateau: optax.GradientTransformationExtraArgs | None
    learning_rate: float
    schedule: Schedule

    def init(self, params) -> OptimizerState:
        """The state before the first step."""
        return OptimizerState(self.adam.init(params), _plateau_init(params))

    def update(self, gradients, state: OptimizerState, params):
        """One step: the updates to add to `params` and the next state. The schedule's state is only read."""
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integer counts and floats
            updates, adam = self.adam.update(gradients, state.adam, params)
        updates = jax.tree.map(lambda u: state.plateau.scale.astype(u.dtype) * u, updates)
        return updates, state._replace(adam=adam)

    def begin_epoch(self, state: OptimizerState, epoch: int) -> OptimizerState:
        """The state in which the steps of `epoch` (from 1) are taken."""
        scale = self.schedule.scale_in(epoch)
        if scale is None:
            return state
        before = state.plateau.scale
        after = jax.device_put(np.asarray(scale, before.dtype), before.sharding)
        return state._replace(plateau=state.plateau._replace(scale=after))

    def observe(self, state: OptimizerState, metric: float) -> OptimizerState:
        """The state after an evaluation found `metric` (higher is better, at most 1); optax follows falling values."""
        if self.plateau is None:
            return state
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integer counts and floats
            best = state.plateau.best_value
            value = jax.device_put(np.asarray(1 - metric, best.dtype), best.sharding)
            _, plateau = self.plateau.update({}, state.plateau, value=value)
        return state._replace(plateau=plateau)

    def current_learning_rate(self, state: OptimizerState) -> float:
        """Host: the step size in force, Adam's times the schedule's scale, as the device multiplies them."""
        scale = jax.device_get(state.plateau.scale)
        return float(scale.dtype.type(self.learning_rate) * scale)


def _plateau_init(params):
    # The state's form does not depend on the schedule's settings; a schedule that is off keeps scale 1.
    return optax.contrib.reduce_on_plateau().init(params)


def make_optimizer(adam: Adam, schedule: Schedule) -> Optimizer:
    """The optimizer that the settings ask for."""
    plateau = schedule.transform(adam.learning_rate)
    compiled = None if plateau is None else plateau._replace(update=jax.jit(plateau.update))
    return Optimizer(adam.transform(), compiled, adam.learning_rate, schedule)


# Kept, since an evaluation asks for it again, and must not compile the schedule's update again.
build_optimizer = functools.cache(make_optimizer)
