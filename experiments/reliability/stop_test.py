"""Stops runs with SIGTERM and SIGINT, and prints how many seconds pass until they have saved and exited.

    python experiments/reliability/stop_test.py --data_dir=data

Each signal comes while data are loaded, within an epoch, and while the model is evaluated. A run that has begun must
say "interrupted" in its result.json, and its epoch, step and newest checkpoint are printed; one that has not must leave
no folder behind, and say so in one line. Exits with status 1 where one does not, has another exit status than 143 or
130, or takes longer than --limit.

Gowalla, two CPU cores: about two minutes.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from absl import app, flags

from lgcn_jax import lock

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}
WAIT = 0.01  # seconds between two looks at a run


def loading(folder: Path, process: subprocess.Popen) -> None:
    """Until the folder is held, which is what a run does before it reads."""
    until(process, lambda: (folder / lock.NAME).exists())


def in_mid_epoch(folder: Path, process: subprocess.Popen) -> None:
    """Until a block of steps of the first epoch is likely to be running: programs are compiled after config.json."""
    until(process, lambda: (folder / "config.json").exists())
    time.sleep(flags.FLAGS.compile_seconds)


def evaluating(folder: Path, process: subprocess.Popen) -> None:
    """Until the first epoch's line is there, after which every epoch is evaluated."""
    until(process, lambda: (folder / "metrics.jsonl").exists() and "train" in (folder / "metrics.jsonl").read_text())


def until(process: subprocess.Popen, happened: Callable[[], bool]) -> None:
    while not happened():
        if process.poll() is not None:
            raise RuntimeError(f"ended with status {process.returncode}: {process.stderr.read()}")
        time.sleep(WAIT)


def begin(folder: Path) -> subprocess.Popen:
    settings = [f"--dataset={flags.FLAGS.dataset}", f"--data_dir={flags.FLAGS.data_dir}", "--epochs=3"]
    command = [sys.executable, "-m", "lgcn_jax", "train", *settings, "--eval_every=1", f"--workdir={folder}", "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def stop(folder: Path, moment: Callable, number: signal.Signals) -> tuple[float, str]:
    """Begins a run and stops it; returns the seconds that took, and what is wrong about the end ('' for nothing)."""
    process = begin(folder)
    moment(folder, process)
    process.send_signal(number)
    started = time.perf_counter()
    said = process.communicate()[1]
    return time.perf_counter() - started, fault(folder, process.returncode, STATUS[number], said)


def fault(folder: Path, status: int, expected: int, said: str) -> str:
    if status != expected:
        return f"status {status}, not {expected}: {said.strip()}"
    if not folder.exists():
        return "" if said.count("\n") == 1 else f"said {said!r}"
    if not (folder / "result.json").exists():
        return "no result.json"
    result = json.loads((folder / "result.json").read_text())
    newest = max(int(path.name) for path in (folder / "checkpoints").iterdir())
    print(f"    epoch {result['epochs']}, step {result['step']}; checkpoint {newest}")
    return "" if result["status"] == "interrupted" else f"status {result['status']} in result.json"


def main(argv: list[str]) -> None:
    del argv
    failures = 0
    for moment in (loading, in_mid_epoch, evaluating):
        for number in STATUS:
            folder = Path(flags.FLAGS.out) / f"{moment.__name__}-{number.name}"
            shutil.rmtree(folder, ignore_errors=True)
            seconds, wrong = stop(folder, moment, number)
            wrong = wrong or ("" if seconds <= flags.FLAGS.limit else f"longer than {flags.FLAGS.limit} s")
            print(f"{number.name} {moment.__name__}: {seconds:.1f} s  {wrong or 'as it should'}", flush=True)
            failures += bool(wrong)
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(failures != 0)


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "gowalla", "data set, as in lgcn_jax train")
    flags.DEFINE_string("data_dir", "data", "folder of the named sets")
    flags.DEFINE_float("limit", 10.0, "seconds within which a run must have exited")
    flags.DEFINE_float("compile_seconds", 8.0, "from config.json until steps are being made")
    flags.DEFINE_string("out", "runs/stop", "folder of the runs")
    app.run(main)
