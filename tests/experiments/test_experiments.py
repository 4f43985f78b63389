"""Every program in experiments/ runs, at its smallest size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import published as figures
import pytest
from xla_flags import xla_flags

from lgcn_jax.cli import main

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "experiments"
PROGRAMS = {path.stem: path for path in EXPERIMENTS.rglob("*.py") if "__main__" in path.read_text(encoding="utf-8")}

WORLD = ("--dataset=synthetic", "--num_users=60", "--num_items=50", "--num_interactions=900", "--embedding_dim=8")
ONCE = ("--rounds=1", "--repeats=1")
SIZES = ("--edges=1e3,2e3", "--dims=4,8", "--batches=32,64", "--layers=1,2", "--num_interactions=1000")
# {program: its flags}; put in are for OUT a free path, for DATA:NAME the folder of that data set, for CURVE and RUN a
# run, for SOLVED a solved model.
BENCHMARKS = {
    "evaluation": (*WORLD, *ONCE, "--num_layers=1"),
    "order": (*WORLD, *ONCE),
    "reading": ("--rows=2000", "--out=OUT"),
    "topk": (*WORLD, *ONCE, "--top_k=5", "--block=8"),
}
LONG_BENCHMARKS = {  # each compiles several train steps
    "operations": (*WORLD,),
    "population": (*WORLD[:-1], *ONCE, "--num_layers=1", "--members=1,2", "--steps=2"),
    "propagation": (*WORLD, *ONCE, "--num_layers=1", "--batch_size=16", "--layouts=bcsr,bucket"),
    "sampling": (*WORLD, *ONCE, "--batch_size=16", "--steps=2"),
    "saving": (*WORLD, *ONCE, "--steps=2", "--out=OUT"),
    "scale": ("--interactions=1000,2000", "--per_user=10", "--steps=1", "--embedding_dim=8", "--out=OUT"),
    "sweep": (*ONCE, *SIZES, "--per_user=10", "--embedding_dim=8", "--out=OUT"),
    "ssm_step": (*WORLD, *ONCE, "--num_layers=1", "--batch_size=16"),
    "step_memory": (*WORLD[:-1], "--embedding_dim=8", "--batch_sizes=16", "--cases=bpr"),
    "train_step": (*WORLD, *ONCE, "--num_layers=1", "--batch_size=16"),
}
OTHERS = {
    "follow_published": ("CURVE",),
    "killed_inside": ("OUT", "save", "0", "data", *WORLD[:-1]),
    "leaderboard": (),
    "identities": ("--results=OUT",),
    "report": ("--out=OUT", "--readme="),
    "run": ("--list",),
}
LONG_OTHERS = {  # what they are made of has tests of its own
    "cold_start": ("SOLVED",),
    "inference_weights": ("RUN",),
    "distil": (
        *("--dataset=lastfm", "--data_dir=DATA:lastfm", "--teacher=popularity", "--width=8"),
        *("--passes=1", "--listed=20", "--epochs=1"),
    ),
    "fold_in": ("--dataset=lastfm", "--data_dir=DATA:lastfm", "--epochs=1"),
    "fuzz": ("--files=50", "--folders=1"),
    "kill_test": ("--dataset=lastfm", "--data_dir=DATA:lastfm", "--epochs=4", "--kills=1", "--out=OUT"),
    "replay_paper": ("--epochs=1", "--data_dir=DATA:lastfm", "--out=OUT"),
    "simgcl_published": ("--dataset=lastfm", "--data_dir=DATA:lastfm", "--epochs=1"),
    "warm_start": ("--epochs=1", "--data_dir=OUT"),
    "stop_test": ("--dataset=synthetic", "--signals=2", "--longest=8", "--limit=60", "--out=OUT"),
}

BY_MAKE = ("mutation",)  # `make mutants` loads it into pytest


@pytest.fixture
def said(tmp_path, published, kept_by_jax):
    """Runs a program with its flags, to the end; returns what it printed."""

    def filled(flag: str) -> str:
        before, _, name = flag.partition("DATA:")
        if name:
            return before + published(name)
        if flag == "RUN":
            return str(small_run(tmp_path / "run"))
        if flag == "CURVE":
            return str(published_curve(tmp_path / "curve"))
        if flag == "SOLVED":
            assert main.main(["train", "--model=popularity", *WORLD[:-1], f"--workdir={tmp_path / 'solved'}"]) == 0
            return str(tmp_path / "solved")
        return flag.replace("OUT", str(tmp_path / "out"))

    def run(name: str, flags: tuple[str, ...]) -> str:
        own = {"XLA_FLAGS": xla_flags(), "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
        environment = os.environ | own | kept_by_jax
        command = [sys.executable, str(PROGRAMS[name]), *map(filled, flags)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def small_run(folder: Path) -> Path:
    """The folder of a run with a validation part."""
    flags = (*WORLD, "--validation_fraction=0.2", "--eval_split=valid", "--num_layers=1", "--epochs=1", "--top_k=5")
    assert main.main(["train", *flags, f"--workdir={folder}", "--quiet"]) == 0
    return folder


def published_curve(folder: Path) -> Path:
    """The folder of a run that is the published one."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"dataset": "lastfm", "loss": "bpr"}))
    rows = [{"epoch": e, "split": "test", "recall@20": r} for e, r in figures.lastfm_curve("bpr").items()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def named(programs: dict, *marks):
    return [pytest.param(name, flags, marks=marks, id=name) for name, flags in programs.items()]


def test_every_program_is_run_here():
    assert {*BENCHMARKS, *LONG_BENCHMARKS, *OTHERS, *LONG_OTHERS, *BY_MAKE} == set(PROGRAMS)


@pytest.mark.parametrize(("name", "flags"), named(BENCHMARKS) + named(LONG_BENCHMARKS, pytest.mark.long))
def test_a_benchmark_prints_its_figures_as_json_last(said, name, flags):
    """None of them is missing or no number."""
    found = json.loads(said(name, flags).splitlines()[-1], parse_constant=pytest.fail)
    assert found.pop("benchmark") == name
    assert found


@pytest.mark.parametrize(("name", "flags"), named(OTHERS) + named(LONG_OTHERS, pytest.mark.long))
def test_a_program_runs_and_tells_what_it_found(said, name, flags):
    told = {
        "cold_start": "coverage@20",
        "distil": "softmax",
        "fold_in": "item neighbors (cosine)",
        "follow_published": "largest difference 0.0000",
        "fuzz": "50 files: ",
        "kill_test": "1 of 1 bit-identical",
        "inference_weights": "together",
        "killed_inside": "train interactions",
        "leaderboard": "published: recall@20 / ndcg@20",
        "identities": "is BPR, whatever alpha",
        "report": "wrote findings.json, REPORT.md, REPORT.html and ",
        "run": "runs are missing. Does the loss help on LastFM",
        "replay_paper": "evaluations equal",
        "simgcl_published": "theirs",
        "stop_test": "0 ended wrongly; 100% within",
    }
    assert told[name] in said(name, flags)
