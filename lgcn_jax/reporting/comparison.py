"""Runs compared in pairs: the same users, or the same seeds, with intervals."""

import dataclasses
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lgcn_jax.config import Config
from lgcn_jax.data import datasets
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.devices.mesh import ONE_DEVICE
from lgcn_jax.errors import InputError, WriteError
from lgcn_jax.evaluation.paired import PairedDifference, holm, paired_difference
from lgcn_jax.reporting import comparable
from lgcn_jax.runs import inference, scoring
from lgcn_jax.system import extras, files


@dataclasses.dataclass(frozen=True)
class Difference:
    """One line of a comparison: how much better `second` is than `first` in a metric.

    Attributes:
      first, second: labels of what is compared.
      metric: as 'recall@20'.
      over: what is paired, 'users' or 'seeds'; users' metrics are means over the seeds where there are several.
      means: of the first and of the second.
      found: the difference, its interval and its p-value.
      corrected: the p-value, corrected for all differences of the same comparison over the same.
    """

    first: str
    second: str
    metric: str
    over: str
    means: tuple[float, float]
    found: PairedDifference
    corrected: float = float("nan")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compare` finds.

    >>> import lgcn_jax as lg
    >>> from lgcn_jax.evaluation.paired import paired_difference
    >>> found = paired_difference([0.1, 0.2], [0.2, 0.4])
    >>> row = Difference("bpr", "enhanced", "recall@20", "users", (0.15, 0.3), found, corrected=0.5)
    >>> columns = lg.Comparison("shop", "test", "epochs chosen on the valid part", (row,)).columns()
    >>> columns["over"], columns["p (Holm)"]
    (['2 users'], [0.5])

    Attributes:
      dataset: the name of the data set.
      split: the part on which all are compared.
      protocol: how the runs chose their epochs, in a sentence.
      differences: of each other run, or group of runs, from the first one.
    """

    dataset: str
    split: str
    protocol: str
    differences: tuple[Difference, ...]

    def columns(self) -> dict[str, list[Any]]:
        """A row for each difference, by column."""
        rows = self.differences
        return {
            "first": [row.first for row in rows],
            "second": [row.second for row in rows],
            "metric": [row.metric for row in rows],
            "over": [f"{row.found.pairs:,} {row.over}" for row in rows],
            "mean of first": [row.means[0] for row in rows],
            "of second": [row.means[1] for row in rows],
            "difference": [row.found.mean for row in rows],
            "from": [row.found.low for row in rows],
            "to": [row.found.high for row in rows],
            "p (Holm)": [row.corrected for row in rows],
        }

    def to_json(self) -> dict[str, Any]:
        """All that was found as JSON values; an interval of a single pair is null."""

        def of(row: Difference) -> dict[str, Any]:
            found = {name: None if value != value else value for name, value in row.found._asdict().items()}
            flat = {name: value for name, value in dataclasses.asdict(row).items() if name != "found"}
            return flat | {"means": list(row.means)} | found

        whole = {"dataset": self.dataset, "split": self.split, "protocol": self.protocol}
        return whole | {"differences": [of(row) for row in self.differences]}

    def save(self, path: str | Path) -> None:
        """Writes a .json file of all that was found, or a picture of the differences: .svg, .png or .pdf.

        Raises:
          InputError: the name ends in something else.
          WriteError: the file could not be written.
        """
        path = require_kind(path, "path")
        content = json.dumps(self.to_json(), indent=1).encode() if path.suffix == ".json" else self._draw_picture(path)
        try:
            files.write(path, content)
        except OSError as error:
            raise WriteError(path, error.strerror or error) from None

    def _draw_picture(self, path: Path) -> bytes:
        """A point and its interval for each difference."""
        figure = extras.import_extra("matplotlib.figure").Figure(figsize=(7, 1.2 + 0.34 * len(self.differences)))
        axes, rows = figure.subplots(), self.differences[::-1]
        axes.axvline(0, color="0.6", linewidth=1)
        for height, row in enumerate(rows):
            mean, low, high = row.found[:3]
            axes.plot([low, high], [height, height], color="0.2", linewidth=1.5)
            axes.plot([mean], [height], "o", color="0.1", markersize=5)
        labels = [f"{row.second}: {row.metric}, {row.found.pairs:,} {row.over}" for row in rows]
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel(f"difference from {self.differences[0].first}, with 95 % interval ({self.dataset})")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        content = io.BytesIO()
        figure.savefig(content, format=path.suffix[1:], bbox_inches="tight")
        return content.getvalue()


def compare(
    *runs: str | Path,
    by: str | None = None,
    metrics: Sequence[str] | None = None,
    interactions: Interactions | None = None,
) -> Comparison:
    """Compares each run's best epoch with that of the first run, user by user, on the test part.

    >>> import lgcn_jax as lg
    >>> interactions = lg.load("synthetic", num_users=100, num_items=80, num_interactions=1500)
    >>> for loss in ("bpr", "enhanced"):
    ...     model = lg.LightGCN(loss=loss, epochs=2, embedding_dim=8, top_k=(5,))
    ...     _ = model.fit(interactions, workdir=f"runs/{loss}", quiet=True)
    >>> found = lg.compare("runs/bpr", "runs/enhanced")
    >>> [(row.first, row.second, row.metric) for row in found.differences]
    [('bpr', 'enhanced', 'recall@5'), ('bpr', 'enhanced', 'ndcg@5')]

    Args:
      *runs: folders of finished runs on the same data, whose epochs were chosen in the same way.
      by: 'seed': runs that differ in nothing but the seed are a group; groups must have the same seeds, and are
        compared seed by seed, too.
      metrics: such as 'recall@20'; None: recall and ndcg at the first k.
      interactions: the data set; None: it is loaded as the first run's settings say.

    Raises:
      InputError: fewer than two runs or groups, one that is unfinished, of other data or another protocol, seeds that
        are not those of the first group, or an unknown metric.
    """
    if by not in (None, "seed"):
        raise InputError("by", repr(by), "None or 'seed'")
    folders = [comparable.folder_of(run) for run in runs]
    if len(set(folders)) < max(2, len(folders)):
        raise InputError(
            "runs", f"{len(folders)} runs, {len(set(folders))} of them different", "two or more, once each"
        )
    configs = {folder: comparable.finished_run_config(folder) for folder in folders}
    comparable.require_comparable(configs)
    first = configs[folders[0]]
    interactions = datasets.load(first.data) if interactions is None else interactions
    split = "test" if interactions.test.nnz else "valid"
    metrics = _metric_names(metrics, first)
    groups = comparable.group_runs(configs, by)
    values = {
        label: {
            seed: _metric_values(configs[folder], folder, interactions, split, metrics)
            for seed, folder in group.items()
        }
        for label, group in groups.items()
    }
    protocol = f"epochs chosen on the {first.evaluation.eval_split} part, evaluated every {first.evaluation.eval_every}"
    return Comparison(interactions.name, split, protocol, tuple(_differences(values, metrics)))


Values = dict[str, np.ndarray]  # of each metric, float[users]


def _differences(values: dict[str, dict[int, Values]], metrics: Sequence[str]) -> Iterable[Difference]:
    """Each group's differences from the first one: over users, and, where a group has several runs, over seeds."""
    first, *others = values
    several = len(values[first]) > 1
    for over in ("users", "seeds")[: 1 + several]:
        found = []
        for other in others:
            for metric in metrics:
                a, b = (_paired_values(values[label], metric, over) for label in (first, other))
                means = float(a.mean()), float(b.mean())
                found.append(Difference(first, other, metric, over, means, paired_difference(a, b)))
        for row, corrected in zip(found, holm([row.found.p_value for row in found]), strict=True):
            yield dataclasses.replace(row, corrected=corrected)


def _paired_values(group: dict[int, Values], metric: str, over: str) -> np.ndarray:
    """float64: the metric of each user, the mean over the seeds; or of each seed, the mean over the users."""
    whole = np.stack([group[seed][metric] for seed in sorted(group)]).astype(np.float64)
    return whole.mean(0 if over == "users" else 1)


def _metric_values(
    config: Config, folder: Path, interactions: Interactions, split: str, metrics: Sequence[str]
) -> Values:
    """The metrics of each user at the run's best epoch, ranked as the run is served."""
    names = tuple(dict.fromkeys(metric.split("@")[0] for metric in metrics))
    one = config.replace(mesh=ONE_DEVICE)  # whatever the run was trained on
    one, unchosen = inference.with_recorded_inference(one, folder, config.inference.chosen_on_validation)
    if unchosen:
        raise InputError(folder, unchosen[0], "a run whose choice is in its result.json")
    found, _, choice = scoring.score_in_detail(one, interactions, folder, "best", split, wanted=names)
    if choice.missing:
        raise InputError(folder, choice.missing, "a run that has its best checkpoint")
    return {metric: found.per_user[metric] for metric in metrics}


def _metric_names(stated: Sequence[str] | None, config: Config) -> tuple[str, ...]:
    """The metrics that are compared, of single users."""
    ks = config.evaluation.top_k
    known = [f"{name}@{k}" for k in ks for name in ("recall", "ndcg", "precision", "mrr", "hit_rate", "map")]
    chosen = tuple(known[:2] if stated is None else (stated,) if isinstance(stated, str) else stated)
    for metric in chosen:
        if metric not in known:
            raise InputError("metrics", repr(metric), f"some of {', '.join(known)}")
    if not chosen:
        raise InputError("metrics", "none", f"some of {', '.join(known)}")
    return chosen


def require_kind(path: str | Path, where: str) -> Path:
    """The path of a comparison's file, if its name says what it is to be.

    Raises:
      InputError: it does not.
    """
    path = Path(path).expanduser()
    if path.suffix not in (".json", ".svg", ".png", ".pdf"):
        raise InputError(where, repr(path.name), "a file name that ends in .json, .svg, .png or .pdf")
    return path
