"""What a run tells while it goes on."""

from typing import Any

from lgcn_jax.training.state import Snapshot


class Listener:
    """What a run tells while it goes on. This one hears nothing and never stops the run."""

    def log(self, row: dict[str, Any]) -> None:
        """A line of metrics.jsonl."""

    def limit_block(self, planned: int) -> int:
        """How many steps the next block shall have: `planned`, or fewer, at least 1; asked before every block."""
        return planned

    def progress(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """A block of steps is done: `step` of `steps` of `epoch` (from 1), with the mean loss so far."""

    def save(self, snapshot: Snapshot, is_scheduled: bool) -> None:
        """A place worth keeping; copy its arrays before returning. One that is not `is_scheduled` is saved only because
        the run is stopped or over here."""

    def should_stop(self) -> bool:
        """Whether the run shall end here; asked after every block and evaluation."""
        return False
