"""Kills a run with SIGKILL at random moments, lets it continue, and compares its end with that of a run left alone.

    python experiments/reliability/kill_test.py --data_dir=data --kills=50 --out=runs/kill

Every trial is a run of its own: begun, killed at a moment drawn uniformly over the time that the run left alone took,
every third one killed again while it continues, and begun again with the same command until it ends. A checkpoint is
written after every epoch, so that most moments lie within a save. The best epoch is chosen on a validation part, early
stopping counts, and so does the plateau schedule; the test part is scored at the end. Compared are metrics.jsonl and
result.json without their times, the epochs of which checkpoints were kept, and every array of the newest checkpoint
(parameters, optimizer state), bit for bit. Exits with status 1
where one differs; the folder of such a trial is kept.

LastFM, 60 epochs, two CPU cores: about 20 seconds a trial.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import app, flags, logging

from lgcn_jax import checkpoint

AGAIN = 3  # of how many trials one is killed a second time
SETTINGS = (  # all that a run remembers from one evaluation to the next
    *("--save_every=1", "--eval_every=4", "--plateau_factor=0.5", "--plateau_patience=2"),
    *("--eval_split=valid", "--validation_fraction=0.1", "--early_stopping_patience=10"),
)


@dataclass(frozen=True)
class Outcome:
    """What a run leaves behind, without times: the same for the same run, however often it was stopped."""

    rows: list[dict[str, Any]]
    result: dict[str, Any]
    kept: list[int]
    arrays: dict[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> "Outcome":
        rows = [_untimed(json.loads(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        kept = checkpoint.steps(folder / "checkpoints")
        with ocp.StandardCheckpointer() as reader:
            tree = reader.restore((folder / "checkpoints" / str(kept[-1]) / "arrays").absolute())
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        arrays = {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}
        return cls(rows, _untimed(json.loads((folder / "result.json").read_text())), kept, arrays)

    def differences(self, other: "Outcome") -> list[str]:
        """The names of what differs."""
        return [name for name in self.__dataclass_fields__ if getattr(self, name) != getattr(other, name)]


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(part) for name, part in value.items() if not name.endswith("seconds")}
    return value


@dataclass(frozen=True)
class Trial:
    """One command line, run in several folders."""

    settings: tuple[str, ...]

    def start(self, folder: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "lgcn_jax", "train", *self.settings, f"--workdir={folder}", "--quiet"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(self, folder: Path) -> str:
        """Runs to the end, and returns what was said on stderr."""
        process = self.start(folder)
        _, said = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{folder}: exit status {process.returncode}: {said}")
        return said

    def kill(self, folder: Path, moment: float) -> str | None:
        """Runs for `moment` seconds and kills; returns what was going on then, None where the run was over."""
        process = self.start(folder)
        time.sleep(moment)
        process.kill()
        process.communicate()
        return _moment(folder) if process.returncode == -signal.SIGKILL else None


def _moment(folder: Path) -> str:
    if (folder / "result.json").exists():
        return "at the end, after result.json"
    if list((folder / "checkpoints").glob("*.orbax-checkpoint-tmp*")):
        return "while a checkpoint was written"
    return "between checkpoints" if checkpoint.steps(folder / "checkpoints") else "before the first checkpoint"


def survive(trial: Trial, out: Path, kills: int, seed: int) -> tuple[int, Counter]:
    """Runs once undisturbed and `kills` times killed.

    Returns:
      How many of the killed runs ended as the undisturbed one, and how many kills hit which moment.
    """
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    trial.finish(out / "whole")
    seconds = time.perf_counter() - started
    whole, same, moments = Outcome.of(out / "whole"), 0, Counter()
    print(f"left alone: {seconds:.1f} s, {len(whole.rows)} lines, checkpoints {whole.kept}", flush=True)
    draw = random.Random(seed)
    for number in range(kills):
        folder, hit = out / f"killed-{number}", None
        while hit is None:  # a run may take less time than the one left alone
            shutil.rmtree(folder, ignore_errors=True)
            moment = draw.uniform(0, seconds)
            hit = trial.kill(folder, moment)
        again = number % AGAIN == 0 and trial.kill(folder, draw.uniform(0, seconds))
        said = trial.finish(folder)
        differences = whole.differences(Outcome.of(folder))
        moments[hit] += 1
        verdict = f"DIFFERS: {', '.join(differences)}" if differences else "identical"
        hit += f", and again {again}" if again else ""
        print(f"{number + 1:3d}  {moment:6.2f} s, {hit}: {verdict}  {said.strip()}", flush=True)
        if not differences:
            same += 1
            shutil.rmtree(folder)
    return same, moments


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every read
    settings = (
        f"--dataset={flags.FLAGS.dataset}",
        f"--data_dir={flags.FLAGS.data_dir}",
        f"--epochs={flags.FLAGS.epochs}",
    )
    trial = Trial((*settings, *SETTINGS))
    same, moments = survive(trial, Path(flags.FLAGS.out), flags.FLAGS.kills, flags.FLAGS.seed)
    for hit, count in moments.most_common():
        print(f"{count:3d} killed {hit}")
    print(f"{same} of {flags.FLAGS.kills} bit-identical")
    sys.exit(same != flags.FLAGS.kills)


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "lastfm", "data set, as in lgcn_jax train")
    flags.DEFINE_string("data_dir", "data", "folder of the named sets")
    flags.DEFINE_integer("kills", 50, "trials")
    flags.DEFINE_integer("epochs", 60, "epochs of the run")
    flags.DEFINE_integer("seed", 0, "seed of the moments")
    flags.DEFINE_string("out", "runs/kill", "folder of the runs")
    app.run(main)
