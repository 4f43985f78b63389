"""The choice of layer weights and prior on the validation part, after training: a few evaluations of one table.

The table stays as it is, so nothing is trained anew; the K products of a trial cost next to nothing beside the ranking
of all items. Layer weights are searched along one line, `tilt_weights`, and the prior along another.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from lgcn_jax.config import Config
from lgcn_jax.devices import processes
from lgcn_jax.evaluation import ranking
from lgcn_jax.models.inference import STEEPEST, Inference, tilt_weights
from lgcn_jax.training.programs import make_inference_trial
from lgcn_jax.training.setup import Setup

STEPS = {"inference_weights": 0.5, "popularity_prior": 0.1}  # the first ones of the search, of smoothing and of p
HALVINGS = 2  # of these

Point = tuple[float, ...]


def choose_inference_settings(setup: Setup, params: nnx.State) -> dict[str, Any]:
    """What is best on the part that the setup evaluates, the validation part, of what its settings leave open.

    Returns:
      What result.json says of it: the 'split'; 'tried', each with its metrics, the first one as trained; and 'chosen',
      the one of them with the highest watched metric, the first of equals.
    """
    config, graphdef, names = setup.config, setup.graphdef(), setup.config.inference.chosen_on_validation
    trial, stated = jax.jit(make_inference_trial(setup, graphdef)), config.inference.stated_inference()
    trained = np.asarray(nnx.merge(graphdef, params).weights, np.float64) if "inference_weights" in names else None
    tried: dict[Point, dict[str, Any]] = {}

    def measure(point: Point) -> float:
        if point not in tried:
            inference = _inference_at(dict(zip(names, point, strict=True)), stated, trained)
            with processes.time_limit("at the choice of layer weights"):
                sums = trial(_put_on_devices(setup, inference), params, setup.adjacency, setup.task)
                means = ranking.mean_metrics(sums, setup.task, config.evaluation.top_k)
            tried[point] = _inference_settings(inference, names) | means
        return tried[point][config.evaluation.watched_metric]

    best = compass_search(measure, (0.0,) * len(names), tuple(STEPS[name] for name in names))
    return {"split": config.evaluation.eval_split, "chosen": tried[best], "tried": list(tried.values())}


def with_inference_settings(config: Config, chosen: dict[str, Any]) -> Config:
    """The settings with the numbers that `choose_inference_settings` found in place of auto."""
    return config.replace(**{name: chosen["chosen"][name] for name in config.inference.chosen_on_validation})


def compass_search(measure: Callable[[Point], float], start: Point, steps: Point) -> Point:
    """The best point that a compass search visits (Kolda, Lewis and Torczon 2003, section 1).

    From a point it goes to a better one a step to either side along an axis, as long as there is one, then halves the
    steps, HALVINGS times. Points lie within +-STEEPEST.
    """
    best, highest = start, measure(start)
    for halving in range(HALVINGS + 1):
        while True:
            near = [
                _move_along_axis(best, axis, side * step / 2**halving)
                for axis, step in enumerate(steps)
                for side in (1, -1)
            ]
            better = next((p for p in near if max(map(abs, p)) <= STEEPEST and measure(p) > highest), None)
            if better is None:
                break
            best, highest = better, measure(better)
    return best


def _move_along_axis(point: Point, axis: int, by: float) -> Point:
    return *point[:axis], round(point[axis] + by, 6), *point[axis + 1 :]


def _inference_at(point: dict[str, float], stated: Inference, trained: np.ndarray | None) -> Inference:
    weights = stated.weights if trained is None else tilt_weights(trained, point["inference_weights"])
    return Inference(weights, point.get("popularity_prior", stated.prior))


def _inference_settings(inference: Inference, names: tuple[str, ...]) -> dict[str, Any]:
    """The settings of these names, as JSON has them."""
    values = {"inference_weights": inference.weights, "popularity_prior": inference.prior}
    return {name: list(value) if isinstance(value := values[name], tuple) else value for name in names}


def _put_on_devices(setup: Setup, inference: Inference) -> Inference:
    """As arrays, so that one program serves all trials."""
    weights = None if inference.weights is None else np.asarray(inference.weights, np.float32)
    return setup.mesh.replicate(Inference(weights, np.float32(inference.prior)))  # type: ignore[arg-type]
