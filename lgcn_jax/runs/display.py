"""What a run shows while it goes on, and tables of metrics."""

import os
import sys
import time

import tqdm
import tqdm.auto

from lgcn_jax.config import Config

ENOUGH = 80  # columns for the form with a bar


class Display:
    """A progress bar with loss, watched metric and time left on a terminal and in a notebook; elsewhere lines.

    Writes to stderr, in a notebook into the cell; `quiet` shows nothing.
    """

    def __init__(self, config: Config, quiet: bool = False):
        self._config = config
        self._metric = ""
        self._loss = 0.0
        self._begun, self._count = None, 0  # when the first block of steps began, and how many steps it had
        self._first = None  # epochs done before that block, the part of one included
        self._terminal = not quiet and sys.stderr.isatty()
        self._notebook = not quiet and not self._terminal and "ipykernel" in sys.modules
        self._lines = not quiet and not self._terminal and not self._notebook
        size = {"ncols": _terminal_columns(), "nrows": 2}  # of our own: where a terminal says 0, tqdm shows nothing
        shape = {"bar_format": "{percentage:3.0f}% |{bar}|", "miniters": 0}  # blocks differ in what they add
        if self._notebook:
            self._bar = tqdm.auto.tqdm(total=config.training.epochs, unit="epoch")
        else:
            self._bar = tqdm.tqdm(total=config.training.epochs, disable=not self._terminal, **shape, **size)

    def begin(self, count: int) -> None:
        """Before a block of `count` steps. The first one starts the clock, so that compilation is not in the rate."""
        if self._begun is None:
            self._begun, self._count = time.perf_counter(), count

    def progress(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """After a block of steps: moves the bar by the share of the epoch that is done."""
        self._loss, place = loss, epoch - 1 + step / steps
        if self._first is None:
            self._first = place - self._count / steps
        if self._terminal:
            self._describe(epoch, place)
            self._bar.update(place - self._bar.n)
        if self._notebook and step == steps:
            self._bar.set_postfix_str(f"loss {loss:.4f}, {self._metric}", refresh=False)
            self._bar.update(epoch - self._bar.n)

    def log(self, row: dict) -> None:
        """A line of metrics.jsonl: evaluations are shown."""
        if row["split"] == "train":
            return
        watched, epoch = self._config.evaluation.watched_metric, row["epoch"]
        self._metric = f"{row['split']} {watched} {row[watched]:.4f}"
        if self._terminal:
            self._describe(epoch, epoch)
            self._bar.refresh()  # the next block may be long in coming, and after the last epoch there is none
        if self._lines:
            place = f"epoch {epoch:>{len(str(self._config.training.epochs))}}/{self._config.training.epochs}"
            print(f"{place}  {self._format_status(self._metric, epoch)}", file=sys.stderr, flush=True)

    def _format_status(self, metric: str, place: float) -> str:
        """Loss, metric and time left; the metric alone where no step was made before the evaluation."""
        if self._first is None:
            return metric
        return ", ".join(
            filter(None, (f"loss {self._loss:.4f}", metric, f"{_format_clock(self._seconds_left(place))} left"))
        )

    def _seconds_left(self, place: float) -> float:
        """Seconds until the last epoch is over, `place` epochs into the run, at the mean rate since the first block."""
        return (time.perf_counter() - self._begun) / (place - self._first) * (self._config.training.epochs - place)

    def _describe(self, epoch: int, place: float) -> None:
        """The texts around the bar, for a terminal as wide as it is now; what does not fit is cut off at the end."""
        shown = f"{epoch}/{self._config.training.epochs}"
        self._bar.ncols = _terminal_columns()
        if self._bar.ncols >= ENOUGH:
            self._bar.bar_format = (
                f"epoch {shown} {{percentage:3.0f}}% |{{bar}}| {self._format_status(self._metric, place)}"
            )
        else:
            self._bar.bar_format = f"{shown}, {self._format_status(self._metric.partition(' ')[2], place)}"

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()


def format_table(rows: dict[str, dict[str, float]]) -> str:
    """Rows {label: {metric: value}} as aligned text, metrics to four digits; a row without values heads the table."""
    metrics = list(dict.fromkeys(name for values in rows.values() for name in values if "@" in name))
    width = max(map(len, rows))
    lines = []
    for label, values in rows.items():
        cells = [f"{values[name]:.4f}" for name in metrics] if values else metrics
        lines.append(f"{label:<{width}}" + "".join(f"  {cell:>12}" for cell in cells))
    return "\n".join(lines)


def format_facts(values: dict) -> str:
    """A dictionary as aligned lines."""
    width = max(map(len, values))
    return "\n".join(f"{name:<{width}}  {_format_number(value)}" for name, value in values.items())


def _terminal_columns() -> int:
    """The width of the terminal; some say 0 and mean that they do not know."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or ENOUGH
    except (OSError, ValueError):
        return ENOUGH


def _format_number(value) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _format_clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"
