"""Kills a run with SIGKILL, lets it continue, and compares its end with that of a run left alone.

    python experiments/reliability/kill_test.py --data_dir=data --kills=50 --out=runs/kill --mode=time

`--mode=time` kills at a moment drawn uniformly over the time that the run left alone took. `--mode=inside` kills inside
an operation of a drawn kind (a save, a rename, a removal) and number, by way of `killed_inside.py`, and again while the
run is continued to an end at the epoch that it has come to. `--mode=processes` runs two processes and kills one of
them, drawn, at a drawn moment: the other one has to end by itself, in one line.

Every trial is a run of its own: begun, killed, in the mode of time every third one killed again while it continues,
and begun again with the same command until it ends. A checkpoint is written after every epoch, so that many moments lie
within a save. The best epoch is chosen on a validation part, early stopping counts, and so does the plateau schedule;
the test part is scored at the end. Compared are metrics.jsonl and result.json without their times, the epochs of which
checkpoints were kept, and every array of the newest checkpoint (parameters, optimizer state), bit for bit. Exits with
status 1 where one differs; the folder of such a trial is kept.

Programs are compiled once, by the first run left alone, and taken from a folder after that, so that kills come while
a run trains.
"""

import json
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import app, flags, logging

from lgcn_jax.runs import integrity

INSIDE = str(Path(__file__).with_name("killed_inside.py"))
AGAIN = 3  # of how many trials one is killed a second time
EARLY = 4  # of a continued run, up to which operation it is killed: what it mends, and its first save
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
        kept = integrity.checkpoint_steps(folder / "checkpoints")
        path = (folder / "checkpoints" / str(kept[-1]) / "arrays").absolute()
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])  # wherever the run's devices were
        with ocp.StandardCheckpointer() as reader:
            saved = reader.metadata(path).item_metadata.tree
            shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), saved)
            tree = reader.restore(path, shapes)
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        arrays = {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}
        return cls(rows, _untimed(json.loads((folder / "result.json").read_text())), kept, arrays)

    def differences(self, other: "Outcome") -> list[str]:
        """The names of what differs."""
        return [name for name in self.__dataclass_fields__ if getattr(self, name) != getattr(other, name)]


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: part for name, part in value.items() if not name.endswith("seconds") and name != "usage"}
        return {name: _untimed(part) for name, part in kept.items()}
    return value


@dataclass(frozen=True)
class Trial:
    """One command line, run in several folders."""

    settings: tuple[str, ...]

    def start(self, folder: Path, program: tuple[str, ...] = ("-m", "lgcn_jax")) -> subprocess.Popen:
        command = [sys.executable, *program, "train", *self.settings, f"--workdir={folder}", "--quiet"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(self, folder: Path) -> str:
        """Runs to the end, and returns what was said on stderr."""
        return _ended(folder, self.start(folder))

    def kill(self, folder: Path, moment: float) -> str | None:
        """Runs for `moment` seconds and kills; returns what was going on then, None where the run was over."""
        process = self.start(folder)
        time.sleep(moment)
        process.kill()
        process.communicate()
        return _moment(folder) if process.returncode == -signal.SIGKILL else None

    def kill_inside(self, folder: Path, operation: str, number: int) -> bool:
        """Kills at an operation on files by its number; False where the run was over before."""
        process = self.start(folder, (INSIDE, str(folder), operation, str(number)))
        process.communicate()
        return process.returncode == -signal.SIGKILL

    def operations(self, folder: Path) -> dict[str, int]:
        """Runs to the end, and returns how often each operation on files occurred."""
        _ended(folder, self.start(folder, (INSIDE, str(folder), "none", "0")))
        return json.loads(Path(f"{folder}.operations").read_text())


@dataclass(frozen=True)
class Pair:
    """One command line as a run of two processes, in several folders."""

    settings: tuple[str, ...]
    timeout: int = 60  # seconds that one waits for the other where they meet

    def start(self, folder: Path) -> list[subprocess.Popen]:
        address = f"127.0.0.1:{free_port()}"
        one_run = "--mesh=data:2", f"--coordinator={address}", "--num_processes=2", f"--process_timeout={self.timeout}"
        numbered = [Trial((*self.settings, *one_run, f"--process_id={number}")) for number in range(2)]
        return [trial.start(folder) for trial in numbered]

    def finish(self, folder: Path) -> str:
        first, second = self.start(folder)
        said = _ended(folder, first)
        _ended(folder, second)
        return said

    def kill(self, folder: Path, moment: float, victim: int) -> str | None:
        """Kills one of the two; returns what the other one said, None where the run was over."""
        processes = self.start(folder)
        time.sleep(moment)
        processes[victim].kill()
        told = [process.communicate()[1] for process in processes]
        if processes[victim].returncode != -signal.SIGKILL:
            return None
        other = processes[1 - victim]
        lines = [line for line in told[1 - victim].splitlines() if not line.startswith(f"{folder}: ")]
        alone = len(lines) == 1 and re.search(LOST, lines[0])
        over = other.returncode == 0 and not lines  # it had nothing more to do with the other
        if not over and not (alone and other.returncode in (1, 2)):
            raise RuntimeError(f"{folder}: the other one ended with {other.returncode}: {told[1 - victim]}")
        return lines[0] if lines else "the run was over in the other one"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


LOST = r"of this run (is gone|did not answer in time)|waited \d+ s|--coordinator: found"


def _ended(folder: Path, process: subprocess.Popen) -> str:
    """What a process said on stderr, once it has ended as it should."""
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{folder}: exit status {process.returncode}: {said}")
    return said


def _moment(folder: Path) -> str:
    if (folder / "result.json").exists():
        return "at the end, after result.json"
    if list((folder / "checkpoints").glob("*.orbax-checkpoint-tmp*")):
        return "while a checkpoint was written"
    return (
        "between checkpoints" if integrity.checkpoint_steps(folder / "checkpoints") else "before the first checkpoint"
    )


class Killer(Protocol):
    """Begins a run in a folder and kills it; says where, None where the run was over before."""

    def __call__(self, folder: Path, number: int) -> str | None: ...


class Undisturbed(NamedTuple):
    """How a run ended that nobody killed, and how many seconds it took where its programs were compiled already."""

    outcome: Outcome
    seconds: float


def leave_alone(trial: Trial | Pair, folder: Path) -> Undisturbed:
    """Runs in a folder, undisturbed."""
    started = time.perf_counter()
    trial.finish(folder)
    return Undisturbed(Outcome.of(folder), time.perf_counter() - started)


def survive(
    trial: Trial | Pair, out: Path, kills: int, seed: int, mode: str = "time", alone: Undisturbed | None = None
) -> tuple[int, Counter]:
    """Runs `kills` times killed, and before that undisturbed, unless `alone` says how that ends; `trial` then keeps its
    programs already.

    Returns:
      How many of the killed runs ended as the undisturbed one, and how many kills hit which moment.
    """
    shutil.rmtree(out, ignore_errors=True)
    if alone is None:
        trial = replace(trial, settings=(*trial.settings, f"--compilation_cache={out / 'programs'}"))
        trial.finish(out / "compiles")
        alone = leave_alone(trial, out / "whole")
    (whole, seconds), same, moments = alone, 0, Counter()
    print(f"left alone: {seconds:.1f} s, {len(whole.rows)} lines, checkpoints {whole.kept}", flush=True)
    kill = KILLERS[mode](trial, out, random.Random(seed), seconds)
    for number in range(kills):
        folder, hit = out / f"killed-{number}", None
        while hit is None:  # a run may take less time than the one left alone
            shutil.rmtree(folder, ignore_errors=True)
            hit = kill(folder, number)
        said = trial.finish(folder)
        differences = whole.differences(Outcome.of(folder))
        moments[hit] += 1
        verdict = f"DIFFERS: {', '.join(differences)}" if differences else "identical"
        print(f"{number + 1:3d}  {hit}: {verdict}  {said.strip()}", flush=True)
        if not differences:
            same += 1
            shutil.rmtree(folder)
    return same, moments


def at_moments(trial: Trial, out: Path, draw: random.Random, seconds: float) -> Killer:
    """Kills at moments drawn over the time of the run, in every AGAIN-th trial twice."""
    del out

    def kill(folder: Path, number: int) -> str | None:
        hit = trial.kill(folder, draw.uniform(0, seconds))
        again = hit and number % AGAIN == 0 and trial.kill(folder, draw.uniform(0, seconds))
        return f"{hit}, and again {again}" if again else hit

    return kill


def inside_operations(trial: Trial, out: Path, draw: random.Random, seconds: float) -> Killer:
    """Kills inside saves, renames and removals in turns, the number of the operation drawn; then while it continues."""
    del seconds
    counts = trial.operations(out / "counted")
    print(f"operations of a whole run: {counts}", flush=True)

    def kill(folder: Path, number: int) -> str | None:
        operation = sorted(counts)[number % len(counts)]
        which = draw.randint(1, counts[operation])
        if not trial.kill_inside(folder, operation, which):
            return None
        another = draw.choice(sorted(counts))
        again = _shortened(trial, folder).kill_inside(folder, another, draw.randint(1, EARLY))
        return f"inside a {operation}" + (f", and again inside a {another}" if again else "")

    return kill


def _shortened(trial: Trial, folder: Path) -> Trial:
    """The trial as a run that shall end where it stands, so that its newest checkpoint gets an evaluation."""
    whole, _ = integrity.verify_all(folder / "checkpoints")
    begun = max((meta["progress"]["epoch"] + (meta["progress"]["step"] > 0) for meta in whole.values()), default=0)
    return Trial((*trial.settings, f"--epochs={max(1, begun)}"))


def one_of_two(pair: Pair, out: Path, draw: random.Random, seconds: float) -> Killer:
    """Kills one of two processes at moments drawn over the time of the run."""
    del out

    def kill(folder: Path, number: int) -> str | None:
        del number
        victim = draw.randrange(2)
        said = pair.kill(folder, draw.uniform(0, seconds), victim)
        return said and f"process {victim}: {re.sub('[0-9.]+:[0-9]+', 'HOST:PORT', said)}"

    return kill


KILLERS = {"time": at_moments, "inside": inside_operations, "processes": one_of_two}


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.ERROR)  # Orbax tells of every read
    settings = (
        f"--dataset={flags.FLAGS.dataset}",
        f"--data_dir={flags.FLAGS.data_dir}",
        f"--epochs={flags.FLAGS.epochs}",
    )
    mode = flags.FLAGS.mode
    trial = (Pair if mode == "processes" else Trial)((*settings, *SETTINGS))
    same, moments = survive(trial, Path(flags.FLAGS.out), flags.FLAGS.kills, flags.FLAGS.seed, mode)
    for hit, count in moments.most_common():
        print(f"{count:3d} killed {hit}")
    print(f"{same} of {flags.FLAGS.kills} bit-identical")
    sys.exit(same != flags.FLAGS.kills)


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "lastfm", "data set, as in lgcn_jax train")
    flags.DEFINE_string("data_dir", "data", "folder of the named sets")
    flags.DEFINE_enum("mode", "time", sorted(KILLERS), "where a run is killed")
    flags.DEFINE_integer("kills", 50, "trials")
    flags.DEFINE_integer("epochs", 60, "epochs of the run")
    flags.DEFINE_integer("seed", 0, "seed of the moments")
    flags.DEFINE_string("out", "runs/kill", "folder of the runs")
    app.run(main)
