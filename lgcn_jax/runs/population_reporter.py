"""What every population does with what it tells: shows it, passes it on to callbacks, and ends members they name."""

from typing import Any

from lgcn_jax.runs.display import Display
from lgcn_jax.system.signals import StopRequest
from lgcn_jax.training.loop import Callback
from lgcn_jax.training.population_state import PopulationListener


class PopulationReporter(PopulationListener):
    """Shows the members' mean, and calls back with each line of each member.

    Attributes:
      rows: the lines of each member.
    """

    def __init__(
        self, shown: Display, request: StopRequest, callbacks: tuple[Callback, ...], rows: list[list[dict[str, Any]]]
    ):
        self._shown, self._request, self._callbacks = shown, request, callbacks
        self._told: list[dict[str, Any]] = []
        self._ended: set[int] = set()
        self.rows = rows

    def log(self, member_index: int, row: dict[str, Any]) -> None:
        self.rows[member_index].append(row)
        self._told.append(row)
        answers = [callback({"member": member_index} | row) for callback in self._callbacks]
        if any(answer is True for answer in answers):
            self._ended.add(member_index)

    def all_logged(self) -> None:
        told, self._told = self._told, []
        if told and told[0]["split"] != "train":
            numbers = [name for name in told[0] if name not in ("epoch", "split")]
            means = {name: sum(row[name] for row in told) / len(told) for name in numbers}
            mean_of = f"{told[0]['split']}, mean of {len(told)}:"
            self._shown.log({"epoch": told[0]["epoch"], "split": mean_of} | means)

    def limit_block(self, planned: int) -> int:
        self._shown.begin(planned)
        return planned

    def progress(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self._shown.progress(epoch, step, steps, loss)

    def should_end_member(self, member_index: int) -> bool:
        return member_index in self._ended

    def should_stop(self) -> bool:
        return self._request.signal != 0
