"""LightGCN with the enhanced loss, in JAX.

>>> import lgcn_jax as lg
>>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
>>> model = lg.LightGCN(epochs=2, embedding_dim=8, top_k=(5,)).fit(interactions, quiet=True)
>>> sorted(model.evaluate(interactions, k=5))
['ndcg@5', 'precision@5', 'recall@5']

What is imported here is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.version import __version__

if TYPE_CHECKING:
    from lgcn_jax.data.interactions import Interactions
    from lgcn_jax.data.reading import load, read
    from lgcn_jax.evaluation.results import EvaluationResult
    from lgcn_jax.reporting.comparison import Comparison, compare
    from lgcn_jax.reporting.report import report
    from lgcn_jax.searching.results import SearchResult, SearchTrial
    from lgcn_jax.searching.search import search
    from lgcn_jax.serving.loading import load_model
    from lgcn_jax.serving.mixture import Mixture
    from lgcn_jax.serving.models import LightGCN, Model
    from lgcn_jax.serving.population import Population, fit_population
    from lgcn_jax.serving.recommendations import Neighbors, Recommendations
    from lgcn_jax.serving.solved import (
        BSPM,
        EASE,
        GFCF,
        IALS,
        SGFCF,
        SLIM,
        ChebyCF,
        ItemKNN,
        Popularity,
        SolvedModel,
        UserKNN,
    )

__all__ = [
    "BSPM",
    "EASE",
    "GFCF",
    "IALS",
    "SGFCF",
    "SLIM",
    "ChebyCF",
    "Comparison",
    "EvaluationResult",
    "InputError",
    "Interactions",
    "ItemKNN",
    "LightGCN",
    "Mixture",
    "Model",
    "Neighbors",
    "Popularity",
    "Population",
    "Recommendations",
    "SearchResult",
    "SearchTrial",
    "SolvedModel",
    "UserKNN",
    "WriteError",
    "__version__",
    "compare",
    "fit_population",
    "load",
    "load_model",
    "read",
    "report",
    "search",
]

_HOMES = {
    "Interactions": "data.interactions",
    "load": "data.reading",
    "read": "data.reading",
    "EvaluationResult": "evaluation.results",
    "LightGCN": "serving.models",
    "Mixture": "serving.mixture",
    "Model": "serving.models",
    "Population": "serving.population",
    "fit_population": "serving.population",
    "BSPM": "serving.solved",
    "EASE": "serving.solved",
    "GFCF": "serving.solved",
    "IALS": "serving.solved",
    "SGFCF": "serving.solved",
    "SLIM": "serving.solved",
    "ChebyCF": "serving.solved",
    "ItemKNN": "serving.solved",
    "Popularity": "serving.solved",
    "SolvedModel": "serving.solved",
    "UserKNN": "serving.solved",
    "load_model": "serving.loading",
    "Neighbors": "serving.recommendations",
    "Recommendations": "serving.recommendations",
    "Comparison": "reporting.comparison",
    "compare": "reporting.comparison",
    "report": "reporting.report",
    "SearchResult": "searching.results",
    "SearchTrial": "searching.results",
    "search": "searching.search",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
