"""Full-rank evaluation of all users of the test part, and what comes before it: reading, and all that a run prepares of
the graph (the order of rows, A_hat's layout, the sampler and the evaluation task).

    python experiments/benchmarks/evaluation.py --dataset=gowalla

Tables are random: the time does not depend on their values. Popularity's metrics are printed as a check.
"""

import time

import common
import jax
from absl import app, flags

from lgcn_jax.baselines.popularity import Popularity
from lgcn_jax.data import datasets
from lgcn_jax.evaluation import ranking
from lgcn_jax.evaluation.ranking import EvaluationTask
from lgcn_jax.training import loop
from lgcn_jax.training.programs import Programs
from lgcn_jax.training.setup import build_setup

TOP_K = flags.DEFINE_list("top_k", ["20"], "list lengths")
NUM_LAYERS = flags.DEFINE_integer("num_layers", 3, "propagation layers, done once an evaluation")


def main(argv: list[str]) -> None:
    del argv
    settings = common.config(num_layers=NUM_LAYERS.value, top_k=tuple(map(int, TOP_K.value)))
    interactions = common.load(settings)
    times = {"read": seconds(lambda: datasets.load(settings.data))}
    times["graph"] = seconds(lambda: jax.block_until_ready(build_setup(settings, interactions).adjacency))
    setup = build_setup(settings, interactions)
    here = setup.initial_snapshot()
    programs = Programs.compile(setup, here)

    def evaluate():
        return loop.evaluate_epoch(setup, programs, here, loop.Listener())

    times["evaluation"] = round(common.in_turns({"evaluation": evaluate})["evaluation"] / 1e3, 3)
    popular = ranking.evaluate(
        Popularity().fit(interactions), EvaluationTask.of(interactions, "test"), settings.evaluation.top_k
    )
    print("popularity: " + ", ".join(f"{name} {value:.4f}" for name, value in popular.items()))
    for name, value in times.items():
        print(f"{name:<10} {value:7.3f} s")
    users = setup.task.num_users
    common.report(
        "evaluation", interactions, users=users, seconds=times, users_per_second=round(users / times["evaluation"])
    )


def seconds(work) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return round(time.perf_counter() - started, 3)


if __name__ == "__main__":
    app.run(main)
