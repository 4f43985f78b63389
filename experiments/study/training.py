"""Members of an experiment, trained as a population, with the validation and the test part both evaluated on the way.

The library evaluates one part while it trains. The other one is evaluated here, of the very parameters, at the places
that a population reports as worth keeping: so one training gives both curves, and nothing that chooses looks at the
test part.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from parts import Settings

import lgcn_jax as lg
from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.evaluation import ranking
from lgcn_jax.serving.population import population_from_result
from lgcn_jax.training.members import Members, settings_that_may_differ
from lgcn_jax.training.population import build_population, compile_population, train_population
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.population_state import (
    PopulationListener,
    PopulationSnapshot,
    chosen_member_snapshot,
    member_snapshot,
)
from lgcn_jax.training.programs import make_evaluate
from lgcn_jax.training.setup import with_eval_split


class Trained(NamedTuple):
    """What is left of a member.

    Attributes:
      rows: the evaluations, as in metrics.jsonl, of both parts where there is a validation part.
      model: with the embeddings of the epoch with the best watched metric.
      seconds: its share of the time of all steps, and of the evaluations of the part that chooses.
    """

    rows: list[dict[str, Any]]
    model: lg.Model
    seconds: float


def shared_part(settings: Settings) -> Settings:
    """The settings in which the members of a population cannot differ."""
    differing = settings_that_may_differ()
    return {name: value for name, value in settings.items() if name not in differing}


def train_members(interactions: Interactions, members: Sequence[Settings]) -> list[Trained]:
    """Trains the members at once; each states its seed and all its settings, which agree in their `shared_part`."""
    source = dataclasses.asdict(interactions.source or DataSettings(dataset=interactions.name))
    shared = shared_part(members[0])
    stated = source | shared | {"save_every": shared["eval_every"]}
    own = [{name: value for name, value in each.items() if name not in shared} for each in members]
    whole = build_population(Members.of(lambda each: Config.of(**stated | each), own), interactions)
    listener = _Watcher(whole, interactions)
    result = train_population(whole, compile_population(whole), listener)
    ends = [{"status": each.status, "error": each.error} for each in result.snapshot.members]
    models = population_from_result(whole, result, ends, listener.rows, interactions)
    for number, rows in enumerate(listener.rows):
        if not rows or chosen_member_snapshot(whole, result.snapshot, number) is None:
            raise FloatingPointError(f"{whole.members.describe(number)}: {ends[number]['error']}")
    seconds = [each.progress.seconds for each in result.snapshot.members]
    return list(map(Trained, listener.rows, models, seconds))


class _Watcher(PopulationListener):
    """Notes every member's evaluations, and adds those of the test part where another one is evaluated."""

    def __init__(self, whole: PopulationSetup, interactions: Interactions):
        self.rows: list[list[dict[str, Any]]] = [[] for _ in whole.members.configs]
        self._whole, self._test = whole, None
        if whole.members.base.evaluation.eval_split == "valid":
            self._test = with_eval_split(whole.setup, interactions, "test")
            self._evaluate = jax.jit(make_evaluate(self._test, self._test.graphdef()))

    def log(self, number: int, row: dict[str, Any]) -> None:
        if row["split"] != "train":
            self.rows[number].append(row)

    def save(self, snapshot: PopulationSnapshot, scheduled: bool) -> None:
        if self._test is None or snapshot.step:
            return
        for number, rows in enumerate(self.rows):
            if rows and rows[-1]["split"] == "valid" and rows[-1]["epoch"] == snapshot.epoch:
                params = member_snapshot(self._whole, snapshot, number).state.params
                sums = self._evaluate(params, self._test.adjacency, self._test.task)
                means = ranking.mean_metrics(sums, self._test.task, self._whole.members.base.evaluation.top_k)
                rows.append({"epoch": snapshot.epoch, "split": "test", **means})
