"""Charts of differences: where intervals, pairs and cells stand, and what their tables say."""

import re

import numpy as np
import pytest

from lgcn_jax.reporting import numerals
from lgcn_jax.reporting.charts import Series, line_chart
from lgcn_jax.reporting.intervals import STRONGEST, Interval, format_interval, heatmap, interval_chart

ROWS = [
    Interval("ahead", 0.02, 0.01, 0.03, "3 seeds", (0.01, 0.02, 0.03)),
    Interval("alone", -0.01, float("nan"), float("nan"), "1 seed"),
]


def numbers(pattern: str, picture: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, picture)]


def test_intervals_stand_about_the_line_at_zero():
    chart = interval_chart("some", "Some", "What is seen.", ROWS, row_label="what")
    zero = numbers(r'x1="([\d.]+)"[^>]*class="zero"', chart.picture)[0]
    ahead, alone = numbers(r'<circle cx="([\d.]+)"[^>]*class="middle"', chart.picture)
    (low,), (high,) = (numbers(rf'{end}="([\d.]+)"[^>]*class="range"', chart.picture) for end in ("x1", "x2"))
    assert alone < zero < low < ahead < high
    assert ahead - low == pytest.approx(high - ahead, abs=0.11)  # coordinates have one digit after the point
    assert (ahead - zero) == pytest.approx(2 * (zero - alone), abs=0.2)
    assert numbers(r'<circle cx="([\d.]+)"[^>]*class="pair"', chart.picture) == [low, ahead, high]


def test_the_table_of_intervals_has_their_numbers():
    chart = interval_chart("some", "Some", "What is seen.", ROWS, row_label="what")
    assert list(chart.grid.head) == ["what", "difference", "from", "to", "of"]
    assert chart.grid.rows[0] == ["ahead", "+0.0200", "+0.0100", "+0.0300", "3 seeds"]
    assert chart.grid.rows[1] == ["alone", "\N{MINUS SIGN}0.0100", "\N{EN DASH}", "\N{EN DASH}", "1 seed"]
    assert format_interval(ROWS[0]) == "+0.0200 (from +0.0100 to +0.0300, 3 seeds)"
    assert format_interval(ROWS[1]) == "\N{MINUS SIGN}0.0100 (1 seed)"


def test_cells_are_the_stronger_the_farther_from_zero():
    values = np.array([[0.01, -0.02], [0.0, np.nan]])
    axes = {"row_label": "margin", "column_label": "temperature"}
    chart = heatmap("heat", "Heat", "What is seen.", ["0", "1"], ["0.1", "0.2"], values, **axes)
    cells = re.findall(r'<rect class="([\w ]+)" fill-opacity="([\d.]+)"', chart.picture)
    assert cells == [("cell", f"{STRONGEST / 2:g}"), ("cell below", f"{STRONGEST:g}"), ("cell", "0"), ("cell", "0")]
    assert list(chart.grid.head) == ["margin \\ temperature", "0.1", "0.2"]
    assert chart.grid.rows == [["0", "+0.0100", "\N{MINUS SIGN}0.0200"], ["1", "0.0000", "\N{EN DASH}"]]


def test_a_line_has_a_band_where_it_has_edges():
    x = np.array([1.0, 2.0, 3.0])
    band = Series("with", x, x, low=x - 1, high=np.array([2.0, 3.0, np.nan]))
    chart = line_chart("some", "Some", "What is seen.", [band, Series("without", x, x)], x_label="epoch")
    (outline,) = re.findall(r'<path d="(M[^"]+)Z" class="area s0"', chart.picture)
    assert outline.count(" ") == 4  # two known places, there and back
    assert "area s1" not in chart.picture


def test_differences_have_a_sign_but_for_nothing():
    assert [numerals.difference(v) for v in (0.00123, -0.00123, 0.0, -0.00001)] == [
        "+0.0012",
        "\N{MINUS SIGN}0.0012",
        "0.0000",
        "0.0000",
    ]
    assert numerals.difference(float("nan")) == numerals.NONE
