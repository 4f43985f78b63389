"""TensorBoard's event files hold what metrics.jsonl does."""

import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from lgcn_jax.config import Config
from lgcn_jax.runs.workdir import RunFolder

ROWS = [
    {"epoch": 1, "split": "train", "loss": 0.5, "seconds": 1.5},
    {"epoch": 1, "split": "test", "recall@20": 0.25, "ndcg@20": 0.125},
    {"epoch": 2, "split": "train", "loss": 0.25, "seconds": 1.25},
]


def events(path: Path) -> list[Event]:
    """The records of an event file: a length, its checksum, the event, its checksum."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack_from("<Q", data)
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[12 + length + 4 :]
    return found


def logged(folder: Path, rows: list[dict], before: list[dict]) -> list[Event]:
    """What a run that logs `rows` after those `before` adds to the folder of its event files."""
    old = set((folder / "tensorboard").glob("*"))
    with RunFolder(folder, Config.of(dataset="synthetic"), {}, before) as run:
        for row in rows:
            run.log(row)
    (new,) = set((folder / "tensorboard").glob("*")) - old
    return events(new)


def test_every_number_of_every_line_is_a_scalar_of_its_epoch(tmp_path):
    version, start, *found = logged(tmp_path, ROWS, [])
    assert version.file_version == "brain.Event:2"
    assert (start.session_log.status, start.step) == (SessionLog.START, 1)
    for event, row in zip(found, ROWS, strict=True):
        expected = {f"{row['split']}/{name}": row[name] for name in row if name not in ("epoch", "split")}
        assert event.step == row["epoch"]
        assert {value.tag: value.simple_value for value in event.summary.value} == pytest.approx(expected)


def test_a_continued_run_hides_what_was_logged_after_its_beginning(tmp_path, monkeypatch):
    logged(tmp_path, ROWS, [])
    monkeypatch.setattr("os.getpid", lambda: 1)  # which is in the file's name, as the second is
    _, start, *found = logged(tmp_path, ROWS[2:], ROWS[:2])
    assert (start.session_log.status, start.step) == (SessionLog.START, 2)
    assert [event.step for event in found] == [2]
