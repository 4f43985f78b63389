"""`similar`: the nearest neighbors of items or users by the final vectors."""

from absl import flags

from lgcn_jax.cli import models
from lgcn_jax.cli.command import Command, named_as_flags
from lgcn_jax.cli.recommend import OUT, output_lists, require_one_flag, require_writable
from lgcn_jax.config import RELOCATABLE
from lgcn_jax.system.signals import StopRequest


def similar(values: flags.FlagValues, request: StopRequest) -> int:
    """Writes or prints the nearest neighbors of items or users."""
    del request
    kind = require_one_flag(values, "similar", ("item", "user"))
    require_writable(values)
    model, k = models.load_vectors(values), values["k"].value
    known, find = (model.items, model.similar_items) if kind == "item" else (model.users, model.similar_users)
    with named_as_flags(**{f"{kind}s": f"--{kind}={values[kind].value}", "k": "--k", "metric": "--metric"}):
        ids = models.parse_ids(values[kind].value, known, f"--{kind}")
        found = find(ids, k, metric=values["metric"].value, mesh=models.mesh_of(values))
    output_lists(found, values, k)
    return 0


COMMAND = Command(
    similar,
    "the nearest neighbors of items or users by their final vectors",
    lambda: RELOCATABLE,
    {
        **models.OWN,
        "item": ("", "raw ids of items, separated by commas"),
        "user": ("", "raw ids of users, separated by commas"),
        "k": (20, "neighbors of each (default: 20)"),
        "metric": ("cosine", "how near: cosine, dot (default: cosine)"),
        **OUT,
    },
    texts=models.TEXTS,
)
