"""Baselines: models without gradient steps, each with its settings."""

from lgcn_jax.baselines.baseline import Baseline
from lgcn_jax.baselines.popularity import Popularity
from lgcn_jax.settings import Registry

__all__ = ["BASELINES", "Baseline", "Popularity"]

BASELINES: Registry[Baseline] = Registry("model", "the baseline that is scored", {"popularity": Popularity})
