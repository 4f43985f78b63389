"""Pictures show what a run logged, and are written whole."""

import matplotlib.image
import pytest

from lgcn_jax.runs import curves

pytestmark = pytest.mark.drawn

TERMS = {"loss": 0.5, "loss_ranking": 0.4, "loss_contrastive": 0.7}


def shown(axes) -> dict[str, dict[float, float]]:
    """The lines of a panel as {label: {epoch: value}}, as far as its legend names them."""
    lines = {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in axes.get_lines()}
    assert list(lines) == [text.get_text() for text in axes.get_legend().get_texts()]
    return lines


def shape(path):
    return matplotlib.image.imread(path).shape


@pytest.fixture
def rows():
    train = [{"epoch": n, "split": "train", **{k: v / n for k, v in TERMS.items()}} for n in (1, 2, 3, 4)]
    evaluated = [
        {"epoch": n, "split": "valid", "precision@5": 0.9, "recall@5": 0.1 * n, "ndcg@5": 0.2 * n, "recall@9": 0.3 * n}
        for n in (2, 4)
    ]
    return [*train[:2], evaluated[0], *train[2:], evaluated[1]]


def test_a_runs_curves_are_what_it_logged(rows):
    recall, ndcg, loss = curves.plot_progress(rows).axes
    assert shown(recall) == {"recall@5": {2: 0.2, 4: 0.4}, "recall@9": {2: 0.6, 4: 1.2}}
    assert shown(ndcg) == {"ndcg@5": {2: 0.4, 4: 0.8}}
    terms = {"total": 0.5, "ranking": 0.4, "contrastive": 0.7}
    assert shown(loss) == {label: {n: value / n for n in (1, 2, 3, 4)} for label, value in terms.items()}
    assert [axes.get_title() for axes in (recall, ndcg, loss)] == [
        "recall (valid part)",
        "ndcg (valid part)",
        "train loss",
    ]
    assert {axes.get_xlabel() for axes in (recall, ndcg, loss)} == {"epoch"}


def test_what_others_are_held_against_is_drawn_as_open_circles():
    left, right = curves.plot_comparison({"a": {"x": {1: 0.1}}, "b": {"x": {1: 0.1}, "y": {1: 0.2, 2: 0.3}}}).axes
    assert (left.get_title(), right.get_title()) == ("a", "b")
    assert shown(left) == {"x": {1: 0.1}}
    assert shown(right) == {"x": {1: 0.1}, "y": {1: 0.2, 2: 0.3}}
    reference, other = right.get_lines()
    assert (reference.get_marker(), reference.get_markerfacecolor()) == ("o", "none")
    assert other.get_linestyle() == "-"


def test_pictures_are_written(tmp_path, rows):
    (tmp_path / "curves.png").write_bytes(curves.plot_run(rows))
    height, width, _ = shape(tmp_path / "curves.png")
    assert width == 3.0 * height / 0.9  # three panels of 5 x 4.5 inches


def test_measured_and_expected_series_are_drawn_on_logarithmic_axes(tmp_path):
    lines = {"step": {10: 1.0, 1000: 90.0}, "step, formula": {10: 1.0, 1000: 100.0}, "other": {10: 2.0}}
    (tmp_path / "scale.png").write_bytes(curves.plot_log_log({"ms": lines, "MB": lines}, ["pairs", "pairs"]))
    height, width, _ = shape(tmp_path / "scale.png")
    assert width * 5 == height * 2 * 6


def test_panels_stand_side_by_side(tmp_path):
    curves.write_comparison({"a": {"x": {1: 0.1}}, "b": {"x": {1: 0.1}}}, tmp_path / "panels.png")
    height, width, _ = shape(tmp_path / "panels.png")
    assert width * 5 == height * 2 * 7
