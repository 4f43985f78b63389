"""Whether runs follow the published curve: those that do pass, and nothing else does."""

import json

import follow_published
import published
import pytest

THEIRS = published.lastfm_curve("bpr")
HUNDREDTHS = [epoch for epoch in THEIRS if epoch and epoch % 100 == 0]


def run(folder, curve, **config):
    """A folder with what the program looks at."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"dataset": "lastfm", "loss": "bpr"} | config))
    rows = [{"epoch": epoch, "split": "test", "recall@20": recall} for epoch, recall in curve.items()]
    rows.append({"epoch": 1, "split": "train", "loss": 0.5})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def refusal(runs) -> str:
    with pytest.raises(SystemExit) as stopped:
        follow_published.compare(runs, 0.006)
    assert isinstance(stopped.value.code, str)  # which ends the program with status 1
    assert "\n" not in stopped.value.code
    return stopped.value.code


def test_runs_near_the_curve_pass_and_stand_in_their_columns(tmp_path, capsys):
    runs = [run(tmp_path / name, {e: THEIRS[e] + by for e in THEIRS}) for name, by in (("a", 0.001), ("b", -0.005))]
    follow_published.compare(runs, 0.006)
    out = capsys.readouterr().out
    first = THEIRS[100]
    assert f"  100  {first:9.4f}  {first + 0.001:.4f} (+0.0010)  {first - 0.005:.4f} (-0.0050)" in out
    assert "largest difference 0.0050" in out
    assert len(out.splitlines()) == 1 + len(HUNDREDTHS) + 2


def test_a_run_that_leaves_the_curve_once_fails(tmp_path):
    assert "further than 0.006" in refusal([run(tmp_path / "a", THEIRS | {700: THEIRS[700] + 0.0061})])


@pytest.mark.parametrize("last", [0, 50, 990])
def test_a_run_that_lacks_an_epoch_fails(tmp_path, last):
    curve = {epoch: recall for epoch, recall in THEIRS.items() if epoch <= last}
    whole = run(tmp_path / "whole", THEIRS)
    message = refusal([whole, run(tmp_path / "a", curve)])
    assert message.startswith(f"{tmp_path / 'a'}: found no evaluation")
    assert "1000" in message


def test_what_is_no_run_of_the_kind_fails(tmp_path):
    assert "found no run, expected" in refusal([])
    assert "found no run (No such file" in refusal([tmp_path / "none"])
    assert "on gowalla" in refusal([run(tmp_path / "a", THEIRS, dataset="gowalla")])
    both = [run(tmp_path / "b", THEIRS), run(tmp_path / "c", THEIRS, loss="enhanced")]
    assert "losses bpr, enhanced" in refusal(both)
