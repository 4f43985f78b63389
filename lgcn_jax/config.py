"""The settings of a run: one frozen, validated dataclass, and the command-line flags made from its fields.

A setting is written once, as a field: its type, default, help text and range are here and nowhere else. Nothing below
the command line sees a flag.
"""

import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path

from absl import flags

from lgcn_jax.data.reader import FORMATS
from lgcn_jax.errors import InputError

LOSSES = {
    "bpr": {"margin": 0.0, "temperature": 1.0, "alpha": 1.0},
    "enhanced": {"margin": 0.05, "temperature": 0.2, "alpha": 0.8},
}
SAMPLERS = ("user", "edge")
SPLITS = ("valid", "test")
NODE_ORDERS = ("auto", "natural", "local")
LAYOUTS = ("auto", "bcoo", "bcsr", "segment", "bucket", "cusparse")
DTYPES = ("float32", "bfloat16")


def _setting(default, help_text: str, accepts: Callable[[typing.Any], bool] = lambda _: True, expected: str = ""):
    return dataclasses.field(default=default, metadata={"help": help_text, "accepts": accepts, "expected": expected})


def _choice(default: str, choices: tuple[str, ...], help_text: str):
    return _setting(
        default, f"{help_text}: {', '.join(choices)}", lambda v: v in choices, f"one of {', '.join(choices)}"
    )


def _count(default: int, help_text: str, least: int = 1, most: int = 2**31 - 1):
    def accepts(value) -> bool:
        return isinstance(value, int) and least <= value <= most

    return _setting(default, help_text, accepts, f"an integer from {least} to {most}")


def _representable(value: float) -> bool:
    """Whether the value is a number in float32, neither infinite nor flushed to zero."""
    return value == 0 or 1e-37 <= abs(value) <= 1e38


def _real(default: float | None, help_text: str, accepts: Callable[[float], bool], expected: str):
    return _setting(default, help_text, lambda v: _representable(v) and accepts(v), f"{expected} (in float32)")


def mesh_shape(spec: str) -> tuple[int, int]:
    """The sizes (D, M) of the axes that 'data:D,nodes:M' states; an axis that is not named has size 1.

    Raises:
      ValueError: the text is of another form.
    """
    if not (match := re.fullmatch(r"(?:data:([1-9]\d{0,4}))?,?(?:nodes:([1-9]\d{0,4}))?", spec)):
        raise ValueError(f"{spec!r} is not data:D,nodes:M")
    return int(match[1] or 1), int(match[2] or 1)


def _is_mesh(spec: str) -> bool:
    try:
        return bool(mesh_shape(spec))
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of a run. Values are checked at construction.

    Raises:
      InputError: a value is outside its range; the message names the flag, the value and the range.
    """

    # The data set.
    dataset: str = _setting("", "a data set by name, a folder with train and test files, or one file of interactions")
    data_dir: str = _setting("data", "folder in which named data sets are looked for, and put when fetched")
    format: str = _choice("auto", FORMATS, "how files named by a path are read")
    test_fraction: float = _real(
        0.2,
        "share of each user's items that is the test part, where a data set is one file",
        lambda v: 0 < v < 1,
        "a number between 0 and 1",
    )
    validation_fraction: float = _real(
        0.0,
        "share of each user's train items held out for validation",
        lambda v: 0 <= v < 1,
        "a number from 0 to below 1",
    )
    data_seed: int = _count(0, "seed of splits and of the synthetic data set", least=0)
    num_users: int = _count(10_000, "users of the synthetic data set", least=2)
    num_items: int = _count(5_000, "items of the synthetic data set", least=2)
    num_interactions: int = _count(200_000, "interactions of the synthetic data set", least=2)

    # The model.
    num_layers: int = _count(3, "number of propagation layers K", least=0, most=64)
    embedding_dim: int = _count(64, "width d of the tables", most=65536)
    layer_weights: tuple[float, ...] = _setting(
        (),
        "weights alpha_0,...,alpha_K of the layers (default: each 1/(K+1))",
        lambda v: all(map(_representable, v)),
        "finite numbers (in float32)",
    )
    init_std: float = _real(0.1, "standard deviation of the initial tables", lambda v: v > 0, "a number above 0")

    # The loss.
    loss: str = _choice("enhanced", tuple(LOSSES), "a preset of margin, temperature and alpha")
    margin: float | None = _real(None, "margin of the ranking term (enhanced: 0.05)", lambda v: True, "a finite number")
    temperature: float | None = _real(
        None, "temperature of the contrastive term (enhanced: 0.2)", lambda v: v > 0, "a number above 0"
    )
    alpha: float | None = _real(
        None,
        "weight of the ranking term; the contrastive term has 1 - alpha (enhanced: 0.8)",
        lambda v: 0 <= v <= 1,
        "a number from 0 to 1",
    )
    l2: float = _real(1e-4, "weight of the batch's squared layer-0 rows", lambda v: v >= 0, "a number of at least 0")

    # Optimization.
    sampler: str = _choice("user", SAMPLERS, "what an epoch draws")
    batch_size: int = _count(2048, "triples of a step")
    learning_rate: float = _real(1e-3, "Adam's step size", lambda v: v > 0, "a number above 0")
    clip_norm: float = _real(
        1.0, "largest global norm of the gradient; 0: no clipping", lambda v: v >= 0, "a number of at least 0"
    )
    plateau_factor: float = _real(
        1.0,
        "what the learning rate is multiplied with on a plateau (1 - metric not down by 0.01 %); 1: never",
        lambda v: 0 < v <= 1,
        "a number above 0 and at most 1",
    )
    plateau_patience: int = _count(
        10,
        "evaluations without improvement that are waited for",
        least=0,
        most=2**31 - 2,  # one more is an int32, too
    )
    plateau_min_lr: float = _real(
        0.0, "where the learning rate stops falling", lambda v: v >= 0, "a number of at least 0"
    )
    plateau_metric: str = _setting("", "the metric watched (default: recall at the first k)")
    epochs: int = _count(1000, "epochs in all")
    early_stopping_patience: int = _count(
        0, "evaluations without a new best after which the run ends; 0: never", least=0
    )
    save_every: int = _count(10, "epochs between checkpoints; a new best is always saved")
    seed: int = _count(2020, "seed of initial tables and samples", least=0)
    mesh: str = _setting(
        "data:1,nodes:1",
        "devices of the run, as data:D,nodes:M: batches are cut over D, table and graph over M of them",
        _is_mesh,
        "data:D,nodes:M",
    )
    node_order: str = _choice("auto", NODE_ORDERS, "order of the table's rows; auto is what was fastest")
    propagation: str = _choice(
        "auto", LAYOUTS, "layout of the adjacency matrix; auto is what was fastest on the platform"
    )
    propagation_dtype: str = _choice(
        "float32", DTYPES, "what products read embeddings rounded to; sums, the trained table and Adam stay float32"
    )

    # Evaluation.
    eval_every: int = _count(10, "epochs between evaluations; the last epoch is always evaluated")
    eval_split: str = _choice("test", SPLITS, "the part evaluated during training, which chooses the best epoch")
    top_k: tuple[int, ...] = _setting(
        (20,),
        "list lengths k of the metrics; the first one chooses the best epoch",
        lambda v: v and all(type(k) is int and k >= 1 for k in v) and len(set(v)) == len(v),
        "distinct integers of at least 1",
    )

    def __post_init__(self):
        self._fill_loss()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not field.metadata["accepts"](value):
                raise InputError(f"--{field.name}", text(value), field.metadata["expected"])
        if self.plateau_min_lr > self.learning_rate:
            raise InputError("--plateau_min_lr", self.plateau_min_lr, f"at most --learning_rate={self.learning_rate}")
        if self.layer_weights and len(self.layer_weights) != self.num_layers + 1:
            raise InputError(
                "--layer_weights", f"{len(self.layer_weights)} numbers", f"{self.num_layers + 1} (num_layers + 1)"
            )
        if not self.plateau_metric:
            object.__setattr__(self, "plateau_metric", self.watched)
        if self.plateau_metric not in self.metric_names:
            raise InputError("--plateau_metric", repr(self.plateau_metric), f"one of {', '.join(self.metric_names)}")

    def _fill_loss(self):
        """Margin, temperature and alpha that were not given come from the preset; bpr admits no other value."""
        preset = LOSSES.get(self.loss, LOSSES["enhanced"])
        for name, value in preset.items():
            given = getattr(self, name)
            if given is None:
                object.__setattr__(self, name, value)
            elif self.loss == "bpr" and given != value:
                raise InputError(f"--{name}", given, f"{value} with --loss=bpr (or --loss=enhanced)")

    @property
    def weights(self) -> tuple[float, ...]:
        """The layer weights alpha_0..alpha_K, uniform unless given."""
        return self.layer_weights or (1 / (self.num_layers + 1),) * (self.num_layers + 1)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics' names as they stand in the run folder, in order."""
        return tuple(f"{name}@{k}" for k in self.top_k for name in ("precision", "recall", "ndcg"))

    @property
    def watched(self) -> str:
        """The metric that chooses the best epoch."""
        return f"recall@{self.top_k[0]}"

    def without_effect(self) -> dict[str, str]:
        """The settings that others leave without effect, each with what would give it one."""
        if self.plateau_factor < 1:
            return {}
        return dict.fromkeys(("plateau_patience", "plateau_min_lr", "plateau_metric"), "--plateau_factor below 1")

    def to_json(self) -> dict:
        """The settings as JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def of_json(cls, values: dict) -> "Config":
        """The settings of which `to_json` made `values`."""
        if not isinstance(values.get("dataset"), str) or not isinstance(values.get("data_dir"), str):
            raise TypeError("dataset and data_dir are no texts")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    @classmethod
    def from_json(cls, path: Path) -> "Config":
        """The settings in the file `path`."""
        try:
            return cls.of_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise InputError(path, "no such file", "the config.json of a run") from None
        except (OSError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            raise InputError(path, f"a file that is no run's config ({error})", "the config.json of a run") from None


def define_flags(values: flags.FlagValues, names: typing.Iterable[str]) -> None:
    """Adds the flags of the named settings to `values`; their defaults are None, so that given ones are known."""
    fields = {field.name: field for field in dataclasses.fields(Config)}
    kinds = typing.get_type_hints(Config)
    for name in names:
        field = fields[name]
        default = "" if field.default in (None, (), "") else f" (default: {text(field.default)})"
        parser = _Parser(kinds[name])
        flags.DEFINE(parser, name, None, field.metadata["help"] + default, flag_values=values, serializer=None)


def given(values: flags.FlagValues, names: typing.Iterable[str]) -> dict[str, typing.Any]:
    """The settings among `names` that the command line states."""
    return {name: values[name].value for name in names if name in values and values[name].present}


class _Parser(flags.ArgumentParser):
    """Text of a flag -> value of the setting's type."""

    syntactic_help = ""

    def __init__(self, kind: type):
        super().__init__()
        self._repeated = typing.get_origin(kind) is tuple
        if self._repeated or isinstance(kind, types.UnionType):
            kind = typing.get_args(kind)[0]
        self._kind = kind

    def parse(self, argument: str):
        if self._repeated:
            if not argument:
                raise ValueError("expected numbers, separated by commas")
            return tuple(self._convert(part) for part in argument.split(","))
        return self._convert(argument)

    def _convert(self, text: str):
        try:
            return self._kind(text)
        except ValueError:
            raise ValueError(f"expected {'an integer' if self._kind is int else 'a number'}") from None

    def flag_type(self) -> str:
        return self._kind.__name__


def text(value) -> str:
    """A setting's value as the command line takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else repr(value) if value == "" else str(value)
