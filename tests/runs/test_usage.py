"""What a run's record says of its time, its memory and its vectors."""

import json

import pytest

from lgcn_jax.cli import main
from lgcn_jax.runs import usage
from lgcn_jax.system import memory

WORLD = ["--dataset=synthetic", "--num_users=60", "--num_items=50", "--num_interactions=900", "--top_k=5"]
MODEL = ["--num_layers=1", "--embedding_dim=4", "--batch_size=256", "--eval_every=1", "--quiet"]


def result_of(folder, *flags):
    assert main.main(["train", *WORLD, *MODEL, f"--workdir={folder}", *flags]) == 0
    return json.loads((folder / "result.json").read_text())


def test_time_is_that_of_the_whole_command_and_its_parts_add_up(tmp_path):
    result = result_of(tmp_path / "run", "--epochs=2")
    used = result["usage"]
    assert used["startup_seconds"] >= result["compile_seconds"] > 0
    assert used["wall_seconds"] >= used["startup_seconds"] + result["seconds"] - 0.01
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert sum(row["seconds"] for row in rows) == pytest.approx(result["seconds"], abs=1e-3)  # evaluations included
    assert 0 < used["peak_bytes"] <= memory.peak_bytes() + 2**22  # Linux counts pages of each thread in batches
    assert used["device_peak_bytes"] is None
    assert result["vector_width"] == 4


def test_a_run_of_two_commands_does_not_pretend_to_know_its_whole_time(tmp_path):
    assert result_of(tmp_path / "run", "--epochs=1")["usage"]["wall_seconds"] > 0
    used = result_of(tmp_path / "run", "--epochs=2")["usage"]
    assert used["wall_seconds"] is None
    assert used["startup_seconds"] is None
    assert used["peak_bytes"] > 0


def test_a_device_with_memory_of_its_own_tells_its_peak(monkeypatch):
    class Device:
        def memory_stats(self):
            return {"peak_bytes_in_use": 7}

    monkeypatch.setattr(usage.jax, "local_devices", lambda: [Device()])
    assert usage.measure_usage(0.0, 0.0)["device_peak_bytes"] == 7
