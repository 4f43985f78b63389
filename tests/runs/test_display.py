"""What is shown: tables, facts, and a bar on a terminal alone."""

import io
import os
import re
import sys
import types

import pytest
import tqdm

from lgcn_jax.config import Config
from lgcn_jax.runs import display

ROW = {"epoch": 2, "split": "test", "recall@20": 0.12345}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, **options) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with display.Display(Config.of(epochs=4), **options) as bar:
        bar.begin(5)
        bar.progress(1, 5, 5, 0.7)
        bar.progress(2, 5, 5, 0.6)
        bar.log({"epoch": 2, "split": "train", "loss": 0.6})
        bar.log(ROW)
        bar.progress(3, 1, 5, 0.5)
    return stream.getvalue()


def test_a_terminal_gets_a_bar_with_loss_metric_and_time_left(monkeypatch):
    text = shown(monkeypatch, Terminal())
    assert "epoch 3/4" in text
    assert "loss 0.5000, test recall@20 0.1235" in text
    assert "left" in text


def test_an_evaluation_is_seen_at_once(monkeypatch):
    """Also the one after the last epoch, after which no block comes."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with display.Display(Config.of(epochs=2)) as bar:
        bar.begin(5)
        bar.progress(2, 5, 5, 0.6)
        before = len(sys.stderr.getvalue())
        bar.log(ROW)
        assert "test recall@20 0.1235" in sys.stderr.getvalue()[before:]


@pytest.mark.parametrize("columns", [0, 40, 79, 80, 200])
def test_loss_and_metric_are_seen_on_terminals_of_any_width(monkeypatch, columns):
    monkeypatch.setattr(Terminal, "fileno", lambda self: 2, raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((columns, 0)))
    monkeypatch.setattr(sys, "stderr", Terminal())
    with display.Display(Config.of(epochs=1000)) as bar:
        bar.begin(1)
        bar.progress(1000, 1, 5, 0.7)
        bar.log(ROW | {"epoch": 1000})
        last = sys.stderr.getvalue().split("\r")[-1]
    assert "1000/1000" in last
    assert "loss 0.7000" in last
    assert "recall@20 0.1235" in last
    assert len(last) <= (columns or 80)
    assert ("left" in last) == (columns != 40)
    assert ("|" in last) == (columns not in (40, 79))


def test_other_places_get_a_line_for_each_evaluation(monkeypatch):
    text = shown(monkeypatch, io.StringIO())
    assert text.startswith("epoch 2/4  loss 0.6000, test recall@20 0.1235, ")
    assert text.count("\n") == 1


def test_an_evaluation_before_any_step_is_shown_without_loss_and_time(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with display.Display(Config.of(epochs=2)) as bar:
        bar.log(ROW)
    assert sys.stderr.getvalue() == "epoch 2/2  test recall@20 0.1235\n"


class Clock:
    """Seconds that pass only where a test says so, for the display and for tqdm, which skips hasty updates."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(display, "time", types.SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(tqdm.std, "time", lambda: self.now)

    def works(self, bar, seconds, count, *place):
        """A block of `count` steps that takes `seconds` and ends at (epoch, step, steps)."""
        bar.begin(count)
        self.now += seconds
        bar.progress(*place, 0.5)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


def left(stream) -> list[str]:
    """The times left that were shown."""
    return re.findall(r"(\S+) left", stream.getvalue())


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_time_left_is_that_of_steps_and_evaluations_without_compilation(monkeypatch, clock, stream):
    """Half an epoch in 10 s, the other in 20 s, an evaluation of 30 s: 60 s for each of the three that are left."""
    monkeypatch.setattr(sys, "stderr", stream())
    with display.Display(Config.of(epochs=4)) as bar:
        clock.now += 5000  # compilation
        clock.works(bar, 10, 4, 1, 4, 8)
        clock.works(bar, 20, 4, 1, 8, 8)
        clock.now += 30
        bar.log(ROW | {"epoch": 1})
        found = left(sys.stderr)
    assert found == (["01:10", "01:30", "03:00"] if stream is Terminal else ["03:00"])


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_time_left_of_a_continued_run_is_by_what_it_does_itself(monkeypatch, clock, stream):
    """It goes on in the middle of the 90th of 100 epochs and makes a quarter of an epoch in 15 s, so a minute each."""
    monkeypatch.setattr(sys, "stderr", stream())
    with display.Display(Config.of(epochs=100)) as bar:
        clock.now += 5000
        clock.works(bar, 15, 2, 90, 6, 8)
        clock.works(bar, 15, 2, 90, 8, 8)
        bar.log(ROW | {"epoch": 90})
        clock.works(bar, 60 * 3.5, 28, 94, 4, 8)
        clock.works(bar, 30, 4, 94, 8, 8)
        bar.log(ROW | {"epoch": 94})
        found = left(sys.stderr)
    on_bar = ["10:15", "10:00", "10:00", "06:30", "06:00", "06:00"]
    assert found == (on_bar if stream is Terminal else ["10:00", "06:00"])


def test_hours_are_shown_where_there_are_some(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with display.Display(Config.of(epochs=62)) as bar:
        clock.works(bar, 60, 8, 1, 8, 8)
        bar.log(ROW | {"epoch": 1})
    assert left(sys.stderr) == ["1:01:00"]


def test_the_bar_is_as_far_as_the_run_from_the_first_block_on(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with display.Display(Config.of(epochs=100)) as bar:
        clock.works(bar, 1, 2, 90, 4, 8)
    assert "epoch 90/100  90% |" in sys.stderr.getvalue()


def test_quiet_shows_nothing(monkeypatch):
    assert shown(monkeypatch, Terminal(), quiet=True) == ""


def test_tables_align():
    rows = {"gowalla, test part": {}, "best": {"epoch": 3, "recall@20": 0.18244, "ndcg@20": 0.1}}
    assert display.format_table(rows).splitlines() == [
        "gowalla, test part     recall@20       ndcg@20",
        "best                      0.1824        0.1000",
    ]


def test_facts_align_and_numbers_have_separators():
    assert display.format_facts({"users": 29858, "of": "gowalla"}) == "users  29,858\nof     gowalla"


def test_a_notebook_has_a_bar_of_its_own(monkeypatch, capsys):
    """Which moves once an epoch, and tells loss and metric."""
    bars = []

    class Bar:
        def __init__(self, total, unit):
            self.total, self.n, self.texts = total, 0, []
            bars.append(self)

        def update(self, amount):
            self.n += amount

        def set_postfix_str(self, text, refresh):
            self.texts.append(text)

        def close(self):
            self.total = None

    monkeypatch.setitem(sys.modules, "ipykernel", object())
    monkeypatch.setattr(display.tqdm.auto, "tqdm", Bar)
    with display.Display(Config.of(epochs=3)) as shown:
        shown.begin(2)
        shown.progress(1, 2, 4, 0.5)
        assert bars[0].n == 0
        shown.progress(1, 4, 4, 0.5)
        shown.log({"epoch": 1, "split": "test", "recall@20": 0.25})
        shown.progress(2, 4, 4, 0.25)
    assert (bars[0].n, bars[0].total) == (2, None)
    assert bars[0].texts == ["loss 0.5000, ", "loss 0.2500, test recall@20 0.2500"]
    assert capsys.readouterr().err == ""
