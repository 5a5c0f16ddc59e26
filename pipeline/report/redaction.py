"""Secrets taken out of what is shown or kept for others to read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"

_OPENS = "signature|token|secret|password|passwd|credential|key"
# A password may hold a slash that nobody has encoded.
_USER = re.compile(r"(?<=://)(?:[^/@:\s'\"]+:[^@\s'\"]+|[^/@\s'\"]+)(?=@)")
_QUERY = re.compile(rf"([?&][^=&\s'\"]*(?:{_OPENS}|\bsig|\bauth)[^=&\s'\"]*=)[^&#\s'\"]+", re.IGNORECASE)
_NAMED = r"(?:api|access|account|secret)?-?(?:signature|token|secret|password|passwd|credentials?|key)"
_OPTION = re.compile(
    rf"((?<![A-Za-z0-9]){_NAMED}=|--(?:[\w-]+-)?{_NAMED}[= ])([^\s&'\"]+|'[^']*'|\"[^\"]*\")", re.IGNORECASE
)


def redacted(text: str) -> str:
    """A text without the secrets that URIs and options may hold.

    What goes is the user, with or without a password, before the host of a URI; of its query the values of parameters
    that sign or open something; and what stands behind an option or variable called a key, a token, a secret or a
    password. Names stay.
    """
    return _OPTION.sub(rf"\1{HIDDEN}", _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(HIDDEN, text)))


def redacted_values(value: Any) -> Any:
    """The same of all texts in mappings and lists."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: redacted_values(inner) for key, inner in value.items()}
    return [redacted_values(inner) for inner in value] if isinstance(value, (list, tuple)) else value
