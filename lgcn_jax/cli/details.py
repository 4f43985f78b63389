"""What `evaluate` shows beyond its three metrics: more metrics, some users only, each user, groups."""

import dataclasses
from pathlib import Path

import numpy as np
from absl import flags

from lgcn_jax.cli import tables
from lgcn_jax.cli.command import say, warn
from lgcn_jax.cli.id_file import read_ids
from lgcn_jax.data.ids import positions
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.evaluation import metrics, results
from lgcn_jax.evaluation.results import EvaluationResult
from lgcn_jax.runs import display
from lgcn_jax.system.paths import exists

FLAGS: dict[str, tuple[str | bool, str]] = {
    "metrics": ("", f"metrics, separated by commas: {', '.join(results.METRICS)} (default: the first three)"),
    "users_file": ("", "the only users that count: a file with an id on each line, or a csv, tsv or parquet table"),
    "per_user": ("", "a .parquet file to be written, with each user's id, train degree and metrics"),
    "groups": (False, "shows groups of users by their interactions, and of items by their popularity"),
}


@dataclasses.dataclass(frozen=True)
class DetailFlags:
    """What the flags of FLAGS ask for.

    Attributes:
      metrics: of `results.METRICS`; `stated`: whether the command line states them.
      users_file: a file of raw ids, '' for all users.
      per_user: the file that is written, None for none.
      groups: whether groups are shown.
    """

    metrics: tuple[str, ...]
    stated: bool
    users_file: str
    per_user: Path | None
    groups: bool

    @classmethod
    def of(cls, values: flags.FlagValues) -> "DetailFlags | None":
        """What the command line asks for; None where it states none of these flags.

        Raises:
          InputError: a metric is unknown, or the file to be written can be none.
        """
        if not any(values[name].present for name in FLAGS):
            return None
        stated = values["metrics"].present
        wanted = tuple(filter(None, values["metrics"].value.split(","))) if stated else metrics.NAMES
        results.require_metrics(wanted, "--metrics")
        for name in ("users_file", "per_user"):
            if values[name].present and not values[name].value:
                raise InputError(f"--{name}", "nothing", "a file")
        file = _require_writable(values["per_user"].value) if values["per_user"].value else None
        return cls(wanted, stated, values["users_file"].value, file, values["groups"].value)

    def users(self, interactions: Interactions, split: str) -> np.ndarray | None:
        """int64[m], the numbers of the users of --users_file; None: all."""
        if not self.users_file:
            return None
        ids = read_ids(self.users_file, interactions.user_ids, "--users_file")
        numbers = positions(ids, interactions.user_ids, f"--users_file={self.users_file}")
        results.require_evaluated_users(interactions, split, numbers, f"--users_file={self.users_file}")
        return numbers

    def show(self, label: str, found: EvaluationResult, interactions: Interactions) -> None:
        """Prints what was found and writes the file that was asked for; `label` says of which model."""
        if self.per_user:
            found.save(self.per_user)
        if self.users_file and found.left_out:
            told = f"{found.left_out:,} of {found.left_out + len(found.users):,} users"
            warn(iter([f"{self.users_file}: {told} have no item in the {found.split} part and are not evaluated"]))
        title = f"{interactions.name}, {found.split} part"
        if self.stated:
            say(tables.format_metrics(f"{title}, {label}", found.means()))
        else:
            say(display.format_table({title: {}, label: found.means()}))
        if self.groups:
            say(f"\n{_format_groups(found)}")
        if self.per_user:
            say(f"\n{len(found.users):,} users in {self.per_user}")


def _format_groups(found: EvaluationResult) -> str:
    """Both tables, each under a line that says what it has."""
    users = "users by interactions in all parts, groups of about equal interactions: means within each"
    items = "items by users in the train part, groups of about equal train pairs; recall@k: their part of the whole,"
    return "\n".join(
        [
            *(users, tables.format_groups(found.user_groups()), ""),
            *(f"{items} found@k: of their own relevant pairs", tables.format_groups(found.item_groups())),
        ]
    )


def _require_writable(stated: str) -> Path:
    """The parquet file that is written, in a folder that exists."""
    path = results.require_parquet(stated, "--per_user")
    if (exists(path, "--per_user") and path.is_dir()) or not path.absolute().parent.is_dir():
        raise InputError("--per_user", stated, "a file in a folder that exists")
    return path
