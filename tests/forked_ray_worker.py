"""What a raylet starts in place of a worker: it has the worker forked by a server, and ends with it.

Only what Python has loaded anyhow, or nearly so, is imported here.
"""

from __future__ import annotations

import json
import os
import socket
import sys

environment = dict(os.environ)
arguments = []
for argument in sys.argv[1:]:
    name, _, value = argument.partition("=")
    if name == "--serialized-runtime-env-context":
        environment.update(json.loads(value or "{}").get("env_vars") or {})
    elif name != "--language":
        arguments.append(argument)
request = {"arguments": arguments, "cwd": os.getcwd(), "environment": environment, "new_session": True}
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["ASVP_TESTS_FORK_SERVER"])
socket.send_fds(connection, [b"x"], [1, 2])
connection.sendall(json.dumps(request).encode() + b"\n")
connection.recv(8, socket.MSG_WAITALL)
status = int(connection.recv(8, socket.MSG_WAITALL) or 1)
os._exit(status if status >= 0 else 128 - status)
