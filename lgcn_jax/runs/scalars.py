"""TensorBoard's scalars of a run, written in step with metrics.jsonl."""

import os
import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary


class TensorBoardLog:
    """An event file in `folder`.

    tensorboardX's SummaryWriter writes from a thread, which a full disk would kill and whose queue would then wait
    for ever; its EventsWriter, used here, writes and fails in the calling thread.

    Args:
      folder: made when missing.
      first_epoch: where a continued run begins; TensorBoard hides what earlier files say of it and of later epochs.
    """

    def __init__(self, folder: Path, first_epoch: int = 1):
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=first_epoch, session_log=start))

    def append(self, row: dict[str, Any]) -> None:
        """The numbers of a line of metrics.jsonl, as `SPLIT/NAME`."""
        names = [name for name in row if name not in ("epoch", "split")]
        values = [Summary.Value(tag=f"{row['split']}/{name}", simple_value=row[name]) for name in names]
        self._writer.write_event(Event(wall_time=time.time(), step=row["epoch"], summary=Summary(value=values)))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
