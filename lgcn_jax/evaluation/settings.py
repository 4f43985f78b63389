"""When and on what a run is evaluated."""

import dataclasses

from lgcn_jax.evaluation import metrics
from lgcn_jax.settings import Settings, choice, integer, setting

SPLITS = ("valid", "test", "none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Settings):
    """The part that is evaluated, the metrics, and how often."""

    eval_every: int = integer(10, "epochs between evaluations; the last epoch is always evaluated")
    eval_split: str = choice("test", SPLITS, "the part evaluated during training, which chooses the best epoch")
    top_k: tuple[int, ...] = setting(
        (20,),
        "list lengths k of the metrics; the first one chooses the best epoch",
        lambda v: v and all(type(k) is int and k >= 1 for k in v) and len(set(v)) == len(v),
        "distinct integers of at least 1",
    )

    def __post_init__(self) -> None:
        if type(self.top_k) is int:  # one length, as Python says it
            object.__setattr__(self, "top_k", (self.top_k,))
        super().__post_init__()

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics' names as they stand in the run folder, in order."""
        return tuple(f"{name}@{k}" for k in self.top_k for name in metrics.NAMES)

    @property
    def watched_metric(self) -> str:
        """The metric that chooses the best epoch."""
        return f"recall@{self.top_k[0]}"
