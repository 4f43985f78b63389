"""Users who are left out of an experiment's trainings: how well a model serves them once they are folded in."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from parts import Experiment
from portraits import K, evaluated, hits

import lgcn_jax as lg
from lgcn_jax.baselines.popularity import Popularity
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.evaluation import results
from lgcn_jax.evaluation.results import EvaluationResult
from lgcn_jax.evaluation.scorers import DotProduct, Scorer

sys.path.append(str(Path(__file__).resolve().parents[1]))  # of programs beside this folder, which leave out users, too

import left_out


def trained_on(experiment: Experiment, interactions: Interactions) -> Interactions:
    """The data set, without any pair of the users who are left out."""
    if not experiment.left_out:
        return interactions
    return left_out.without(interactions, left_out.drawn(interactions, **experiment.left_out))


def folded_in(experiment: Experiment, interactions: Interactions, model: lg.Model) -> dict[str, Any]:
    """Test metrics of the users left out, folded in by their train items; of each how many test items are found.

    As of all others, train and validation items are left out of their lists. Beside them stands their `popularity`.

    Args:
      experiment: says who is left out.
      interactions: the whole data set.
      model: one that was trained on `trained_on`.
    """
    users = left_out.drawn(interactions, **experiment.left_out)
    vectors = model.user_embeddings.copy()
    vectors[users] = left_out.folded(model, interactions, users, K).vectors
    found = _evaluated(DotProduct(vectors, model.item_embeddings), interactions, users)
    popular = popularity(experiment, interactions)
    return _means(found) | {"popularity": popular, "users": evaluated(found), "hits": hits(found)}


def popularity(experiment: Experiment, interactions: Interactions) -> dict[str, float]:
    """Test metrics of the users left out, of the items that are most popular among those who are trained on."""
    baseline, users = Popularity(), left_out.drawn(interactions, **experiment.left_out)
    scorer = baseline.scorer(baseline.solve(trained_on(experiment, interactions)))
    return _means(_evaluated(scorer, interactions, users))


def _evaluated(scorer: Scorer, interactions: Interactions, users: np.ndarray) -> EvaluationResult:
    return results.evaluate(scorer, interactions, "test", (K,), users, ("recall", "ndcg"))


def _means(found: EvaluationResult) -> dict[str, float]:
    return {name: round(value, 6) for name, value in found.means().items()}
