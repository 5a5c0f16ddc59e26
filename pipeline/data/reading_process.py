"""A process that decodes or tokenises for the one that started it, until that one hangs up, be it by dying.

Requests and answers go over a socket: a length, a pickled head, and the bytes that the head tells of.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import threading
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np

from asvp.data.pixels import UnusableError

_LENGTH = struct.Struct("<Q")


def send(connection: socket.socket, head: Any, parts: Sequence[bytes | memoryview]) -> None:
    """Send a head and what belongs to it."""
    pickled = pickle.dumps(head)
    connection.sendall(b"".join([_LENGTH.pack(len(pickled)), pickled]))
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


def serve(descriptors: Sequence[int]) -> None:
    """Answer requests on several lines until they are closed, and then end.

    One content is read at a time; what comes and goes on the other lines meanwhile costs no time.
    """
    reading = threading.Lock()
    threads = [threading.Thread(target=_serve, args=(one, reading)) for one in descriptors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _serve(descriptor: int, reading: threading.Lock) -> None:
    try:
        with socket.socket(fileno=descriptor) as connection:
            readers = receive_head(connection)
            send(connection, "ready", ())
            while True:
                name, lengths = receive_head(connection)
                contents = [bytes(receive(connection, length)) for length in lengths]
                with reading:
                    found = [_read(readers[name], content) for content in contents]
                arrays = [one for one in found if isinstance(one, np.ndarray)]
                head = [one.shape if isinstance(one, np.ndarray) else one for one in found]
                send(connection, head, [array.data.cast("B") for array in arrays])
    except (EOFError, ConnectionError):
        return
    except BaseException:
        # Whoever asked must not wait for an answer that does not come.
        traceback.print_exc()
        os._exit(1)


def _read(reader: Any, content: bytes) -> np.ndarray | UnusableError:
    try:
        return np.ascontiguousarray(reader(content))
    except UnusableError as error:
        return error
