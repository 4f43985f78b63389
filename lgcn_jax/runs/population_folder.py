"""The folder of a population: its members' run folders, its own checkpoints, and what it is.

population.json  checkpoints/  result.json  members/000/ ... each as the folder of a run
"""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from lgcn_jax.config import Config
from lgcn_jax.data.interactions import Interactions
from lgcn_jax.errors import InputError
from lgcn_jax.runs import checkpoint, integrity, raw_ids, resume, workdir
from lgcn_jax.runs.checkpoint import Checkpoints
from lgcn_jax.runs.integrity import DamagedError
from lgcn_jax.runs.workdir import MEMBERS, POPULATION, RunFolder
from lgcn_jax.training.population_setup import PopulationSetup
from lgcn_jax.training.population_state import (
    FAILED,
    PopulationSnapshot,
    best_member_snapshot,
    member_snapshot,
)
from lgcn_jax.training.progress import save_due
from lgcn_jax.training.state import Snapshot

FORMAT = 1  # of population.json
KEY = "population"  # of what a checkpoint says of itself


class StoredPopulation(NamedTuple):
    """What population.json says.

    Attributes:
      config: the settings of the first member.
      members: of each member its own settings.
      width: of the chunks in which members are trained, on which their bits may depend.
    """

    config: Config
    members: list[dict[str, Any]]
    width: int

    def to_json(self) -> dict[str, Any]:
        return {"population_format": FORMAT, **self._asdict(), "config": self.config.to_json()}

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> "StoredPopulation":
        if (found := values["population_format"]) != FORMAT:
            raise ValueError(f"format {found!r}, of which this version knows {FORMAT}")
        return cls(Config.of_json(values["config"]), [dict(own) for own in values["members"]], int(values["width"]))


def member_folder(folder: Path, member_index: int) -> Path:
    """The run folder of a member."""
    return folder / MEMBERS / f"{member_index:03d}"


def stored_population(folder: Path) -> StoredPopulation | None:
    """The population in the folder; None where nothing is. A checkpoint's is sealed, and so comes first.

    Raises:
      InputError: there is a run, or a population that cannot be read.
    """
    written, checkpoints = _read_stored(folder), folder / "checkpoints"
    for number in reversed(integrity.checkpoint_steps(checkpoints)):
        with contextlib.suppress(DamagedError):
            meta = checkpoint.read_metadata(checkpoints, number)
            if KEY not in meta:
                raise InputError(f"--workdir={folder}", "a run", "a population, a free folder, or --overwrite")
            sealed = _parse_stored(checkpoints / str(number), meta[KEY])
            free = {} if written is None else written.config.to_dict()
            free = {name: value for name, value in free.items() if name in resume.CHANGEABLE}
            return sealed._replace(config=sealed.config.replace(**free))
    if written is None and (folder / "config.json").exists():
        raise InputError(f"--workdir={folder}", "a run", "a population, a free folder, or --overwrite")
    return written


def _read_stored(folder: Path) -> StoredPopulation | None:
    """What population.json says; None where there is none, or what is there is damaged."""
    if not workdir.is_population(folder):
        return None
    return _parse_stored(folder / POPULATION, json.loads((folder / POPULATION).read_text(encoding="utf-8")))


def _parse_stored(where: Path, values: dict[str, Any]) -> StoredPopulation:
    try:
        return StoredPopulation.of_json(values)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        found, expected = f"a population that cannot be read ({error})", "one that train has begun, or --overwrite"
        raise InputError(where, found, expected) from None


class PopulationFolder(contextlib.ExitStack):
    """The folders of a population's members while it is trained; a context manager that closes their open files.

    Args:
      path: of the population; made when missing.
      population: who the members are.
      interactions: the data set.
      rows: what each member has told before, when the population is continued.

    Raises:
      WriteError: a file cannot be written (so do the methods).
    """

    def __init__(
        self, path: Path, population: PopulationSetup, interactions: Interactions, rows: list[list[dict[str, Any]]]
    ):
        super().__init__()
        self._path, self._population = path, population
        self.environment = workdir.describe_environment(population.members.base, interactions)
        self.stored = StoredPopulation(population.members.base, list(population.members.settings), population.width)
        with workdir.as_write_error(self._path):
            (path / MEMBERS).mkdir(parents=True, exist_ok=True)
            (path / "result.json").unlink(missing_ok=True)  # its presence says that the population has ended
            workdir.write_json(path / POPULATION, self.stored.to_json())
        with contextlib.ExitStack() as opened:
            how = self.environment, raw_ids.collect_raw_ids(interactions)
            self.runs = [
                opened.enter_context(RunFolder(member_folder(path, number), config, how[0], rows[number], how[1]))
                for number, config in enumerate(population.members.configs)
            ]
            self.push(opened.pop_all())

    def log(self, member_index: int, row: dict[str, Any]) -> None:
        """A line of a member's metrics.jsonl."""
        self.runs[member_index].log(row)

    def save_member(self, snapshot: PopulationSnapshot, member_index: int) -> None:
        """Writes the checkpoints of a member that has ended, its best and its last, as its run would have."""
        member, run = snapshot.members[member_index], self.runs[member_index]
        last = None if member.status == FAILED else member_snapshot(self._population, snapshot, member_index)
        best = best_member_snapshot(self._population, snapshot, member_index)
        if best is not None and last is not None and best.progress.epoch == last.progress.epoch:
            best = None
        with workdir.as_write_error(self._path):
            shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
        with Checkpoints(run.path / "checkpoints", run.config.evaluation.watched_metric) as checkpoints:
            for place in filter(None, (best, last)):
                self._save_checkpoint(checkpoints, run, place)

    def _save_checkpoint(self, checkpoints: Checkpoints, run: RunFolder, place: Snapshot) -> None:
        setup, progress = self._population.setup, place.progress
        place = Snapshot(*setup.to_node_order((place.state, place.totals)), progress)
        facts = {
            "config": run.config.to_json(),
            "content_sha256": self.environment["dataset"]["content_sha256"],
            "environment": self.environment,
            "log": [row for row in run.rows if row["epoch"] <= progress.epoch],
        }
        checkpoints.save(place, setup.steps_per_epoch, facts, save_due(run.config, progress))

    def finish(self, result: dict[str, Any], results: list[dict[str, Any]]) -> None:
        """Writes result.json and the curves of each member, then result.json of the population."""
        for run, each in zip(self.runs, results, strict=True):
            run.finish(each)
        with workdir.as_write_error(self._path):
            workdir.write_json(self._path / "result.json", result | {"environment": self.environment})
