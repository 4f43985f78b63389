"""Charts put values where the axis says they are, and tell them as text."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from lgcn_jax.reporting import charts, numerals
from lgcn_jax.reporting.charts import Series
from lgcn_jax.reporting.scales import Scale, round_to_ticks, scale_covering
from lgcn_jax.reporting.svg import path_data, tag

VALUE = st.floats(-1e12, 1e12, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-12)


@given(st.lists(VALUE, min_size=1, max_size=20), st.booleans())
def test_scales_hold_all_values_and_name_round_ones(values, zero):
    scale = round_to_ticks(scale_covering(np.array(values), 100, 0, zero=zero))
    assert all(-1e-6 <= scale(value) <= 100 + 1e-6 for value in values)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 12
    assert all(a < b for a, b in itertools.pairwise(ticks))


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=20))
def test_logarithmic_scales_hold_all_values(values):
    scale = scale_covering(np.array(values), 0, 100, log=True)
    assert all(-1e-6 <= scale(value) <= 100 + 1e-6 for value in values)
    ticks = scale.ticks()
    assert len(ticks) >= 2
    assert all(a < b for a, b in itertools.pairwise(ticks))


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 483, [0, 100, 200, 300, 400]), (-3, 3, [-2, 0, 2])],
)
def test_ticks_are_round(low, high, ticks):
    assert Scale(low, high, 0, 1).ticks(5) == ticks


def test_ticks_of_logarithms_are_round():
    assert Scale(1, 1000, 0, 1, log=True).ticks(5) == [1, 10, 100, 1000]
    assert Scale(0.1, 0.7, 0, 1, log=True).ticks(5) == [0.1, 0.2, 0.3, 0.5, 0.7]


def line(picture: Markup, kind: str) -> list[tuple[float, float]]:
    (d,) = re.findall(rf'<path d="M([^"]*)" class="line {kind}"', picture)
    return [tuple(map(float, point.split())) for point in d.split("L")]


def test_lines_lie_where_their_values_are():
    x = np.array([1.0, 2.0, 4.0])
    series = [Series("a", x, np.array([0.0, 0.5, 1.0])), Series("b", x[1:], np.array([1.0, 0.25]))]
    drawn = charts.line_chart("name", "Title", "Sentence", series, x_label="epoch", zero=True)
    first, second = line(drawn.picture, "s0"), line(drawn.picture, "s1")
    bottom, top = first[0][1], first[2][1]
    assert (bottom, top) == (charts.HEIGHT - charts.BOTTOM, charts.TOP + 4)
    assert first[1][1] == pytest.approx((bottom + top) / 2, abs=0.1)
    assert second[0] == (first[1][0], top)
    assert (first[1][0] - first[0][0]) * 2 == pytest.approx(first[2][0] - first[1][0], abs=0.2)
    assert drawn.grid.head == ["epoch", "a", "b"]
    assert drawn.grid.rows == [["1", "0", numerals.NONE], ["2", "0.5", "1"], ["4", "1", "0.25"]]
    assert "<title>epoch 1, a 0</title>" in drawn.picture
    assert "<title>epoch 2, a 0.5, b 1</title>" in drawn.picture


def test_long_series_are_thinned_and_keep_their_ends():
    x = np.arange(1.0, 10_001)
    drawn = charts.line_chart("name", "Title", "Sentence", [Series("a", x, np.sqrt(x))], x_label="epoch")
    assert len(drawn.grid.rows) == charts.ROWS
    assert [drawn.grid.rows[0], drawn.grid.rows[-1]] == [["1", "1"], ["10,000", "100"]]
    assert len(line(drawn.picture, "s0")) == charts.ROWS


def test_outlines_of_histograms_enclose_their_shares():
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    drawn = charts.histogram_chart(
        "name", "Title", "Sentence", edges, {"a": np.array([0.5, 0.25, 0.25])}, x_label="score"
    )
    corners = np.array(line(drawn.picture, "s0"))
    bottom = charts.HEIGHT - charts.BOTTOM
    heights = bottom - corners[[1, 3, 5], 1]
    np.testing.assert_allclose(heights / heights[0], [1, 0.5, 0.5], atol=0.01)
    assert corners[0, 1] == corners[-1, 1] == bottom
    assert drawn.grid.rows[1] == ["1 to 2", "25.0 %"]


def test_bars_are_as_long_as_their_values():
    values = {"ours": np.array([0.4, 0.1]), "theirs": np.array([0.2, np.nan])}
    drawn = charts.bar_chart("name", "Title", "Sentence", ["few", "many"], values, row_label="users with")
    widths = [
        float(width)
        for width in re.findall(r'<rect x="[\d.]+" y="[\d.]+" class="bar s\d" width="([\d.]+)"', drawn.picture)
    ]
    assert [width / widths[0] for width in widths] == pytest.approx([1, 0.5, 0.25, 0.5 / widths[0]], abs=0.01)
    assert "<title>users with few, theirs: 0.2000</title>" in drawn.picture
    assert drawn.grid.rows == [["few", "0.4000", "0.2000"], ["many", "0.1000", numerals.NONE]]


def test_points_lie_within_the_picture_upside_up():
    xy = np.array([[0.0, 0.0], [1.0, 2.0], [-1.0, 1.0]])
    grid = charts.Grid("Title", ["item"], [["a"], ["b"], ["c"]])
    drawn = charts.scatter_chart("map", "Title", "Sentence", xy, [0, 4, 2], ["a", "b", "c"], grid, [])
    found = [tuple(map(float, place)) for place in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn.picture)]
    assert found == [(360.0, 430.0), (710.0, 10.0), (10.0, 220.0)]


def test_what_comes_from_outside_is_escaped():
    evil = '"><script>alert(1)</script>'
    escaped = "&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
    assert tag("text", evil, class_=evil) == f'<text class="{escaped}">{escaped}</text>'
    drawn = charts.bar_chart(evil, evil, evil, [evil], {evil: np.ones(1)}, row_label=evil)
    assert "<script" not in drawn.picture


def test_paths_have_a_tenth_of_a_unit():
    assert path_data([(1.0, 2.25), (3.04, -0.5)]) == "M1 2.2L3 -0.5"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0"),
        (1234, "1,234"),
        (0.00123456, "0.001235"),
        (12.345, "12.35"),
        (1234.5, "1,234"),
        (math.inf, numerals.NONE),
    ],
)
def test_amounts_have_four_digits(value, told):
    assert numerals.amount(value) == told


@pytest.mark.parametrize(("value", "told"), [(8.12, "8.1 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")])
def test_times_are_told_in_their_unit(value, told):
    assert numerals.seconds(value) == told
