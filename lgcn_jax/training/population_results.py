"""What is said of each member of a population in the end, in the words of a run's result.json."""

from typing import Any

import jax

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.evaluation import ranking
from lgcn_jax.training.health import failed_result
from lgcn_jax.training.loop import Result
from lgcn_jax.training.population import PopulationResult
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.population_state import FAILED, INTERRUPTED, RUNNING, chosen_member_snapshot, member_snapshot
from lgcn_jax.training.programs import make_evaluate
from lgcn_jax.training.setup import with_eval_split


def member_results(
    population: PopulationSetup, result: PopulationResult, rows: list[list[dict[str, Any]]], interactions: Interactions
) -> list[dict[str, Any]]:
    """Of each member what `runs.run.run_training` says of a run; `rows` are the lines that each has told."""
    found = [_member_result(population, result, number, rows[number]) for number in range(len(population.members))]
    config = population.members.base
    if config.evaluation.eval_split == "valid" and interactions.test.nnz:
        _score_test_parts(population, result, interactions, found)
    width = population.setup.vector_width(member_snapshot(population, result.snapshot, 0).state.params)
    return [each | {"vector_width": width} for each in found]


def _member_result(
    population: PopulationSetup, result: PopulationResult, member_index: int, rows: list[dict[str, Any]]
) -> dict:
    member = result.snapshot.members[member_index]
    if member.status == FAILED:
        return failed_result(rows, population.members.configs[member_index].evaluation.watched_metric, member.error)
    here = member_snapshot(population, result.snapshot, member_index)
    status = INTERRUPTED if member.status == RUNNING else member.status
    return Result(status, here, result.compile_seconds, population.setup.table(here.state.params)).to_json()


def _score_test_parts(
    population: PopulationSetup, result: PopulationResult, interactions: Interactions, found: list[dict[str, Any]]
) -> None:
    """Adds to the results of completed members the metrics of their best epochs on the test part."""
    setup, top_k = with_eval_split(population.setup, interactions, "test"), population.members.base.evaluation.top_k
    evaluate = jax.jit(make_evaluate(setup, setup.graphdef()))
    for number, each in enumerate(found):
        if each["status"] == "completed" and (here := chosen_member_snapshot(population, result.snapshot, number)):
            means = ranking.mean_metrics(evaluate(here.state.params, setup.adjacency, setup.task), setup.task, top_k)
            each["test"] = {"epoch": here.progress.epoch, "split": "test"} | means
