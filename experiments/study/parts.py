"""The experiments of the study as data: conditions x seeds on a data set, and how long each is trained.

A condition is a name and the settings in which it differs. What an experiment does not state has the library's
defaults, which are those of LightGCN-PyTorch: 3 layers, d 64, lr 1e-3, l2 1e-4, batches of 2,048, tables of N(0, 0.1).
"""

import dataclasses
import itertools
from typing import Any

Settings = dict[str, Any]

PAPER: Settings = {"loss": "enhanced", "margin": 0.05, "temperature": 0.2, "alpha": 0.8}
BPR: Settings = {"loss": "bpr"}
BOTH_LOSSES = {"bpr": BPR, "both": PAPER}
HELD_OUT = 0.1  # of each user's train items, the validation part
REFERENCE_EPOCH = 480  # of both results that the paper prints


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What one command trains and one file of results holds.

    Attributes:
      name: of the command and of the file.
      question: what it is to answer.
      dataset: a name, or a folder.
      conditions: name -> the settings in which the condition differs.
      seeds: of initial tables and samples; every condition has each of them, so that they are paired.
      epochs: the budget of every run.
      eval_every: epochs between evaluations.
      held_out: share of each user's train items that is the validation part; 0: none, all train pairs are trained on
        and the epoch can only be chosen on the test part, as the paper does.
      shared: settings of all conditions.
      data: settings of the data set.
      portraits: whether the model of the chosen epoch is described: users, items, lists, embeddings.
      left_out: the `share` of the users, of those with train and test items, who are in no part of the training and are
        folded in after it, and the `seed` that draws them for all runs; {}: nobody. Not beside portraits.
    """

    name: str
    question: str
    dataset: str
    conditions: dict[str, Settings]
    seeds: tuple[int, ...]
    epochs: int
    eval_every: int = 10
    held_out: float = HELD_OUT
    shared: Settings = dataclasses.field(default_factory=dict)
    data: Settings = dataclasses.field(default_factory=dict)
    portraits: bool = False
    left_out: Settings = dataclasses.field(default_factory=dict)

    def settings(self, condition: str) -> Settings:
        """All settings of a condition that are stated, but for the seed."""
        stated = {"epochs": self.epochs, "eval_every": self.eval_every, "top_k": (20,)}
        split = "valid" if self.held_out else "test"
        return self.shared | self.conditions[condition] | stated | {"eval_split": split}


def grid(fixed: Settings, **axes: tuple[float, ...]) -> dict[str, Settings]:
    """A condition for each cell, named by its values: {'margin=0 temperature=0.1': .., ..}."""
    cells = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    return {" ".join(f"{name}={value:g}" for name, value in cell.items()): fixed | cell for cell in cells}


LOSSES = BOTH_LOSSES | {"margin": PAPER | {"alpha": 1.0}, "contrast": PAPER | {"alpha": 0.0}}
MODELS = {"mf": {"model": "mf"}, "ngcf": {"model": "ngcf"}, "lightgcn++": {"model": "lightgcn++"}}
MODELS |= {"egcf": {"model": "egcf"}}


def _each_model() -> dict[str, Settings]:
    pairs = itertools.product(MODELS.items(), BOTH_LOSSES.items())
    return {f"{model} {loss}": settings | of_loss for (model, settings), (loss, of_loss) in pairs}


SOFTMAX: Settings = {"loss": "ssm", "temperature": 0.2}
ONE, MANY = {"negatives": "uniform", "num_negatives": 1}, {"negatives": "shared", "num_shared": 2048}
CONTRASTS = {
    "bpr": BPR,
    "dot, 1 uniform": SOFTMAX | ONE | {"score": "dot", "temperature": 1.0},
    "dot, 2,048 uniform": SOFTMAX | MANY | {"score": "dot", "temperature": 1.0},
    "cosine, 1 uniform": SOFTMAX | ONE | {"score": "cosine"},
    "cosine, 2,048 uniform": SOFTMAX | MANY | {"score": "cosine"},
    "cosine, in-batch": SOFTMAX | {"score": "cosine", "negatives": "in-batch"},
    "dot, in-batch": SOFTMAX | {"score": "dot", "temperature": 1.0, "negatives": "in-batch"},
}

EXPERIMENTS = {
    each.name: each
    for each in (
        Experiment(
            "losses",
            "Does the loss help on LastFM, and which part of it?",
            "lastfm",
            LOSSES,
            tuple(range(10)),
            epochs=520,
            eval_every=20,
            portraits=True,
        ),
        Experiment(
            "folded-in",
            "Do users gain who are not trained on, and are folded in by their items?",
            "lastfm",
            BOTH_LOSSES,
            tuple(range(5)),
            epochs=200,
            eval_every=20,
            left_out={"share": 0.1, "seed": 2020},
        ),
        Experiment(
            "samplers",
            "Is training equal in distribution to LightGCN-PyTorch's, with its sampler and with the default one?",
            "lastfm",
            {
                f"{sampler} {loss}": settings | {"sampler": sampler}
                for sampler in ("published", "user")
                for loss, settings in BOTH_LOSSES.items()
            },
            tuple(range(1, 11)),
            epochs=200,
            held_out=0.0,
        ),
        Experiment(
            "printed",
            "What does the paper's own protocol say: all train pairs, the epoch chosen on the test part, or 480?",
            "lastfm",
            BOTH_LOSSES,
            tuple(range(10)),
            epochs=500,
            held_out=0.0,
        ),
        Experiment(
            "margin-temperature",
            "Where are the best margin and temperature?",
            "lastfm",
            grid({"loss": "enhanced", "alpha": 0.8}, margin=(0.0, 0.05, 0.5), temperature=(0.1, 0.2, 1.0))
            | {"bpr": BPR},
            tuple(range(3)),
            epochs=60,
        ),
        Experiment(
            "alpha-temperature",
            "Where are the best alpha and temperature?",
            "lastfm",
            grid({"loss": "enhanced", "margin": 0.05}, alpha=(0.0, 0.5, 0.8), temperature=(0.1, 0.2, 1.0)),
            tuple(range(3)),
            epochs=60,
        ),
        Experiment(
            "ml-100k",
            "Does the loss help on another data set?",
            "ml-100k",
            BOTH_LOSSES,
            tuple(range(5)),
            epochs=60,
        ),
        Experiment("gowalla", "And on Gowalla?", "gowalla", BOTH_LOSSES, (2020,), epochs=10, eval_every=2),
        Experiment("yelp2018", "And on Yelp2018?", "yelp2018", BOTH_LOSSES, (2020,), epochs=5, eval_every=1),
        Experiment(
            "contrasts",
            "Which part of the in-batch softmax's gain is the number of negatives, which cosine, which popularity?",
            "lastfm",
            CONTRASTS,
            tuple(range(3)),
            epochs=40,
        ),
        Experiment(
            "absorbed",
            "Is a margin absorbed by longer vectors where L2 is weak?",
            "lastfm",
            grid({"loss": "enhanced", "alpha": 1.0}, margin=(0.0, 0.5, 2.0), l2=(1e-4, 0.0)),
            tuple(range(3)),
            epochs=60,
            eval_every=20,
            portraits=True,
        ),
        Experiment(
            "models-lastfm",
            "Does the loss carry over to other models?",
            "lastfm",
            _each_model(),
            tuple(range(5)),
            epochs=60,
        ),
        Experiment(
            "models-ml-100k",
            "Does the loss carry over to other models on another data set?",
            "ml-100k",
            _each_model(),
            tuple(range(5)),
            epochs=40,
        ),
    )
}
