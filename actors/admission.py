"""Whether a cluster lets this process in, asked in one call: Ray itself tries for half a minute before it says no."""

from __future__ import annotations

import os
from typing import Any

from ray.exceptions import AuthenticationError

from asvp.errors import ClusterError

_SECONDS = 5.0
_QUESTION = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_MEND = (
    "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token or RAY_AUTH_TOKEN to the "
    "token itself, for this command and every node; on the head `ray get-auth-token` prints it"
)


def require_admission(address: str, key: str) -> None:
    """Raise a ClusterError where a cluster wants a token that this process does not have.

    Whatever else goes wrong is left to Ray, which says it when it is asked to connect.

    Parameters
    ----------
    address : str
        HOST:PORT of the cluster's head.
    key : str
        Where the address comes from, for messages.
    """
    try:
        import grpc
        from ray._private.grpc_utils import init_grpc_channel
    except ImportError:
        # A Ray without its dashboard's packages, or a later one: it says no by itself, only later.
        return
    try:
        with init_grpc_channel(address) as channel:
            ask = channel.unary_unary(_QUESTION, request_serializer=bytes, response_deserializer=bytes)
            ask(b"", timeout=_SECONDS)
    except AuthenticationError:
        raise _refused(f"there is no token here, {_where_it_was_sought()}", key, address) from None
    except grpc.RpcError as error:
        if _code(error) is grpc.StatusCode.UNAUTHENTICATED:
            raise _refused(_what_was_shown(), key, address) from None


def _refused(why: str, key: str, address: str) -> ClusterError:
    return ClusterError(f"the cluster wants a token: {why}", key=key, value=address, mend=_MEND)


def _code(error: Any) -> Any:
    return error.code() if hasattr(error, "code") else None


def _what_was_shown() -> str:
    mode = os.environ.get("RAY_AUTH_MODE")
    if (mode or "").lower() != "token":
        return f"RAY_AUTH_MODE is {mode or 'not set'} here, so it was shown none"
    return f"it does not take the one that is here, {_where_it_was_sought()}"


def _where_it_was_sought() -> str:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "that of RAY_AUTH_TOKEN"
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return f"in the file of RAY_AUTH_TOKEN_PATH, {path}" if path else "in ~/.ray/auth_token"
