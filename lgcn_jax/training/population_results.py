"""What is said of each member of a population in the end, in the words of a run's result.json."""

from typing import Any

import jax

from lgcn_jax.data.interactions import Interactions
from lgcn_jax.evaluation import ranking
from lgcn_jax.training.health import failed_result
from lgcn_jax.training.loop import Result
from lgcn_jax.training.population import PopulationResult
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.population_state import FAILED, INTERRUPTED, RUNNING, chosen_of_member, of_member
from lgcn_jax.training.programs import make_evaluate
from lgcn_jax.training.setup import for_split


def member_results(
    whole: PopulationSetup, result: PopulationResult, rows: list[list[dict[str, Any]]], interactions: Interactions
) -> list[dict[str, Any]]:
    """Of each member what `runs.run.run_training` says of a run; `rows` are the lines that each has told."""
    found = [_result(whole, result, number, rows[number]) for number in range(len(whole.members))]
    config = whole.members.base
    if config.evaluation.eval_split == "valid" and interactions.test.nnz:
        _score_test_parts(whole, result, interactions, found)
    width = whole.setup.vector_width(of_member(whole, result.snapshot, 0).state.params)
    return [each | {"vector_width": width} for each in found]


def _result(whole: PopulationSetup, result: PopulationResult, number: int, rows: list[dict[str, Any]]) -> dict:
    member = result.snapshot.members[number]
    if member.status == FAILED:
        return failed_result(rows, whole.members.configs[number].evaluation.watched, member.error)
    here = of_member(whole, result.snapshot, number)
    status = INTERRUPTED if member.status == RUNNING else member.status
    return Result(status, here, result.compile_seconds, whole.setup.table(here.state.params)).to_json()


def _score_test_parts(
    whole: PopulationSetup, result: PopulationResult, interactions: Interactions, found: list[dict[str, Any]]
) -> None:
    """Adds to the results of completed members the metrics of their best epochs on the test part."""
    setup, top_k = for_split(whole.setup, interactions, "test"), whole.members.base.evaluation.top_k
    evaluate = jax.jit(make_evaluate(setup, setup.graphdef()))
    for number, each in enumerate(found):
        if each["status"] == "completed" and (here := chosen_of_member(whole, result.snapshot, number)):
            means = ranking.mean(evaluate(here.state.params, setup.adjacency, setup.task), setup.task, top_k)
            each["test"] = {"epoch": here.progress.epoch, "split": "test"} | means
