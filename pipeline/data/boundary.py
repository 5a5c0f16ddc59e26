"""The folders that a table's image paths, and the links in a folder of rows, may lead to."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from asvp.data.listing import Listing
from asvp.data.storage import Storage, StoredFile
from asvp.errors import DataError

_MOST_ESCAPES = 5
"""Times that percent signs are resolved; what needs more is no name."""
_MEND = "Set data.root to the folder that holds all of them, or data.allow_outside: true if you trust who wrote them"


class Boundary:
    """What rows may refer to.

    A path of this machine is followed through all links, and where it ends has to lie in one of the folders, which are
    followed in the same way: a folder may itself be a link. An address is compared as text.

    Parameters
    ----------
    root : str, optional
        Folder or URI beside the folders of the data: the option `data.root`.
    allow_outside : bool
        Nothing is refused: the option `data.allow_outside`.

    Raises
    ------
    DataError
        If `root` is a path, and no folder.
    """

    def __init__(self, root: str | None = None, allow_outside: bool = False) -> None:
        self.allow_outside = allow_outside
        self.root = root if root is None or "://" in root else os.path.abspath(os.path.expanduser(root))
        if self.root is not None and "://" not in self.root and not os.path.isdir(self.root):
            raise DataError("is no folder", key="data.root", value=root, mend="Name a folder or URI, or null")

    def leaves(self, path: str, homes: Sequence[str]) -> str | None:
        """Where a path leads, in words, if that is outside; None where it may be read.

        Parameters
        ----------
        path : str
            An absolute path of this machine, or a URI.
        homes : sequence of str
            Folders of this machine, or URIs, beside `root`.
        """
        if self.allow_outside:
            return None
        roots = [*homes, *([] if self.root is None else [self.root])]
        if "://" in path:
            inside = any(_is_below(path, root) for root in roots if "://" in root)
            return None if inside else "is an address outside the folder of the table"
        try:
            real = os.path.realpath(path)
            inside = any(_is_in(real, os.path.realpath(root)) for root in roots if "://" not in root)
        except (OSError, ValueError) as error:
            return f"cannot be looked up: {error}"
        return None if inside else f"leads to {real}, outside the folder of the table"

    def refusal(self, path: str, homes: Sequence[str]) -> tuple[str, str] | None:
        """The message and the mend for the path of a row that may not be read; None where it may."""
        leaves = self.leaves(path, homes)
        return None if leaves is None else (leaves, _MEND)

    def require(self, listing: Listing, files: Iterable[StoredFile], *, key: str, value: str) -> None:
        """Raise a DataError where some of the files of a folder are reached by links that lead out of it."""
        if not listing.leaving:
            return
        home = [listing.storage.full("")]
        outside = [
            file.path
            for file in files
            if file.path in listing.leaving and self.leaves(listing.storage.full(file.path), home) is not None
        ]
        if outside:
            real = os.path.realpath(listing.storage.full(outside[0]))
            message = f"{len(outside):,} files in it are links that lead out of it, the first is {outside[0]} -> {real}"
            raise DataError(message, key=key, value=value, mend=_MEND)


def homes_of(storage: Storage, folder: str) -> list[str]:
    """Where the images of a table may lie that is in a folder below a storage's base: there, and below the base."""
    # The whole disk is no place that somebody named.
    folders = [folder, ""] if storage.base.strip("/") else [folder]
    return [storage.shown(one) if not storage.local else storage.full(one) for one in folders]


def address(storage: Storage, folder: str, path: str) -> str:
    """The whole path or URI of what a table in a folder calls by a relative or absolute path, or a URI."""
    path = local_path(path)
    if "://" in path or path.startswith("/"):
        return path
    inside = posixpath.join(folder, path)
    return storage.full(inside) if storage.local else storage.shown(inside)


def local_path(path: str) -> str:
    """A file:// URI as the path it is, so that it is looked up like one."""
    return unquote(path.removeprefix("file://")) if path.startswith("file:///") else path


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_below(uri: str, root: str) -> bool:
    """Whether a URI begins with another one's path, whatever a server makes of dots and escapes in the rest."""
    base, (path, _, query) = root.split("?")[0].rstrip("/") + "/", uri.split("#")[0].partition("?")
    # In the query of a store's URI another server may be named, and after two colons another address.
    if not path.startswith(base) or "::" in path or (query and not base.startswith(("http://", "https://"))):
        return False
    rest = path[len(base) :]
    for _ in range(_MOST_ESCAPES):
        if {".", ".."} & set(rest.replace("\\", "/").split("/")):
            return False
        plain = unquote(rest)
        if plain == rest:
            return True
        rest = plain
    return False
