"""Baselines: models without gradient steps, each with its settings."""

from lgcn_jax.baselines.baseline import Baseline
from lgcn_jax.baselines.bspm import BSPM
from lgcn_jax.baselines.chebycf import ChebyCF
from lgcn_jax.baselines.ease import EASE
from lgcn_jax.baselines.gfcf import GFCF
from lgcn_jax.baselines.ials import IALS
from lgcn_jax.baselines.itemknn import ItemKNN
from lgcn_jax.baselines.popularity import Popularity
from lgcn_jax.baselines.sgfcf import SGFCF
from lgcn_jax.baselines.slim import SLIM
from lgcn_jax.baselines.userknn import UserKNN
from lgcn_jax.settings import Registry

__all__ = ["BASELINES", "Baseline", "Popularity"]

BASELINES: Registry[Baseline] = Registry(
    "model",
    "the baseline that is scored",
    {
        "popularity": Popularity,
        "itemknn": ItemKNN,
        "userknn": UserKNN,
        "ease": EASE,
        "gf-cf": GFCF,
        "chebycf": ChebyCF,
        "slim": SLIM,
        "ials": IALS,
        "bspm": BSPM,
        "sgfcf": SGFCF,
    },
)
