"""What the benchmarks share: flags, the data set, timing in turns, and the JSON line that each prints last."""

import json
import statistics
import time
from collections.abc import Callable

import jax
from absl import flags

from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.runs import workdir

_SETTINGS = ("dataset", "data_dir", "num_users", "num_items", "num_interactions")
DATASET = flags.DEFINE_string("dataset", "gowalla", "data set, as in lgcn_jax train")
DATA_DIR = flags.DEFINE_string("data_dir", "data", "folder of the named sets")
NUM_USERS = flags.DEFINE_integer("num_users", 52_643, "users of --dataset=synthetic (Amazon-Book's)")
NUM_ITEMS = flags.DEFINE_integer("num_items", 91_599, "items of --dataset=synthetic")
NUM_INTERACTIONS = flags.DEFINE_integer("num_interactions", 2_984_108, "interactions of --dataset=synthetic")
EMBEDDING_DIM = flags.DEFINE_integer("embedding_dim", 64, "width of the tables")
ROUNDS = flags.DEFINE_integer("rounds", 5, "how often the candidates take turns")
REPEATS = flags.DEFINE_integer("repeats", 4, "calls of a candidate in one turn")


def config(**settings) -> Config:
    """The configuration that the flags describe, with `settings` beside them."""
    stated = {name: flags.FLAGS[name].value for name in _SETTINGS}
    return Config.of(**stated, embedding_dim=EMBEDDING_DIM.value, **settings)


def load(settings: Config) -> Interactions:
    """The data set, described in one line."""
    interactions = datasets.load(settings.data)
    print(f"{interactions.headline()}; {jax.devices()[0].device_kind}, jax {jax.__version__}", flush=True)
    return interactions


def in_turns(candidates: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of a call of each candidate; they take turns, so that a slow minute hits all of them.

    A candidate blocks until its work is done. The first call of each, which compiles, is not counted.
    """
    for candidate in candidates.values():
        candidate()
    times = {name: [] for name in candidates}
    for _ in range(ROUNDS.value):
        for name, candidate in candidates.items():
            for _ in range(REPEATS.value):
                started = time.perf_counter()
                candidate()
                times[name].append(1e3 * (time.perf_counter() - started))
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


def report(benchmark: str, interactions: Interactions, **figures) -> None:
    """Prints the figures and what they were measured on as one JSON line."""
    device = jax.devices()[0]
    where = {"device": device.device_kind, "platform": device.platform, **workdir.versions()}
    print(json.dumps({"benchmark": benchmark, "dataset": interactions.name, **figures, **where}))
