"""TensorBoard's event files: records of numbers that are added at the end.

The format is that of TensorFlow: each record is the length of an `Event`, a checksum, the event and another checksum.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import hparams

from asvp.tune_spaces.loggers.points import Point
from asvp.tune_spaces.loggers.trial import Setting

_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")


def first_event() -> Any:
    """What every file begins with."""
    return Event(wall_time=time.time(), file_version="brain.Event:2")


def point_event(point: Point) -> Any:
    """A point of a curve, now."""
    event = Event(wall_time=time.time(), step=point.labels)
    event.summary.value.add(tag=point.name, simple_value=point.value)
    return event


def session_events(parameters: Mapping[str, Setting]) -> tuple[Any, Any]:
    """What the tab of hyperparameters reads of a trial: its beginning, with parameters, and its end.

    TensorBoard makes its list of parameters of all trials, which it would not do if a file held such a list.
    """
    _, start, end = hparams(dict(parameters), {})
    now = time.time()
    return Event(wall_time=now, summary=start), Event(wall_time=now, summary=end)


def encoded(event: Any) -> bytes:
    """The record of an event."""
    content: bytes = event.SerializeToString()
    length = _LENGTH.pack(len(content))
    checksums = (_CHECKSUM.pack(masked_crc32c(part)) for part in (length, content))
    return b"".join((length, next(checksums), content, next(checksums)))


def read_events(path: Path) -> Iterator[Any]:
    """The events of a file, up to a record that was cut short or damaged, beyond which TensorBoard does not read."""
    content, place = path.read_bytes(), 0
    while place + _LENGTH.size <= len(content):
        begin = place + _LENGTH.size + _CHECKSUM.size
        end = begin + _LENGTH.unpack_from(content, place)[0]
        place = end + _CHECKSUM.size
        if place > len(content) or masked_crc32c(content[begin:end]) != _CHECKSUM.unpack_from(content, end)[0]:
            return
        yield Event.FromString(content[begin:end])


def read_points(path: Path) -> Iterator[Point]:
    """The points that a file holds."""
    for event in read_events(path):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                yield Point(value.tag, event.step, value.simple_value)
