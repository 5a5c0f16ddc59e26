"""What must not be printed or written: keys, tokens and passwords, in addresses and in what other libraries say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TypeVar
from urllib.parse import unquote

HIDDEN = "***"

Value = TypeVar("Value")

_SECRET_NAME = (
    r"(?:[\w.%~-]{0,64}[-_.])?(?:sig|signature|tokens?|(?:api|access|secret|account|shared|private|auth)?[-_]?keys?|"
    r"secret|password|passwd|passphrase|pwd|pass|auth|authorization|credentials?|sas|jwt|apitoken|accesstoken)"
    r"|(?:[\w.%~-]{0,64}[-_.])?(?:access|secret|api|account)key(?:id)?|AWSAccessKeyId"
)
# Repetitions are bounded: text of rows may have been written to be slow to look through. A password may hold a slash
# that nobody has encoded; what looks like a port is none.
_USER = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}://)"
    r"(?P<user>[^\s/?#'\"<>@]{0,512}|[^\s/?#'\"<>@:]{1,128}:(?!/|\d{1,5}/)[^\s?#'\"<>@]{1,512})@(?=[^\s/?#'\"<>])"
)
_QUERY = re.compile(rf"(?P<name>[?&;](?:{_SECRET_NAME})=)(?P<value>[^\s&;#'\"<>]+)", re.IGNORECASE)
_OF_WHAT = "(?:api|access|account|secret|private|auth)[-_]?"
# A key alone may be anything's: of a mapping, or of an option.
_NAMED = rf"(?:(?:{_OF_WHAT})?(?:signature|token|secret|password|passwd|credentials?)|(?:{_OF_WHAT}|(?<=[-_]))key)"
_OPTION = re.compile(
    rf"(?P<name>(?<![A-Za-z0-9]){_NAMED}=|--(?:\w{{1,32}}-){{0,4}}{_NAMED}[= ])"
    r"(?P<value>[^\s&'\"]+|'[^']*'|\"[^\"]*\")",
    re.IGNORECASE,
)
_OPENS = re.compile(
    r"(?:.*[-_.])?(?:(?:api|access|secret|account|private|auth)[-_]?(?:key|token)|password|passwd|passphrase|secret)",
    re.IGNORECASE,
)
_PLAIN = (
    # What clients of stores and hubs print of a request.
    re.compile(r"(?P<name>\b(?:Bearer|Basic)\s+)(?P<value>(?=\S*[0-9=])[A-Za-z0-9+/=._~-]{8,})"),
    re.compile(
        r"(?P<name>\b(?:x-amz-security-token|authorization|x-api-key)['\"]?\s*[:=]\s*['\"]?(?:(?:Bearer|Basic)\s+)?)"
        r"(?P<value>[^\s'\",*]{8,})",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<name>\b)(?P<value>(?:hf_|ghp_|github_pat_|glpat-|xox[bap]-|sk-)[A-Za-z0-9_-]{16,})"),
    re.compile(r"(?P<name>\b)(?P<value>(?:AKIA|ASIA)[A-Z0-9]{16})\b"),
)
_ENVIRONMENT = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|KEY|CREDENTIALS?|SAS)(_|$)", re.IGNORECASE)
_NO_SECRET = re.compile(r"_(PATH|FILE|DIR|URL|URI|MODE|NAME|ID)$", re.IGNORECASE)
_ESCAPED = 3
"""How many times over a text may be escaped and still be looked into."""
_SHORTEST = 8
"""A value of the environment that is shorter may stand in any text by chance."""


def redact(text: str) -> str:
    """A text without secrets: those in its addresses, options and variables, of known forms, and of the environment.

    In an address that is what stands before an @, if it holds a password or the address is one of the web, and the
    values of parameters such as X-Amz-Signature, sig, token or key; then what stands behind an option or variable
    called a key, a token, a secret or a password; and the values that this process's environment has under such names.
    Names stay. The same text, once redacted, stays as it is.
    """
    for value in _of_environment():
        if value in text:
            text = text.replace(value, HIDDEN)
    return _OPTION.sub(_without_value, _without_forms(text))


def redacted(value: Value) -> Value:
    """A text, or the texts in lists, tuples and mappings, without secrets; anything else as it is."""
    if isinstance(value, str):
        return redact(value)  # type: ignore[return-value]
    if isinstance(value, Mapping):
        return {  # type: ignore[return-value]
            redacted(key): HIDDEN if isinstance(inner, str) and opens_something(key) else redacted(inner)
            for key, inner in value.items()
        }
    if type(value) in (list, tuple):
        return type(value)(redacted(inner) for inner in value)  # type: ignore[call-arg,attr-defined]
    return value


def holds_credentials(text: str) -> bool:
    """Whether a text holds an address with a password, a token or a signature, or a secret of a known form."""
    return _without_forms(text) != text


def opens_something(name: object) -> bool:
    """Whether text under this name is a secret whatever it says: api_key, password, and the like."""
    return isinstance(name, str) and _OPENS.fullmatch(name) is not None


def _without_forms(text: str) -> str:
    """A text without what is a secret by its form."""
    text = plain = _without_written(text)
    for _ in range(_ESCAPED):
        if "%" not in plain:
            break
        plain = unquote(plain)
        # A name may be written with escapes; a text that hides one so is shown without any.
        if (hidden := _without_written(plain)) != plain:
            text = plain = hidden
    return text


def _without_written(text: str) -> str:
    if "://" in text:
        text = _USER.sub(_without_user, text)
    if "=" in text:
        text = _QUERY.sub(_without_value, text)
    for pattern in _PLAIN:
        text = pattern.sub(_without_value, text)
    return text


def _without_user(found: re.Match[str]) -> str:
    user, scheme = found["user"], found["scheme"].lower()
    # Before the @ of abfs:// stands a container, and of hdfs:// a name that everybody may know.
    open_name = ":" not in user and not scheme.startswith(("http", "ftp", "git"))
    return found[0] if open_name or user in ("", HIDDEN) else f"{found['scheme']}{HIDDEN}@"


def _without_value(found: re.Match[str]) -> str:
    return f"{found['name']}{HIDDEN}"


def _of_environment() -> Iterator[str]:
    """Values of this process's environment that are secrets by their names, the longest first."""
    values = {
        value
        for name, value in os.environ.items()
        if _ENVIRONMENT.search(name)
        and not _NO_SECRET.search(name)
        and len(value) >= _SHORTEST
        and not value.startswith(("/", "~", "."))
    }
    return iter(sorted(values, key=len, reverse=True))
