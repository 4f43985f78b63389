"""Pictures are written whole, from what a run logged."""

import matplotlib.image

from lgcn_jax import curves


def shape(path):
    return matplotlib.image.imread(path).shape


def test_a_runs_curves_are_drawn_from_its_log(tmp_path):
    rows = []
    for epoch in (1, 2):
        terms = {"loss": 0.5 / epoch, "loss_ranking": 0.4 / epoch, "loss_contrastive": 0.7 / epoch}
        rows.append({"epoch": epoch, "split": "train", **terms})
    rows.append({"epoch": 2, "split": "valid", "recall@5": 0.1, "ndcg@5": 0.2})
    (tmp_path / "curves.png").write_bytes(curves.of_run(rows))
    height, width, _ = shape(tmp_path / "curves.png")
    assert width == 3.0 * height / 0.9  # three panels of 5 x 4.5 inches


def test_measured_and_expected_series_are_drawn_on_logarithmic_axes(tmp_path):
    lines = {"step": {10: 1.0, 1000: 90.0}, "step, formula": {10: 1.0, 1000: 100.0}, "other": {10: 2.0}}
    (tmp_path / "scale.png").write_bytes(curves.logarithmic({"ms": lines, "MB": lines}, ["pairs", "pairs"]))
    height, width, _ = shape(tmp_path / "scale.png")
    assert width * 5 == height * 2 * 6


def test_panels_stand_side_by_side(tmp_path):
    curves.compare({"a": {"x": {1: 0.1}}, "b": {"x": {1: 0.1}, "y": {1: 0.2, 2: 0.3}}}, tmp_path / "panels.png")
    height, width, _ = shape(tmp_path / "panels.png")
    assert width * 5 == height * 2 * 7
