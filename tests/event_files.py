"""TensorBoard's event files, read without the code that writes them: frames and checksums as TensorFlow has them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData


def events(path: Path) -> list[Any]:
    """All events of a file, whose checksums must be right."""
    content, found, place = path.read_bytes(), [], 0
    while place < len(content):
        (length,) = struct.unpack("<Q", content[place : place + 8])
        (of_length,) = struct.unpack("<I", content[place + 8 : place + 12])
        body = content[place + 12 : place + 12 + length]
        (of_body,) = struct.unpack("<I", content[place + 12 + length : place + 16 + length])
        assert of_length == _masked(_crc32c(content[place : place + 8]))
        assert of_body == _masked(_crc32c(body))
        found.append(Event.FromString(body))
        place += 16 + length
    return found


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every curve of a trial's folder, in the order in which TensorBoard reads them."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.iterdir()):
        for event in events(path):
            for value in event.summary.value:
                if not value.metadata.plugin_data.plugin_name:
                    found.setdefault(value.tag, []).append((event.step, round(value.simple_value, 6)))
    return found


def sessions(folder: Path) -> list[Any]:
    """What the plugin of hyperparameters is told, in order."""
    values = [value for path in sorted(folder.iterdir()) for event in events(path) for value in event.summary.value]
    told = [value.metadata.plugin_data for value in values]
    return [HParamsPluginData.FromString(one.content) for one in told if one.plugin_name == "hparams"]


def parameters(folder: Path) -> dict[str, Any]:
    """The parameters of a trial."""
    start = sessions(folder)[0].session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in start.items()}


def _crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def _masked(checksum: int) -> int:
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
