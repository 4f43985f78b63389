"""The settings of a run: those of its parts, and those of the training loop.

A setting is written once, in the part that it sets. Nothing here knows what the settings of a loss, a model, a sampler
or a schedule are: they are those of the part that the registry of its kind has under the chosen name.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from lgcn_jax import optimization
from lgcn_jax.data.settings import READING, DataSettings
from lgcn_jax.devices.mesh import MeshSettings
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation.settings import EvaluationSettings
from lgcn_jax.graph.settings import GraphSettings
from lgcn_jax.losses import LOSSES, Loss
from lgcn_jax.models import ENCODERS, EncoderSettings, InferenceSettings
from lgcn_jax.optimization import SCHEDULES, Adam, Optimizer, Schedule
from lgcn_jax.sampling import NEGATIVES, SAMPLERS, NegativeSettings, SamplerSettings
from lgcn_jax.settings import Registry, Settings, expected_instead, fields, format_value, integer, setting

FORMAT = 2  # of config.json; 1 had no format, for BPR the enhanced loss' settings, and no min_test_items

# What is stated anew of a trained run: where its data lie and how they are read there, on what is computed, and how its
# table is ranked.
RELOCATABLE = (*READING, "propagation", "mesh", "inference_weights", "popularity_prior")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How long is trained, in what steps, from which random numbers, and how often the run is saved."""

    batch_size: int = integer(2048, "examples of a step")
    epochs: int = integer(1000, "epochs in all")
    early_stopping_patience: int = integer(
        0, "evaluations without a new best after which the run ends; 0: never", least=0
    )
    save_every: int = integer(10, "epochs between checkpoints; a new best is always saved")
    seed: int = integer(2020, "seed of initial tables and samples", least=0)
    warm_start: str = setting("", "folder of a run whose best table this one begins with, by raw ids")


@dataclasses.dataclass(frozen=True)
class Config:
    """Every setting of a run, part by part; `Config.of` makes one of settings by name.

    Raises:
      InputError: settings of two parts do not go together.
    """

    data: DataSettings
    model: EncoderSettings
    loss: Loss
    sampler: SamplerSettings
    negatives: NegativeSettings
    optimizer: Adam
    schedule: Schedule
    training: TrainingSettings
    evaluation: EvaluationSettings
    graph: GraphSettings
    inference: InferenceSettings
    devices: MeshSettings

    def __post_init__(self):
        self.schedule.validate(self.optimizer.learning_rate)
        observed = self.observed_metric  # which refuses one that is not evaluated
        if self.evaluation.eval_split == "none" and (observed or self.training.early_stopping_patience):
            needs = f"a schedule that watches {observed}" if observed else "--early_stopping_patience"
            raise InputError("--eval_split", f"none, with {needs}", "test or valid")
        negatives, sampler = NEGATIVES.name_of(self.negatives), SAMPLERS.name_of(self.sampler)
        if negatives != NEGATIVES.default and not self.sampler.TAKES_NEGATIVES:
            raise InputError("--negatives", negatives, f"nothing with --sampler={sampler}, which has its own")
        if self.loss.IN_BATCH_ONLY and not self.negatives.IN_BATCH:
            raise InputError("--negatives", negatives, f"in-batch with --loss={LOSSES.name_of(self.loss)}")
        if self.loss.needs_probabilities and not self.negatives.KNOWS_PROBABILITIES:
            knowing = " or ".join(name for name, kind in NEGATIVES.items() if kind.KNOWS_PROBABILITIES)
            raise InputError("--logq", f"true with --negatives={negatives}", f"--negatives={knowing}")
        self._require_views()
        self._require_vectors()
        if self.training.batch_size == 1 and (self.negatives.IN_BATCH or self.loss.uses_in_batch_negatives):
            raise InputError("--batch_size", "1 with in-batch negatives", "at least 2: others' items are the negatives")
        model = ENCODERS.name_of(self.model), self.model.weighed_layers
        self.inference.validate(*model, self.evaluation.eval_split)

    def _require_views(self) -> None:
        """Raises an InputError where the loss asks for perturbed layers that the model does not have."""
        layers = 0 if self.model.dropout_rate else self.model.perturbed_layers
        if (views := self.loss.views) is None or max(1, views.layer) <= layers:
            return
        loss, model = LOSSES.name_of(self.loss), ENCODERS.name_of(self.model)
        if not layers:
            found = f"{loss}, whose noise goes between layers, with --model={model} as it is set"
            expected = "one without noise, or --model=lightgcn with at least one layer and fixed weights"
            raise InputError("--loss", found, expected)
        raise InputError("--contrast_layer", views.layer, f"at most {layers}, the layers of --model={model}")

    def _require_vectors(self) -> None:
        """Raises an InputError where scores are to be dot products of vectors, and the model's are not."""
        if self.model.HAS_VECTORS:
            return
        loss, model = LOSSES.name_of(self.loss), ENCODERS.name_of(self.model)
        if self.loss.needs_vectors:
            found = f"{loss}, which needs scores that are products of vectors, with --model={model}"
            raise InputError("--loss", found, "one of any scores: bpr, or enhanced, with --score=dot")
        if prior := self.inference.popularity_prior:
            expected = f"0 with --model={model}, whose scores are no products of vectors that it makes longer"
            raise InputError("--popularity_prior", format_value(prior), expected)

    @classmethod
    def of(cls, **stated: Any) -> "Config":
        """The settings by name, as flags are called: Config.of(loss="bpr", epochs=10); others have their defaults.

        Raises:
          InputError: a value is outside its range, or the chosen parts have no such setting.
        """
        names = chosen_names(stated)
        chosen = {part: kind[names[part]] if part in names else kind for part, kind in PARTS.items()}
        owner = _parts_with_setting(chosen, stated)
        for name, value in stated.items():
            if name not in owner and name not in part_kinds():
                raise InputError(f"--{name}", format_value(value), _expected_values(name, stated))
        return cls(
            **{
                part: settings(**{name: value for name, value in stated.items() if owner.get(name) == part})
                for part, settings in chosen.items()
            }
        )

    def replace(self, **stated: Any) -> "Config":
        """A copy with other settings; where another part of a kind is chosen, its settings have their defaults."""
        kept = self.to_dict()
        if "loss" in stated and kept["negatives"] == chosen_names({"loss": kept["loss"]})["negatives"]:
            stated = {"negatives": chosen_names(stated)["negatives"]} | stated
        for part in part_kinds():
            if stated.get(part, kept[part]) != kept[part]:
                for name in fields(type(getattr(self, part))):
                    del kept[name]
        return type(self).of(**kept | stated)

    def to_dict(self) -> dict[str, Any]:
        """The settings by name, part after part."""
        values = {}
        for part, kind in PARTS.items():
            settings = getattr(self, part)
            values |= {part: kind.name_of(settings)} if isinstance(kind, Registry) else {}
            values |= {name: getattr(settings, name) for name in fields(type(settings))}
        return values

    @property
    def observed_metric(self) -> str | None:
        """The metric of the evaluations that the schedule observes; None where it observes none."""
        return self.schedule.observed_metric(self.evaluation.metric_names, self.evaluation.watched_metric)

    def build_optimizer(self) -> Optimizer:
        """The optimizer with the schedule of its learning rate."""
        return optimization.build_optimizer(self.optimizer, self.schedule)

    def ignored_settings(self) -> dict[str, str]:
        """The settings that others leave without effect, each with what would give it one."""
        twice = {"in_batch": "other --negatives than in-batch"} if self.negatives.IN_BATCH else {}
        return self.schedule.ignored_settings() | self.model.ignored_settings() | twice

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in self.to_dict().items()}
        return {"config_format": FORMAT} | values

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> "Config":
        """The settings of which `to_json` made `values`, also in the format of older versions."""
        values = dict(values)
        if (found := values.pop("config_format", 1)) not in (1, FORMAT):
            raise ValueError(f"format {found!r}, of which this version knows 1 to {FORMAT}")
        if not isinstance(values.get("dataset"), str) or not isinstance(values.get("data_dir"), str):
            raise TypeError("dataset and data_dir are no texts")
        if found == 1:
            values.setdefault("min_test_items", 0)
        if found == 1 and values.get("loss") == "bpr":
            values = {name: value for name, value in values.items() if name not in ("margin", "temperature", "alpha")}
        return cls.of(**values)

    @classmethod
    def from_json(cls, path: Path) -> "Config":
        """The settings in the file `path`."""
        try:
            return cls.of_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise InputError(path, "no such file", "the config.json of a run") from None
        except (OSError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            raise InputError(path, f"a file that is no run's config ({error})", "the config.json of a run") from None


PARTS: dict[str, type[Settings] | Registry] = {
    "data": DataSettings,
    "model": ENCODERS,
    "loss": LOSSES,
    "sampler": SAMPLERS,
    "negatives": NEGATIVES,
    "optimizer": Adam,
    "schedule": SCHEDULES,
    "training": TrainingSettings,
    "evaluation": EvaluationSettings,
    "graph": GraphSettings,
    "inference": InferenceSettings,
    "devices": MeshSettings,
}


def part_kinds() -> set[str]:
    """The kinds of exchangeable parts, which are also the settings that choose one."""
    return {part for part, kind in PARTS.items() if isinstance(kind, Registry)}


def chosen_names(stated: dict[str, Any]) -> dict[str, str]:
    """The name of the part that is chosen of each kind: the one stated, or the default; a loss may have its own."""
    names = {part: stated.get(part, PARTS[part].default) for part in part_kinds()}
    if "negatives" not in stated and (own := LOSSES[names["loss"]].NEGATIVES):
        names["negatives"] = own
    return names


def _parts_with_setting(chosen: dict[str, type[Settings]], stated: dict[str, Any]) -> dict[str, str]:
    """The part that each setting of the chosen ones belongs to."""
    owner: dict[str, str] = {}
    for part, settings in chosen.items():
        for name in fields(settings):
            if name in owner:
                both = " and ".join(_describe_part(each, stated) for each in (owner[name], part))
                raise InputError(f"--{name}", f"a setting of both {both}", "a name of its own for each setting")
            owner[name] = part
    return owner


def _describe_part(part: str, stated: dict[str, Any]) -> str:
    """How a user knows a part: by the flag that chooses it, where there is one."""
    kind = PARTS[part]
    return f"--{part}={chosen_names(stated)[part]}" if isinstance(kind, Registry) else part


def parts_with_setting(name: str) -> dict[str, list[str]]:
    """The kinds of exchangeable parts that have a setting of this name, each with the names of those parts."""
    found = {}
    for part, kind in PARTS.items():
        if isinstance(kind, Registry) and (having := [each for each in kind if name in fields(kind[each])]):
            found[part] = having
    return found


def _expected_values(name: str, stated: dict[str, Any]) -> str:
    """What is expected in place of a setting that the chosen parts do not have."""
    for part, having in parts_with_setting(name).items():
        return f"nothing with {_describe_part(part, stated)}, which has none (--{part}={' or '.join(having)} has)"
    return expected_instead(name, all_setting_names())


def all_setting_names() -> set[str]:
    """The names of all settings of all parts that are registered."""
    classes = [cls for kind in PARTS.values() for cls in (kind.values() if isinstance(kind, Registry) else (kind,))]
    return part_kinds().union(*map(fields, classes))
