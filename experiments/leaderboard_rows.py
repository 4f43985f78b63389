"""The rows of the table of all models: what folders and committed facts say, all seeds of one configuration in one."""

import dataclasses
from pathlib import Path

from leaderboard_facts import Row, fact
from leaderboard_folders import GROUPS, of_folder

from lgcn_jax.errors import InputError


def read(paths: list[Path]) -> tuple[list[Row], list[str]]:
    """The rows of run folders, solved models and files of facts; and a line for each that cannot be in one table."""
    rows: dict[str, Row] = {}
    problems = []
    for path in paths:
        if path.name.endswith(GROUPS):  # they are read with the folder beside them
            continue
        try:
            row = fact(path) if path.suffix == ".json" else of_folder(path)
            _add(rows, row, path)
        except InputError as error:
            problems.append(str(error))
    return list(rows.values()), problems


def add_time(row: Row, part: Row) -> None:
    """Adds the whole time of a part, which had to be there first, to the time before each run of the row.

    Raises:
      InputError: the time of one of both is not known.
    """
    before = part.mean("wall_seconds")
    if before is None or row.mean("startup_seconds") is None or row.mean("wall_seconds") is None:
        raise InputError(part.name, "no time of the whole command", "a run that one command made, and a row of one")
    row.runs = [
        dataclasses.replace(run, startup_seconds=run.startup_seconds + before, wall_seconds=run.wall_seconds + before)
        for run in row.runs
    ]


def _add(rows: dict[str, Row], row: Row, path: Path) -> None:
    """Puts a row among the others, or its runs among those of the same configuration."""
    first = next((other for other in rows.values() if other.dataset == row.dataset), row)
    if first.evaluation_sha256 != row.evaluation_sha256:
        found = f"{row.dataset} of other content ({row.evaluation_sha256[:12]})"
        raise InputError(path, found, f"that of {first.name} ({first.evaluation_sha256[:12]})")
    same = rows.setdefault(row.key, row)
    if same is row:
        return
    for run in row.runs:
        if run.seed in [other.seed for other in same.runs]:
            raise InputError(path, f"seed {run.seed} of {same.name} again", "each seed of a configuration once")
        same.runs.append(run)
    same.runs.sort(key=lambda run: run.seed)
    same.cold_start = same.cold_start or row.cold_start
