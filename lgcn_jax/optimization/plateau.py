"""The plateau schedule: it watches a metric of the evaluations instead of the training loss."""

import dataclasses

import optax

from lgcn_jax.errors import InputError
from lgcn_jax.optimization.optimizer import Schedule
from lgcn_jax.settings import integer, real, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plateau(Schedule):
    """The learning rate is multiplied with a factor where the metric has stopped rising; off with a factor of 1."""

    plateau_factor: float = real(
        1.0,
        "what the learning rate is multiplied with on a plateau (1 - metric not down by 0.01 %); 1: never",
        lambda v: 0 < v <= 1,
        "a number above 0 and at most 1",
    )
    plateau_patience: int = integer(
        10,
        "evaluations without improvement that are waited for",
        least=0,
        most=2**31 - 2,  # one more is an int32, too
    )
    plateau_min_lr: float = real(
        0.0, "where the learning rate stops falling", lambda v: v >= 0, "a number of at least 0"
    )
    plateau_metric: str = setting("", "the metric watched (default: recall at the first k)")

    def observed_metric(self, metrics: tuple[str, ...], watched: str) -> str | None:
        if self.plateau_metric and self.plateau_metric not in metrics:
            raise InputError("--plateau_metric", repr(self.plateau_metric), f"one of {', '.join(metrics)}")
        return None if self.plateau_factor == 1 else self.plateau_metric or watched

    def validate(self, learning_rate: float) -> None:
        if self.plateau_min_lr > learning_rate:
            raise InputError("--plateau_min_lr", self.plateau_min_lr, f"at most --learning_rate={learning_rate}")

    def transform(self, learning_rate: float) -> optax.GradientTransformationExtraArgs | None:
        """optax's schedule counts the evaluation at which patience ends, PyTorch's the first one past it: hence one
        more than the patience asked for."""
        if self.plateau_factor == 1:
            return None
        return optax.contrib.reduce_on_plateau(
            factor=self.plateau_factor,
            patience=self.plateau_patience + 1,
            min_scale=self.plateau_min_lr / learning_rate,
        )

    def ignored_settings(self) -> dict[str, str]:
        if self.plateau_factor < 1:
            return {}
        return dict.fromkeys(("plateau_patience", "plateau_min_lr", "plateau_metric"), "--plateau_factor below 1")
