"""Many models that are trained at once, in one compiled program: a population."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.data.settings import DataSettings
from lgcn_jax.devices.mesh import require_devices
from lgcn_jax.errors import InputError, named_as_in_python
from lgcn_jax.runs import agreement, population_session
from lgcn_jax.runs.display import Display
from lgcn_jax.runs.population_folder import StoredPopulation
from lgcn_jax.runs.population_members import parse_members
from lgcn_jax.runs.population_reporter import PopulationReporter
from lgcn_jax.serving.models import Model, require_callables
from lgcn_jax.serving.recommender import require_interactions
from lgcn_jax.settings import fields, format_value
from lgcn_jax.system import paths
from lgcn_jax.system.interruption import run_interruptibly
from lgcn_jax.system.signals import StopRequest
from lgcn_jax.training import population_estimate
from lgcn_jax.training.loop import Callback
from lgcn_jax.training.members import Members
from lgcn_jax.training.population import (
    PopulationResult,
    build_population,
    compile_population,
    train_population,
)
from lgcn_jax.training.population_results import member_results
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.population_state import chosen_member_snapshot


class Population(Sequence[Model]):
    """The models that `fit_population` has trained, in the order of its members.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> found = lg.fit_population(interactions, "seeds:1-3", embedding_dim=8, epochs=2, top_k=(5,), quiet=True)
    >>> best = max(range(len(found)), key=lambda number: found.results[number]["best"]["recall@5"])
    >>> found.status, found.members[best] in ({"seed": 1}, {"seed": 2}, {"seed": 3})
    ('completed', True)

    Attributes:
      members: of each model the settings in which it differs from others, by name.
      results: of each what result.json says of a run: its status, its best and its last evaluation, and, where the best
        epoch was chosen on the validation part, the metrics of the test part.
      status: 'completed', or 'interrupted' where Ctrl-C or callbacks ended the training.
    """

    def __init__(
        self, models: Sequence[Model], members: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]], status: str
    ):
        self._models = tuple(models)
        self.members, self.results, self.status = list(members), list(results), status

    def __len__(self) -> int:
        return len(self._models)

    def __getitem__(self, number):
        return self._models[number]

    def __repr__(self) -> str:
        return f"<Population of {len(self)} models, {self.status}>"


@named_as_in_python(population="members")
def fit_population(
    interactions: Interactions,
    members: Any,
    *,
    model: str = "lightgcn",
    workdir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    overwrite: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Population:
    """Trains many models at once in one compiled program; each is, but for rounding, what it would be if fitted alone.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> how = {"embedding_dim": 8, "epochs": 2, "top_k": (5,), "quiet": True}
    >>> found = lg.fit_population(interactions, {"margin": [0.0, 0.1], "seed": [1, 2]}, **how)
    >>> len(found), found.members[3], found[3].recommend([3], k=5).ids.shape
    (4, {'margin': 0.1, 'seed': 2}, (1, 5))

    Args:
      interactions: of `lgcn_jax.load` or `lgcn_jax.read`.
      members: 'seeds:0-9' or 'seeds:1,5,9'; a list of settings of each member; a dict of lists, whose product is meant;
        or the path of a JSON file of either. Members may differ in the seed, init_std, and the numbers of the optimizer
        and of the loss.
      model: the name of the encoder.
      workdir: a folder for the population, as of `lgcn-jax train --population`; what it holds of the same population
        is continued. None: nothing is written to disk.
      callbacks: called with each line of each member's history, and with its number as 'member'; a member ends after an
        epoch for which one returns True.
      overwrite: whether what is in `workdir` is begun anew.
      quiet: whether no progress is shown.
      **settings: as of `Model`; they hold for all members, but where a member says otherwise.

    Raises:
      InputError: members, settings, data and device do not go together, or `workdir` holds something else.
      WriteError: a file could not be written.
      FloatingPointError: the losses of all members became infinite, not a number, or absurd.
    """
    require_interactions(interactions)
    for name in settings.keys() & fields(DataSettings).keys():
        raise InputError(name, format_value(settings[name]), "nothing here: it is stated where data are read")
    where = None if workdir is None else paths.as_path(workdir, "workdir")
    require_callables(callbacks)
    own = parse_members(members)
    require_devices()
    stated = dataclasses.asdict(interactions.source or DataSettings(dataset=interactions.name))
    stated |= {"model": model} | settings

    def fit(request: StopRequest) -> Population:
        how = own, stated, request, tuple(callbacks), quiet
        if where is None:
            return _fit_in_memory(interactions, *how)
        return _fit_in_folder(interactions, *how, where, overwrite)

    return run_interruptibly(fit)


def _fit_in_memory(
    interactions: Interactions,
    own: list[dict[str, Any]],
    stated: dict[str, Any],
    request: StopRequest,
    callbacks: tuple[Callback, ...],
    quiet: bool,
) -> Population:
    members = Members.of(lambda each: Config.of(**stated | each), own)
    population_estimate.require_memory(members, interactions)
    population = build_population(members, interactions)
    ready = compile_population(population)
    with Display(population.members.base, quiet) as shown:
        listener = PopulationReporter(shown, request, callbacks, [[] for _ in own])
        result = train_population(population, ready, listener)
    results = member_results(population, result, listener.rows, interactions)
    return population_from_result(population, result, results, listener.rows, interactions)


def _fit_in_folder(
    interactions: Interactions,
    own: list[dict[str, Any]],
    stated: dict[str, Any],
    request: StopRequest,
    callbacks: tuple[Callback, ...],
    quiet: bool,
    folder: Path,
    overwrite: bool,
) -> Population:
    def resolve_members(stored: StoredPopulation | None) -> Members:
        return population_session.resolve_members(folder, stored, own, stated, lambda each: Config.of(**each))

    with agreement.lock_across_processes(folder):
        prepared = population_session.prepare(folder, resolve_members, lambda config: interactions, request, overwrite)
        for note in () if quiet else prepared.point.notes:
            print(f"{folder}: {note}", file=sys.stderr)
        result, rows, results = population_session.train(folder, prepared, request, quiet, callbacks)
    return population_from_result(prepared.population, result, results, rows, interactions)


def population_from_result(
    population: PopulationSetup,
    result: PopulationResult,
    results: list[dict[str, Any]],
    rows: list[list[dict[str, Any]]],
    interactions: Interactions,
) -> Population:
    """The models of a population that was trained; one that failed without a best epoch is a model not fitted.

    Raises:
      FloatingPointError: all members have failed.
    """
    if result.status == "failed":
        raise FloatingPointError(f"all members failed, the first one since {results[0]['error']}")
    models = []
    for number, config in enumerate(population.members.configs):
        made = Model._of_config(config)
        made.status, made.history = results[number]["status"], rows[number]
        if (here := chosen_member_snapshot(population, result.snapshot, number)) is not None:
            final = population.setup.final_embeddings(here.state.params)
            made.user_embeddings, made.item_embeddings = np.split(final, [interactions.num_users])
            made._remember_graph(config, population.setup.parameters(here.state.params), interactions)
            made._remember(interactions)
        models.append(made)
    return Population(models, population.members.settings, results, result.status)
