"""Weights and disliked pairs from a file to a run, and what is refused."""

import json

import numpy as np
import pytest

from lgcn_jax.cli import main

RUN = ["--embedding_dim=8", "--epochs=2", "--batch_size=1024", "--num_layers=2", "--top_k=5", "--quiet"]


@pytest.fixture
def events(tmp_path):
    """Events with a weight and a label of 0 or 1."""
    random = np.random.default_rng(0)
    rows = {
        (int(u), int(i)): None for u, i in zip(random.integers(0, 60, 1500), random.integers(0, 40, 1500), strict=True)
    }
    lines = [f"{u},{i},{random.lognormal():.4f},{random.integers(0, 4) > 0:d}" for u, i in rows]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,plays,liked", *lines]) + "\n")
    return tmp_path / "events.csv"


def trained(folder, *flags) -> str:
    assert main.main(["train", *RUN, *flags, f"--workdir={folder}"]) == 0
    return json.loads((folder / "result.json").read_text())["parameters_sha256"]


def test_weights_and_disliked_pairs_reach_the_run(events, tmp_path):
    flags = [f"--dataset={events}", "--label_col=liked", "--negatives=explicit"]
    whole = trained(tmp_path / "whole", *flags, "--weight_col=plays")
    assert whole != trained(tmp_path / "unweighted", *flags)
    trained(tmp_path / "half", *flags, "--weight_col=plays", "--epochs=1")
    assert trained(tmp_path / "half", "--epochs=2") == whole  # what was stated before is kept


def test_weights_that_are_none_are_one_line(events, tmp_path, capsys):
    events.write_text(events.read_text() + "3,77,-2,1\n3,78,1,1\n")
    assert main.main(["train", *RUN, f"--dataset={events}", "--weight_col=plays", f"--workdir={tmp_path / 'run'}"]) == 2
    line = capsys.readouterr().err
    assert "-2" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()


def test_negatives_that_nobody_knows_are_one_line(events, tmp_path, capsys):
    flags = [f"--dataset={events}", "--negatives=explicit", f"--workdir={tmp_path / 'run'}"]
    text = "\n".join(line.rsplit(",", 1)[0] for line in events.read_text().splitlines())
    events.write_text(text + "\n")
    assert main.main(["train", *RUN, *flags]) == 2
    line = capsys.readouterr().err
    assert line.startswith(
        "--negatives: found explicit for a data set that knows no disliked pair, expected uniform, or"
    )
    assert line.count("\n") == 1
    assert main.main(["train", *RUN, flags[0], "--negatives=none", flags[-1]]) == 2
    assert capsys.readouterr().err.startswith("--negatives: found 'none', expected one of uniform, explicit")
