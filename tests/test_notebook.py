"""The notebook was executed without an error, and its cells still run."""

import json
import re
from pathlib import Path

import matplotlib

NOTEBOOK = json.loads((Path(__file__).resolve().parents[1] / "examples" / "quickstart.ipynb").read_text())
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_shows_what_it_printed():
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    outputs = [output for cell in CELLS for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("user 196" in "".join(output.get("text", "")) for output in outputs)


def test_its_cells_run(monkeypatch, tmp_path, capsys):
    """On a synthetic world, for two epochs, and without the titles, which come from a download."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    code = "\n".join("".join(cell["source"]) for cell in CELLS if "recbole" not in "".join(cell["source"]))
    code = code.replace(
        '"ml-100k", data_dir="../data"', '"synthetic", num_users=300, num_items=200, num_interactions=6000'
    )
    code = re.sub(r"epochs=200, eval_every=10", "epochs=2, eval_every=1", code).replace("%matplotlib inline", "")
    exec("import tempfile\ntitles = {}\n" + code, {})
    assert "user 196" in capsys.readouterr().out
