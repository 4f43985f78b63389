"""How much each setting matters for being among the best trials."""

from typing import TYPE_CHECKING, Any

from lgcn_jax.searching import storages

if TYPE_CHECKING:
    import optuna

LEAST_TRIALS = 8  # completed ones, below which no importance is told
BEST_SHARE, BEST_COUNT = 0.1, 5  # of the completed trials, how many count as the best: a share, but not fewer than this


def setting_importance(optuna: Any, study: "optuna.Study") -> dict[str, float]:
    """The importance of each setting that had more than one value, largest first, in sum 1; {} below 8 trials.

    That of PED-ANOVA (IJCAI 2023, arXiv:2304.10255; for settings that not all trials have arXiv:2601.20800): how far
    the distribution of a setting among the best trials is from that among all completed ones. It needs no fitted
    forest, and so no further library. The best are a tenth of the trials, but at least five, at most half of them.
    """
    states = (optuna.trial.TrialState.COMPLETE,)
    trials = study.get_trials(deepcopy=False, states=states)
    varied = {name for trial in trials for name, kind in trial.distributions.items() if not kind.single()}
    if len(trials) < LEAST_TRIALS or not varied:
        return {}
    share = min(0.5, max(BEST_SHARE, BEST_COUNT / len(trials)))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
    with storages.quiet_optuna():
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=sorted(varied))
    return {name: float(value) for name, value in sorted(found.items(), key=lambda each: -each[1])}
