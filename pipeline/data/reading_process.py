"""A process that decodes or tokenises for the one that started it, until that one hangs up, be it by dying.

Requests and answers go over a socket: a length, a pickled head, and the bytes that the head tells of. Arrays go into
memory that both processes see, where the request names a block for them and they fit.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asvp.data.pixels import UnusableError
from asvp.data.shared_memory import SharedBlocks

_LENGTH = struct.Struct("<Q")
_SMALL = 1 << 20


def send(connection: socket.socket, head: Any, parts: Sequence[bytes | memoryview]) -> None:
    """Send a head and what belongs to it."""
    pickled = pickle.dumps(head)
    message: list[bytes | memoryview] = [_LENGTH.pack(len(pickled)), pickled]
    if sum(map(len, parts)) <= _SMALL:
        # At one go: whoever else wants Python's lock takes it at each.
        message += parts
        parts = ()
    connection.sendall(b"".join(message))
    for part in parts:
        connection.sendall(part)


def receive_head(connection: socket.socket) -> Any:
    """The head of what comes next; EOFError where the other side has hung up."""
    (length,) = _LENGTH.unpack(receive(connection, _LENGTH.size))
    return pickle.loads(receive(connection, length))


def receive(connection: socket.socket, length: int) -> bytearray:
    """So many bytes; EOFError where the other side has hung up."""
    content = bytearray(length)
    receive_into(connection, memoryview(content))
    return content


def receive_into(connection: socket.socket, view: memoryview) -> None:
    """Fill a stretch of memory; EOFError where the other side has hung up."""
    while len(view):
        got = connection.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]


@dataclass(frozen=True)
class Place:
    """Where in shared memory the arrays of a request go: each has so much room, one behind the other.

    Attributes
    ----------
    offset, size : int
        Of the block, in the memory.
    begin, room : int
        Bytes: where the room of the first array begins in the block, and that of each.
    """

    offset: int
    size: int
    begin: int
    room: int


def serve(descriptors: Sequence[int], memory: int) -> None:
    """Answer requests on several lines until they are closed, and then end.

    One content is read at a time; what comes and goes on the other lines meanwhile costs no time.

    Parameters
    ----------
    descriptors : sequence of int
        Of the lines.
    memory : int
        Of the memory that the other side sees too; -1: there is none.
    """
    reading = threading.Lock()
    blocks = SharedBlocks(memory)
    threads = [threading.Thread(target=_serve, args=(one, reading, blocks)) for one in descriptors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _serve(descriptor: int, reading: threading.Lock, blocks: SharedBlocks) -> None:
    try:
        with socket.socket(fileno=descriptor) as connection:
            readers = receive_head(connection)
            send(connection, "ready", ())
            while True:
                name, lengths, place = receive_head(connection)
                contents = [bytes(receive(connection, length)) for length in lengths]
                with reading:
                    found = [_read(readers[name], content) for content in contents]
                send(connection, *_answer(found, place, blocks))
    except (EOFError, ConnectionError):
        return
    except BaseException:
        # Whoever asked must not wait for an answer that does not come.
        traceback.print_exc()
        os._exit(1)


def _answer(
    found: Sequence[np.ndarray | UnusableError], place: Place | None, blocks: SharedBlocks
) -> tuple[list[Any], list[memoryview]]:
    """What is said of each, (its shape, whether it is in the block) or why there is none; and what is not there."""
    said: list[Any] = []
    parts: list[memoryview] = []
    for number, one in enumerate(found):
        if isinstance(one, UnusableError):
            said.append(one)
            continue
        content = one.data.cast("B")
        if place is None or len(content) > place.room:
            parts.append(content)
            said.append((one.shape, False))
            continue
        begin = place.begin + number * place.room
        blocks.at(place.offset, place.size)[begin : begin + len(content)] = content
        said.append((one.shape, True))
    return said, parts


def _read(reader: Any, content: bytes) -> np.ndarray | UnusableError:
    try:
        return np.ascontiguousarray(reader(content))
    except UnusableError as error:
        return error
