"""What every run does with what it tells: shows it, passes it on to callbacks, and ends when somebody asks for it."""

from typing import Any

import jax
import jax.numpy as jnp

from lgcn_jax.runs.display import Display
from lgcn_jax.system.signals import StopRequest
from lgcn_jax.training import loop
from lgcn_jax.training.loop import Callback
from lgcn_jax.training.state import Snapshot


class Reporter(loop.Listener):
    """Shows a run and calls back; it ends by a signal, or after an epoch for which a callback returned True."""

    def __init__(self, shown: Display, request: StopRequest, callbacks: tuple[Callback, ...]):
        self._shown, self._request, self._callbacks = shown, request, callbacks
        self._ended = False

    def log(self, row: dict[str, Any]) -> None:
        self._shown.log(row)
        answers = [callback(dict(row)) for callback in self._callbacks]
        self._ended = self._ended or any(answer is True for answer in answers)

    def limit_block(self, planned: int) -> int:
        self._shown.begin(planned)
        return planned

    def progress(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self._shown.progress(epoch, step, steps, loss)

    def should_stop(self) -> bool:
        return self._ended or self._request.signal != 0


class MemoryReporter(Reporter):
    """Keeps what a run tells, and the parameters of its best epoch, in memory."""

    def __init__(self, shown: Display, request: StopRequest, callbacks: tuple[Callback, ...]):
        self.history: list[dict[str, Any]] = []
        self.best = None
        super().__init__(shown, request, (*callbacks, self.history.append))

    def save(self, snapshot: Snapshot, is_scheduled: bool) -> None:
        chosen = snapshot.progress.chosen
        if chosen is not None and chosen["epoch"] == snapshot.progress.epoch and not snapshot.progress.step:
            self.best = jax.tree.map(jnp.copy, snapshot.state.params)
