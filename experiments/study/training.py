"""Members of an experiment, trained with the validation and the test part both evaluated on the way.

The library evaluates one part while it trains. The other one is evaluated here, of the very parameters, at the places
that a run reports as worth keeping: so one training gives both curves, and nothing that chooses looks at the test part.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from parts import Settings

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.evaluation import ranking
from lgcn_jax.training import loop
from lgcn_jax.training.loop import CompiledRun
from lgcn_jax.training.programs import Programs, make_evaluate
from lgcn_jax.training.setup import Setup, build_setup
from lgcn_jax.training.state import Snapshot


class Trained(NamedTuple):
    """What is left of a run.

    Attributes:
      seed: its own.
      rows: the evaluations, as in metrics.jsonl, of both parts where there is a validation part.
      users, items: float32[n, d], the final embeddings of the epoch with the best watched metric.
      seconds: of all steps and of the evaluations of the part that chooses.
    """

    seed: int
    rows: list[dict[str, Any]]
    users: np.ndarray
    items: np.ndarray
    seconds: float


def train_members(interactions: Interactions, seeds: Sequence[int], settings: Settings) -> Iterator[Trained]:
    """Trains a condition with each seed, one after the other by the same compiled programs."""
    source = interactions.source or DataSettings(dataset=interactions.name)
    config = Config.of(**dataclasses.asdict(source) | settings | {"save_every": settings["eval_every"]})
    setup = build_setup(config, interactions)
    programs = Programs.compile(setup, setup.initial_snapshot())
    other = _TestPart(config, interactions) if config.evaluation.eval_split == "valid" else None
    for seed in seeds:
        own = dataclasses.replace(setup, config=config.replace(seed=seed))
        listener = _Watcher(other)
        result = loop.train(own, CompiledRun(own.initial_snapshot(), programs, 0.0), listener)
        users, items = np.split(own.final_embeddings(listener.best), [interactions.num_users])
        yield Trained(seed, listener.rows, users, items, result.snapshot.progress.seconds)


class _TestPart:
    """The evaluation of the test part by the parameters of a run that evaluates another one."""

    def __init__(self, config: Config, interactions: Interactions):
        self._setup: Setup = build_setup(config.replace(eval_split="test"), interactions, trains=False)
        self._evaluate = jax.jit(make_evaluate(self._setup, self._setup.graphdef()))

    def row(self, snapshot: Snapshot) -> dict[str, Any]:
        sums = self._evaluate(snapshot.state.params, self._setup.adjacency, self._setup.task)
        means = ranking.mean(sums, self._setup.task, self._setup.config.evaluation.top_k)
        return {"epoch": snapshot.progress.epoch, "split": "test", **means}


class _Watcher(loop.Listener):
    """Notes the evaluations and the parameters of the best one."""

    def __init__(self, other: _TestPart | None):
        self.rows: list[dict[str, Any]] = []
        self.best = None
        self._other = other

    def log(self, row: dict[str, Any]) -> None:
        if row["split"] != "train":
            self.rows.append(row)

    def save(self, snapshot: Snapshot, scheduled: bool) -> None:
        progress = snapshot.progress
        if progress.latest is None or progress.latest["epoch"] != progress.epoch:
            return
        if self._other is not None:
            self.rows.append(self._other.row(snapshot))
        if progress.chosen["epoch"] == progress.epoch:
            self.best = jax.tree.map(jnp.copy, snapshot.state.params)
