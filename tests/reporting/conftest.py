"""A small run that tests of its report share."""

from pathlib import Path

import pytest

from lgcn_jax.cli import main

WORLD = ["--dataset=synthetic", "--num_users=300", "--num_items=200", "--num_interactions=5000"]
MODEL = ["--num_layers=2", "--embedding_dim=8", "--batch_size=256", "--epochs=4", "--eval_every=2", "--top_k=20,5"]


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """The folder of a run of four epochs."""
    folder = tmp_path_factory.mktemp("report") / "run"
    assert main.main(["train", *WORLD, *MODEL, f"--workdir={folder}", "--quiet"]) == 0
    return folder
