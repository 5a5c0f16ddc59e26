"""What a trial is given to run with; it travels in the trial's own choice, and no trial reads another's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray

from asvp.driver.feature_versions import VersionZero
from asvp.driver.prepared import Prepared

_OWN = ("config", "mode", "selection", "cold_start")


@dataclass(frozen=True)
class Given:
    """A checked configuration without what trials share, which lies in the object store once.

    Attributes
    ----------
    own : mapping
        The fields of `Prepared` that are this trial's.
    shared : ray.ObjectRef
        Of a `Prepared` with the same data and encoder, and the features of version 0.
    """

    own: Mapping[str, Any]
    shared: ray.ObjectRef[Any]

    @classmethod
    def of(cls, prepared: Prepared, shared: ray.ObjectRef[Any]) -> Given:
        """What a trial is given that runs with this."""
        return cls({name: getattr(prepared, name) for name in _OWN}, shared)

    def read(self) -> tuple[Prepared, VersionZero]:
        """What the trial runs with, and the features that it shares."""
        prepared, features = ray.get(self.shared)
        return replace(prepared, **self.own), features

    def __deepcopy__(self, memo: dict[int, Any]) -> Given:
        # Ray Tune copies what it varies; nobody changes this.
        return self

    def __repr__(self) -> str:
        # Ray Tune puts what it varies into names.
        return "given"
