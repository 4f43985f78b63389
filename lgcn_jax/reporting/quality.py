"""How well a run's vectors predict a part of the data set, beside popularity: metrics, groups, lists, scores."""

import numpy as np

from lgcn_jax.baselines import Popularity
from lgcn_jax.data import csr
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.evaluation import exposure, results
from lgcn_jax.evaluation.results import EvaluationResult
from lgcn_jax.evaluation.scorers import Scorer
from lgcn_jax.reporting import measures
from lgcn_jax.reporting.contents import MODEL, POPULAR, TRAIN, Quality
from lgcn_jax.serving import topk

KS = (5, 10, 20, 50, 100)
HELD_OUT, UNSEEN, FIRST = "held-out item", "random unseen item", "first recommendation"


def assess(
    ours: Scorer,
    ranker: topk.Ranker,
    interactions: Interactions,
    split: str,
    asked: tuple[int, ...],
) -> Quality:
    """The quality of a scorer on the device, at KS and at the list lengths asked for; `ranker` is that of it."""
    ks = tuple(sorted({*(k for k in KS if k <= interactions.num_items), *asked}))
    scorers: dict[str, Scorer] = {MODEL: ours, POPULAR: Popularity().fit(interactions)}
    found = {name: results.evaluate(scorer, interactions, split, ks) for name, scorer in scorers.items()}
    pairs = _scores_of_pairs(ours, interactions, split)
    return Quality(
        split=split,
        k=ks,
        watched=asked[0],
        num_users=len(found[MODEL].users),
        means={name: each.means() for name, each in found.items()},
        user_groups={name: each.user_groups() for name, each in found.items()},
        item_groups={name: each.item_groups() for name, each in found.items()},
        lists=_list_statistics(found, asked[0], interactions),
        scores=pairs | {FIRST: _first_scores(ranker, interactions, split)},
        auc=measures.area_under_curve(pairs[HELD_OUT], pairs[UNSEEN]),
    )


def _list_statistics(
    found: dict[str, EvaluationResult], k: int, interactions: Interactions
) -> dict[str, dict[str, float]]:
    """What the lists of k items of each model hold, and beside them the train part."""
    degrees = csr.column_counts(interactions.train, interactions.num_items)
    counts = {name: each.items.exposure[k] for name, each in found.items()} | {TRAIN: degrees}
    return {name: exposure.exposure_metrics(each, degrees, interactions.num_users) for name, each in counts.items()}


def _scores_of_pairs(scorer: Scorer, interactions: Interactions, split: str) -> dict[str, np.ndarray]:
    pairs = measures.sample_triples(interactions.part(split), interactions.seen(split), interactions.num_items)
    of, positives, unseen = pairs
    return {
        HELD_OUT: topk.pair_scores(scorer, of, positives),
        UNSEEN: topk.pair_scores(scorer, of, unseen),
    }


def _first_scores(ranker: topk.Ranker, interactions: Interactions, split: str) -> np.ndarray:
    """The score of the first recommendation of each evaluated user, or of a sample of them."""
    evaluated = measures.spread_sample(np.flatnonzero(csr.degrees(interactions.part(split))), measures.LISTS)
    everything = np.ones(interactions.num_items, bool)
    scores = ranker.top_items(evaluated, interactions.seen(split), everything, 1)[1][:, 0]
    return scores[np.isfinite(scores)]
