"""What layer weights and a popularity prior do to the ranking of a trained table, each alone and together.

    python -m lgcn_jax train --flagfile=experiments/recipes/gowalla-ssm.flags --validation_fraction=0.1 \\
        --eval_split=valid --workdir=runs/ssm
    python -m lgcn_jax train --flagfile=experiments/recipes/gowalla-ssm.flags --validation_fraction=0.1 \\
        --eval_split=valid --logq=true --workdir=runs/ssm-logq
    python experiments/inference_weights.py runs/ssm runs/ssm-logq

For each run with LightGCN: recall and ndcg at the run's first list length, on the validation and the test part, along
lines of each. `smoothing` s makes the weight of layer k 2^(s k) times what it was in training, their sum kept; `prior`
p makes the vectors of items with n train pairs (1 + n)^p times as long; `bonus` b adds b * log(1 + n) to scores, in
units of the standard deviation of scores, which takes one more number a vector. A star marks the best on the validation
part; `together` is what a compass search finds there. Without a validation part nothing is chosen. A line before says
how popular the items of each part are: where the parts differ in that, so does what smoothing and prior gain. Runs on
one device.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import flags

import lgcn_jax as lg
from lgcn_jax.data import csr, datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import ranking
from lgcn_jax.evaluation.scorers import DotProduct
from lgcn_jax.evaluation.task import EvaluationTask
from lgcn_jax.graph.normalization import normalized_adjacency
from lgcn_jax.models.inference import tilt_weights
from lgcn_jax.runs.resume import stored_settings
from lgcn_jax.training.inference import compass_search

SMOOTHING = (-1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
PRIOR = (-0.3, -0.2, -0.15, -0.1, -0.05, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
BONUS = (-1.0, -0.8, -0.6, -0.4, -0.3, -0.2, -0.1, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
NONE = (0.0, 0.0, 0.0)

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", "", "folder of named data sets (default: that of the run)", flag_values=FLAGS)

Point = tuple[float, ...]  # smoothing, prior, bonus


class Table:
    """A trained table, all its layers, and the parts of its data on which it is ranked."""

    def __init__(self, run: Path):
        config = stored_settings(run)
        if config is None or not config.model.weighed_layers:
            raise InputError(run, "no run of a model with layers to weigh", "one")
        config = config.replace(**({"data_dir": FLAGS.data_dir} if FLAGS.data_dir else {}))
        self.config, self.data = config, datasets.load(config.data)
        self.weights = np.asarray(config.model.weights)
        graph = lg.load_model(run, self.data, inference_weights=(), popularity_prior=0.0)._trained
        self.layers = layers(self.data, graph.table, len(self.weights))
        self.popularity = np.log1p(graph.degrees[self.data.num_users :])
        self.tasks = {split: EvaluationTask.of(self.data, split) for split in ("valid", "test") if self._has(split)}
        self.deviation = self._deviation()
        self.found: dict[tuple[str, Point], dict[str, float]] = {}

    def _has(self, split: str) -> bool:
        return self.data.part(split).nnz > 0

    def vectors(self, point: Point) -> tuple[np.ndarray, np.ndarray]:
        """float32: of users and of items."""
        smoothing, prior, bonus = point
        final = sum(
            weight * layer for weight, layer in zip(tilt_weights(self.weights, smoothing), self.layers, strict=True)
        )
        users, items = np.split(final, [self.data.num_users])
        items = items * np.exp(prior * self.popularity)[:, None]
        if bonus:
            users = np.column_stack([users, np.ones(len(users))])
            items = np.column_stack([items, bonus * self.deviation * self.popularity])
        return users.astype(np.float32), items.astype(np.float32)

    def _deviation(self) -> float:
        """The standard deviation of the scores of all items, a mean over users."""
        users, items = (side.astype(np.float64) for side in self.vectors(NONE))
        covariance = np.cov(items, rowvar=False, bias=True)
        return float(np.sqrt(np.einsum("nd,de,ne->n", users, covariance, users, optimize=True)).mean())

    def measure(self, split: str, point: Point) -> tuple[float, float]:
        """Recall and ndcg."""
        k = self.config.evaluation.top_k[0]
        if (split, point) not in self.found:
            scorer = DotProduct(*self.vectors(point))
            self.found[split, point] = ranking.evaluate(scorer, self.tasks[split], (k,))
        row = self.found[split, point]
        return row[f"recall@{k}"], row[f"ndcg@{k}"]


def popularity_of_parts(data: Interactions) -> dict[str, float]:
    """How many pairs the item of a pair has in all parts together, the mean over the pairs of each part."""
    parts = {split: part for split in ("train", "valid", "test") if (part := data.part(split)).nnz}
    counts = sum(csr.column_counts(part, data.num_items) for part in parts.values())
    return {split: float(counts[part.indices].mean()) for split, part in parts.items()}


def layers(data: Interactions, table: np.ndarray, count: int) -> list[np.ndarray]:
    """E^(0), ..., E^(K), float32."""
    adjacency, found = normalized_adjacency(data.train, data.num_items, data.weights), [table]
    while len(found) < count:
        found.append(adjacency @ found[-1])
    return found


def lines() -> Iterator[tuple[str, list[Point]]]:
    """Each with its name, and its points."""
    yield "as trained", [NONE]
    yield "smoothing", [(s, 0.0, 0.0) for s in SMOOTHING]
    yield "prior", [(0.0, p, 0.0) for p in PRIOR]
    yield "bonus", [(0.0, 0.0, b) for b in BONUS]


def chosen(table: Table, points: list[Point]) -> Point:
    """The best of them on the validation part."""
    return max(points, key=lambda point: table.measure("valid", point)[0])


def together(table: Table) -> Point:
    """Smoothing and prior, as --inference_weights=auto --popularity_prior=auto chooses them."""

    def measure(point: Point) -> float:
        return table.measure("valid", (*point, 0.0))[0]

    return (*compass_search(measure, (0.0, 0.0), (0.5, 0.1)), 0.0)


def show(table: Table, name: str, point: Point, mark: str = "") -> None:
    weights = ", ".join(f"{each:.3f}" for each in tilt_weights(table.weights, point[0]))
    metrics = "".join(f"{value:14.4f}" for split in table.tasks for value in table.measure(split, point))
    print(f"{name:<12}{point[0]:7.3f}{point[1]:8.3f}{point[2]:7.2f}   {weights:<28}{metrics} {mark}", flush=True)


def study(run: Path) -> None:
    """Prints all lines of a run."""
    table = Table(run)
    values = table.config.to_dict()
    told = ", ".join(f"{name} {values[name]}" for name in ("loss", "logq", "num_layers", "epochs") if name in values)
    splits = "".join(f"{split + ' recall':>14}{split + ' ndcg':>14}" for split in table.tasks)
    print(f"\n{run}: {table.data.headline()}; {told}")
    shown = ", ".join(f"{split} {mean:.1f}" for split, mean in popularity_of_parts(table.data).items())
    print(f"pairs of an item, mean over the pairs of each part: {shown}")
    print(f"{'':<12}{'smooth':>7}{'prior':>8}{'bonus':>7}   {'layer weights':<28}{splits}")
    for name, points in lines():
        best = chosen(table, [NONE, *points]) if "valid" in table.tasks else None
        for point in points:
            show(table, name, point, "*" if point == best and point != NONE else "")
    if "valid" in table.tasks:
        show(table, "together", together(table), "*")


def main(arguments: list[str]) -> None:
    try:
        runs = FLAGS(arguments)[1:]
        if not runs:
            raise InputError("inference_weights", "no run", "the folder of at least one")
        for run in runs:
            study(Path(run))
    except (InputError, flags.Error) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv)
