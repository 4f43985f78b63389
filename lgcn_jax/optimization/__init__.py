"""Optimization: clipped Adam, and schedules of its learning rate."""

from lgcn_jax.optimization.cosine import Cosine
from lgcn_jax.optimization.optimizer import Adam, Optimizer, OptimizerState, Schedule, build_optimizer, make_optimizer
from lgcn_jax.optimization.plateau import Plateau
from lgcn_jax.settings import Registry

__all__ = [
    "SCHEDULES",
    "Adam",
    "Cosine",
    "Optimizer",
    "OptimizerState",
    "Plateau",
    "Schedule",
    "build_optimizer",
    "make_optimizer",
]

SCHEDULES: Registry[Schedule] = Registry(
    "schedule", "how the learning rate changes", {"plateau": Plateau, "cosine": Cosine}
)
