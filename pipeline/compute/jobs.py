"""What a worker can be asked for, and what it gives: plain descriptions, which need no PyTorch to be made or sent."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from asvp.config import EncoderConfig, ProxyConfig, TrainingConfig
from asvp.data.pixels import AUGMENTATION
from asvp.data.source import Kind, Readable, SentRows, Source
from asvp.features.cache import Cache, CacheEntry, content_key
from asvp.features.feature_set import Features
from asvp.features.moments import Moments
from asvp.models.head import Head
from asvp.spent import NOTHING, Share, Span, Spent

Arrays = Mapping[str, NDArray[Any]]
Rows = NDArray[np.int64]
TrainingMethod = Literal["ft", "lp_ft", "lp"]

Kept = TypeVar("Kept", covariant=True)
Told = TypeVar("Told")


class Handle(Protocol[Kept]):
    """What a job made, wherever it lies: in this process or in the object store."""

    def load(self) -> Kept:
        """The thing itself."""
        ...


@dataclass(frozen=True)
class Held(Generic[Told]):
    """A thing held in this process."""

    value: Told

    def load(self) -> Told:
        """The thing itself."""
        return self.value


@dataclass(frozen=True)
class Pickled:
    """A thing that a process passes on without knowing what it is made of: only who loads it imports that."""

    content: bytes

    def load(self) -> Any:
        """The thing itself."""
        return pickle.loads(self.content)


class Weights(Handle[Arrays], Protocol):
    """A handle to an encoder's weights, by name.

    Attributes
    ----------
    fingerprint : str
        The key of the job that made them.
    """

    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True)
class HeldWeights:
    """Weights held in this process."""

    fingerprint: str
    arrays: Arrays

    def load(self) -> Arrays:
        """The weights themselves."""
        return self.arrays


@dataclass(frozen=True)
class EncoderSpec:
    """Which encoder a job needs; a worker loads it when it is first asked for it.

    Attributes
    ----------
    config : EncoderConfig
    kind : {"text", "image", "features"}
        Of the rows; "features" need no encoder.
    """

    config: EncoderConfig
    kind: Kind


@dataclass(frozen=True)
class ShardJob:
    """One shard to extract: rows start to stop of a source, as a part of a cache entry where there is one.

    Attributes
    ----------
    stored : str or None
        Name of the file that holds it in the cache already.
    """

    index: int
    start: int
    stop: int
    dtype: str
    entry: CacheEntry | None = None
    stored: str | None = None

    @property
    def part(self) -> str:
        """Name of the shard in the cache."""
        return f"{self.index:06d}"

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.stop - self.start


def shards_at_a_time(share: Share, kind: Kind = "text") -> int:
    """How many shards a worker has at a time: one in the forward pass, the others being read or kept.

    On a GPU the forward pass of a shard of texts may take no longer than it takes to tokenise one, or to keep one, so
    that each of these is a shard's on its own, and one waits. Images are decoded while the forward pass takes them, but
    a shard's first batch must be ready when the shard before has been launched, and the one before that is still on the
    GPU then.
    """
    if not share.gpus:
        return 2
    return 4 if kind == "text" else 3


@dataclass(frozen=True)
class ShardReport:
    """What is told of a shard that is there; small, unlike the shard.

    Attributes
    ----------
    moments : Moments or None
        None where they are with those of other shards already.
    spent : Spent
        On extracting it; nothing where it was read from the cache.
    reused : bool
        Whether it was.
    note : str or None
        Why a shard in the cache could not be used.
    unwritten : str or None
        Why it could not be written to the cache.
    stored : str or None
        Name of the file that holds it in the cache.
    """

    index: int
    rows: int
    dim: int
    moments: Moments | None
    spent: Spent = NOTHING
    reused: bool = False
    note: str | None = None
    unwritten: str | None = None
    stored: str | None = None


@dataclass(frozen=True)
class ExtractionOrder:
    """What the shards of one extraction have in common, told to each worker that takes part.

    Attributes
    ----------
    key : str
        Of the extraction: equal for equal features.
    source : Handle
        To the Source of the rows.
    encoder : EncoderSpec
    weights : Weights or None
        None: the pre-trained ones.
    """

    key: str
    source: Handle[Source]
    encoder: EncoderSpec
    weights: Weights | None = None


@dataclass(frozen=True)
class FineTuneJob:
    """A training from the pre-trained weights, named by everything its result depends on.

    Attributes
    ----------
    method : {"ft", "lp_ft", "lp"}
    source : Readable
        The pool, or what was sent of it.
    rows : ndarray of shape (n,), int64
        Labelled rows of `source`, ascending; their order in training comes from the seed.
    labels : ndarray of shape (n,), int64
    classes : int
        C.
    encoder : str
        Fingerprint of the pre-trained encoder.
    """

    title: ClassVar[str] = "fine-tuned"
    mend: ClassVar[str] = "Lower training.batch_size or encoder.max_length if memory ran out"

    method: TrainingMethod
    source: Readable
    rows: Rows
    labels: Rows
    classes: int
    training: TrainingConfig
    seed: int
    encoder: str

    @property
    def key(self) -> str:
        """Equal for work with an equal result."""
        unused = {"method", "evaluate_at", "keep"}
        # As if they were not there, as they were not when models were made that are still in caches.
        unused |= {
            name for name, usual in (("devices", 1), ("checkpointing", False)) if vars(self.training)[name] == usual
        }
        settings = self.training.model_dump(exclude=unused)
        if self.source.kind == "image" and self.training.augment:
            settings["augmentation"] = AUGMENTATION
        return content_key(
            "fine-tune",
            self.encoder,
            self.source.digest(),
            self.rows.tolist(),
            self.labels.tolist(),
            self.classes,
            self.method,
            settings,
            self.seed,
        )

    @property
    def team(self) -> int:
        """How many workers do it together; a linear probe is one's work."""
        devices = self.training.devices
        return 1 if devices == "auto" or self.method == "lp" else devices

    def sent(self) -> FineTuneJob:
        """The same job, with the same key, for another process: only its own rows travel with it, not the pool."""
        if isinstance(self.source, SentRows):
            return self
        return replace(self, source=SentRows(self.source, self.rows))


@dataclass(frozen=True)
class TrainedModel:
    """What a `FineTuneJob` makes.

    Attributes
    ----------
    key : str
        Of the job.
    head : Head
    weights : Weights or None
        None: the encoder kept its pre-trained weights (a linear probe).
    spent : Spent
        What the work cost when it was done.
    reused : bool
        Whether it was done before and only looked up.
    waited : float
        Seconds in the queue.
    spans : tuple of Span
        When workers were at it.
    """

    key: str
    method: str
    head: Head
    weights: Weights | None
    spent: Spent
    reused: bool = False
    waited: float = 0.0
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class ProxyJob:
    """A proxy to fit on the features of labelled rows; what is kept is the `Proxy`, nothing is told.

    Attributes
    ----------
    features : Features
        Of the whole pool, whose moments standardise.
    rows, labels : ndarray of shape (n,), int64
        Labelled rows and their classes.
    classes : int
        C.
    config : ProxyConfig
        Its hidden `auto` is the width of one feature version.
    """

    title: ClassVar[str] = "fitted a proxy"
    mend: ClassVar[str] = "Lower proxy.hidden if memory ran out"

    features: Features
    rows: Rows
    labels: Rows
    classes: int
    config: ProxyConfig
    seed: int


@dataclass(frozen=True)
class EvaluateJob:
    """How good a model is on the test rows; an `Evaluation` is told.

    Attributes
    ----------
    scorer : Handle
        To a Proxy or a Head.
    features : Features
        Of the test rows.
    labels : ndarray of shape (N,), int64
    classes : tuple of str
    """

    title: ClassVar[str] = "evaluated a model"
    mend: ClassVar[str] = ""

    scorer: Handle[Any]
    features: Features
    labels: Rows
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """A strategy as a configuration names it, and what its record says it needs.

    Attributes
    ----------
    name : str
        As its record has it.
    options, wrap
        As in the configuration.
    inputs : tuple of str
        What it and its wrappers cannot do without.
    """

    strategy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    wrap: tuple[Any, ...] = ()
    name: str = ""
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class PickJob:
    """Rows to choose; their numbers in pick order are told, (B,) int64.

    Attributes
    ----------
    choice : Choice
    pool : Features
    labelled, labels : ndarray of shape (L,), int64
        What was bought already.
    scorer : Handle or None
        None before the first labels.
    members : tuple of Handle
        The ensemble, for strategies that ask for one.
    budget : int
        B.
    sharded : bool or "auto"
        The key `selection.sharded`.
    """

    title: ClassVar[str] = "selected rows"
    mend: ClassVar[str] = "Give the workers more memory, or put the strategy in subsample"

    choice: Choice
    pool: Features
    labelled: Rows
    labels: Rows
    scorer: Handle[Any] | None
    members: tuple[Handle[Any], ...]
    budget: int
    seed: int
    sharded: bool | Literal["auto"] = "auto"


@dataclass(frozen=True)
class IndicatorJob:
    """Indicators to read on the labelled rows; a number for each name is told.

    Attributes
    ----------
    names : tuple of {"logme", "logme_ped"}
    features : Features
        Of the pool.
    rows, labels : ndarray of shape (n,), int64
    """

    title: ClassVar[str] = "read the indicators"
    mend: ClassVar[str] = ""

    names: tuple[str, ...]
    features: Features
    rows: Rows
    labels: Rows


@dataclass(frozen=True)
class Axes:
    """Two directions in the space of features, along which rows lie on a map.

    Attributes
    ----------
    mean : ndarray of shape (D,), float64
    directions : ndarray of shape (D, 2), float64
    """

    mean: NDArray[np.float64]
    directions: NDArray[np.float64]

    def place(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Places (n, 2) of features (n, D)."""
        placed: NDArray[np.float64] = (features.astype(np.float64) - self.mean) @ self.directions
        return placed


@dataclass(frozen=True)
class Thoughts:
    """The two most probable classes of n rows.

    Attributes
    ----------
    classes : ndarray of shape (n, 2), int64
        The more probable first; of equals, the lower number.
    probabilities : ndarray of shape (n, 2)
    """

    classes: Rows
    probabilities: NDArray[np.floating]


@dataclass(frozen=True)
class Look:
    """What is told of a `LookJob`.

    Attributes
    ----------
    thoughts : Thoughts or None
        Of the rows; None without a model.
    axes : Axes
    places : ndarray of shape (m, 2), float32
        Of the rows to place, to three decimals.
    """

    thoughts: Thoughts | None
    axes: Axes
    places: NDArray[np.float32]


@dataclass(frozen=True)
class LookJob:
    """Rows that people are shown; a `Look` is told.

    Attributes
    ----------
    features : Features
        Of the pool.
    rows : ndarray of shape (n,), int64
        Of which is told what the model thinks.
    scorer : Handle or None
        The model; None before the first labels.
    sample : ndarray of shape (s,), int64
        Rows that a map's axes are found on.
    placed : ndarray of shape (m,), int64
        Rows to place on the map.
    axes : Axes or None
        Those of the map, where they are known: of the newest part of the features.
    """

    title: ClassVar[str] = "looked at the picks"
    mend: ClassVar[str] = "Set report.rows to false"

    features: Features
    rows: Rows
    scorer: Handle[Any] | None
    sample: Rows
    placed: Rows
    axes: Axes | None = None


@dataclass(frozen=True)
class VerifyJob:
    """A refresh to judge on labelled rows that it did not see; a `Judgement` is told.

    Attributes
    ----------
    present : Features
        Of the pool, as they are now.
    first : Features or None
        Those of the pre-trained encoder, where they stay beside the new ones.
    new : Features
        Of the labelled rows alone, in the order of `rows`.
    rows, labels : ndarray of shape (n,), int64
    held : ndarray of shape (n,), bool
        The rows that the refresh did not see.
    """

    title: ClassVar[str] = "verified a refresh"
    mend: ClassVar[str] = ""

    present: Features
    first: Features | None
    new: Features
    rows: Rows
    labels: Rows
    held: NDArray[np.bool_]
    classes: int
    config: ProxyConfig
    seed: int


@dataclass(frozen=True)
class PackJob:
    """The files of a final model; what is kept is their content as arrays of bytes, by their names.

    Attributes
    ----------
    encoder : EncoderSpec
    head : Head
    weights : Weights or None
        None: the pre-trained ones.
    classes : tuple of str
    """

    title: ClassVar[str] = "packed the final model"
    mend: ClassVar[str] = ""

    encoder: EncoderSpec
    head: Head
    weights: Weights | None
    classes: tuple[str, ...]


Job = ProxyJob | EvaluateJob | PickJob | IndicatorJob | LookJob | VerifyJob | PackJob
"""What a `Bench` does at one go."""


@dataclass(frozen=True)
class TrainingOrder:
    """A `FineTuneJob` with what a worker needs to do it.

    Attributes
    ----------
    cache : Cache or None
        Where its result may lie already, and is kept.
    """

    job: FineTuneJob
    encoder: EncoderSpec
    cache: Cache | None = None


@dataclass(frozen=True)
class Trained:
    """What is told of a training; the weights are kept apart.

    Attributes
    ----------
    head : Head
    spent : Spent
        What the work cost when it was done.
    reused : bool
        Whether it was in the cache already.
    notes : tuple of str
        What is wrong with the cache.
    """

    head: Head
    spent: Spent
    reused: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done(Generic[Told]):
    """What became of a job.

    Attributes
    ----------
    kept : Handle
        To what the job made to be kept.
    told
        What the driver gets to know.
    spent : Spent
    waited : float
        Seconds in the queue.
    spans : tuple of Span
        When workers were at it.
    """

    kept: Handle[Any]
    told: Told
    spent: Spent
    waited: float = 0.0
    spans: tuple[Span, ...] = ()
