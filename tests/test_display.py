"""What is shown: tables, facts, and a bar on a terminal alone."""

import io
import os
import sys

import pytest

from lgcn_jax import display
from lgcn_jax.config import Config

ROW = {"epoch": 2, "split": "test", "recall@20": 0.12345}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, **options) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with display.Display(Config(epochs=4), **options) as bar:
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
    with display.Display(Config(epochs=2)) as bar:
        bar.progress(2, 5, 5, 0.6)
        before = len(sys.stderr.getvalue())
        bar.log(ROW)
        assert "test recall@20 0.1235" in sys.stderr.getvalue()[before:]


@pytest.mark.parametrize("columns", [0, 40, 79, 80, 200])
def test_loss_and_metric_are_seen_on_terminals_of_any_width(monkeypatch, columns):
    monkeypatch.setattr(Terminal, "fileno", lambda self: 2, raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((columns, 0)))
    monkeypatch.setattr(sys, "stderr", Terminal())
    with display.Display(Config(epochs=1000)) as bar:
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
    with display.Display(Config(epochs=2)) as bar:
        bar.log(ROW)
    assert sys.stderr.getvalue() == "epoch 2/2  test recall@20 0.1235\n"


def test_quiet_shows_nothing(monkeypatch):
    assert shown(monkeypatch, Terminal(), quiet=True) == ""


def test_tables_align():
    rows = {"gowalla, test part": {}, "best": {"epoch": 3, "recall@20": 0.18244, "ndcg@20": 0.1}}
    assert display.table(rows).splitlines() == [
        "gowalla, test part     recall@20       ndcg@20",
        "best                      0.1824        0.1000",
    ]


def test_facts_align_and_numbers_have_separators():
    assert display.facts({"users": 29858, "of": "gowalla"}) == "users  29,858\nof     gowalla"
