"""Sends SIGTERM and SIGINT to runs at random moments, and prints how many seconds pass until they have ended.

    python experiments/reliability/stop_test.py --data_dir=data --dataset=yelp2018 --signals=100

A moment is drawn uniformly from the start of the process on, imports included, to --longest seconds later. Such a run
ends with status 143 or 130 and one line; one that had begun to train says "interrupted" in its result.json and has a
checkpoint of that place, and one that had not leaves no folder behind. A run that was over has status 0. Exits with
status 1 where a run ends in another way, or where more than one in twenty takes longer than --limit.

Yelp2018, two CPU cores: about 20 seconds a signal.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from absl import app, flags

from lgcn_jax.runs import integrity

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}
SHARE_WITHIN_LIMIT = 0.95
HANG = 120.0


def begin(folder: Path, settings: list[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "lgcn_jax", "train", *settings, f"--workdir={folder}", "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def interpreter_seconds() -> float:
    """How long Python takes to come to a program's first line: until then a signal has its usual effect."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import runpy"], check=True)
    return time.perf_counter() - started


def stop(process: subprocess.Popen, folder: Path, number: signal.Signals, moment: float) -> tuple[float, str, str]:
    """Stops a run that was just begun; returns the seconds it took, where it was, and what is wrong with its end."""
    time.sleep(moment)
    process.send_signal(number)
    started = time.perf_counter()
    try:
        said = process.communicate(timeout=HANG)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return HANG, "somewhere", f"had not ended: {process.communicate()[1]}"
    seconds = time.perf_counter() - started
    if process.returncode == -number and moment < 2 * interpreter_seconds():
        return seconds, "before the first line of the program", ""
    return seconds, *verdict(folder, process.returncode, STATUS[number], said)


def verdict(folder: Path, status: int, expected: int, said: str) -> tuple[str, str]:
    """Where a run was when it was stopped, and what is wrong with its end: '' for nothing."""
    if status == 0 and not said:
        return "over", ""
    if status != expected:
        return "somewhere", f"status {status}, not {expected}: {said.strip()}"
    if said:
        wrong = "" if said.count("\n") == 1 and not folder.exists() else f"said {said!r}, folder: {folder.exists()}"
        return "before training", wrong
    if not (folder / "result.json").exists():
        return "in training", "no result.json"
    result = json.loads((folder / "result.json").read_text())
    where = f"in training, epoch {result['epochs']}, step {result['step']}"
    saved = bool(integrity.checkpoint_steps(folder / "checkpoints"))
    return where, "" if result["status"] == "interrupted" and saved else f"{result['status']}, checkpoint: {saved}"


def main(argv: list[str]) -> None:
    del argv
    settings = [
        f"--dataset={flags.FLAGS.dataset}",
        f"--data_dir={flags.FLAGS.data_dir}",
        "--epochs=3",
        "--eval_every=1",
    ]
    draw, failures, times = random.Random(flags.FLAGS.seed), 0, []
    for count in range(flags.FLAGS.signals):
        folder, number = Path(flags.FLAGS.out) / str(count), draw.choice(list(STATUS))
        moment = draw.uniform(0, flags.FLAGS.longest)
        shutil.rmtree(folder, ignore_errors=True)
        seconds, where, wrong = stop(begin(folder, settings), folder, number, moment)
        print(f"{number.name} after {moment:5.2f} s, {where}: {seconds:.1f} s  {wrong or 'as it should'}", flush=True)
        failures += bool(wrong)
        times.append(seconds)
        shutil.rmtree(folder, ignore_errors=True)
    within = sum(seconds <= flags.FLAGS.limit for seconds in times) / len(times)
    print(f"{failures} ended wrongly; {within:.0%} within {flags.FLAGS.limit} s, the slowest {max(times):.1f} s")
    sys.exit(failures > 0 or within < SHARE_WITHIN_LIMIT)


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "gowalla", "data set, as in lgcn_jax train")
    flags.DEFINE_string("data_dir", "data", "folder of the named sets")
    flags.DEFINE_integer("signals", 100, "how many runs are begun and stopped")
    flags.DEFINE_float("longest", 20.0, "seconds after the start within which a signal comes")
    flags.DEFINE_float("limit", 10.0, "seconds within which a run should have ended")
    flags.DEFINE_integer("seed", 0, "seed of the moments")
    flags.DEFINE_string("out", "runs/stop", "folder of the runs")
    app.run(main)
