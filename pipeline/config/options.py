"""Every option, once: pydantic models with types, bounds, defaults and help."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from asvp.config.budget import labels_by_round, parse_budget
from asvp.redaction import holds_credentials, opens_something

Auto = Literal["auto"]
Mode = Literal["svp", "asvp", "standard"]
Policy = Literal["never", "every", "at", "logme", "logme_ped"]
Method = Literal["auto", "ft", "lp_ft", "lp"]
Keep = Literal["all", "best", "none"]
ClassWeight = Literal["balanced"]


class _Section(BaseModel):
    """A part of the configuration: immutable, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_values(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        # To Python true is 1, and so is the yes of YAML; nobody who writes it means the number.
        given = value if isinstance(value, list) else [value]
        if any(isinstance(one, bool) for one in given) and bool not in (annotation, *get_args(annotation)):
            raise ValueError("is true or false, which this option does not take")
        return value if isinstance(annotation, type) and issubclass(annotation, BaseModel) else _plain(value)


_SECRET = (
    "which would be written into config.yaml and reports: leave it out, and give it to the store's client by the "
    "environment or its own files"
)


def _plain(value: Any) -> Any:
    """A value as YAML and JSON can tell it again; a ValueError where they cannot."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"has the key {key!r}, which is no text")
            if opens_something(key) and isinstance(value[key], str):
                raise ValueError(f"holds {key}, {_SECRET}")
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError("holds bytes that are no text in UTF-8")
        if holds_credentials(value):
            raise ValueError(f"holds a password, a token or a signature, {_SECRET}")
        return str(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ValueError("is a whole number beyond 64 bits")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    # The numbers of NumPy.
    if isinstance(value, Real):
        return int(value) if isinstance(value, Integral) else float(value)
    raise ValueError(f"holds {value!r}, a {type(value).__name__}: use text, numbers, true, false and null")


class DataConfig(_Section):
    """Where the rows come from."""

    pool: str = Field(
        "builtin:debian_sections", description="Rows to choose from: builtin:NAME, a file, folder or URI."
    )
    test: str | None = Field(
        "builtin:debian_sections", description="Rows for reporting only; null takes a stratified share of the pool."
    )
    test_share: float = Field(0.2, gt=0, lt=1, description="Share of the pool held out when `test` is null.")
    text: str = Field("text", description="Column with the text.")
    image: str | None = Field(None, description="Column with images: encoded bytes, or paths.")
    root: str | None = Field(
        None,
        description="Folder or URI where image paths of a table, and links in a folder, may end beside its own.",
    )
    allow_outside: bool = Field(
        False,
        description="Read image paths and links that lead out of the data's folder and `data.root`: whoever wrote them "
        "then chooses which of your files are read.",
    )
    max_text_bytes: int = Field(
        16 << 20, ge=1, description="Most bytes that the text of a row may have; a row with more is refused, by name."
    )
    max_image_bytes: int = Field(
        256 << 20, ge=1, description="Most bytes that the encoded image of a row may have; likewise."
    )
    features: str | None = Field(None, description="Column or array with ready-made features (no encoder is used).")
    label: str = Field("label", description="Column with the label, text or whole numbers.")
    id: str | None = Field("id", description="Column with a row's own name; null, or a missing column: the row number.")
    oracle: str | None = Field(None, description="File with columns id and label for pool rows that carry none.")
    limit: int | None = Field(None, ge=1, description="Use the first so many pool rows of a seeded shuffle.")
    test_limit: int | None = Field(None, ge=1, description="Use the first so many test rows of a seeded shuffle.")
    shuffle_seed: int = Field(
        0, ge=0, description="Seed of that shuffle and of the share; apart from `seed`, so all seeds share one pool."
    )


class EncoderConfig(_Section):
    """The pre-trained encoder and how a feature is read from it."""

    model: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2",
        description="A hub name, a folder, or package:NAME/PATH for a folder inside an installed package.",
    )
    revision: str | None = Field(None, description="Hub revision: a branch, tag or commit.")
    pooling: Literal["auto", "mean", "cls", "pooler"] = Field(
        "mean", description="How a feature is made of the outputs."
    )
    max_length: int = Field(64, ge=2, description="Tokens kept of a text.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Type of the matrix products; auto: bfloat16 where the device is faster with it."
    )
    batch_size: Annotated[int, Field(ge=1)] | Auto = Field(
        "auto",
        description="Most rows in one forward pass; auto: 131,072 tokens or 256 images on a GPU, 4,096 or 32 on a CPU.",
    )
    decode: Literal["auto", "pil", "torchvision", "gpu"] = Field(
        "auto", description="What decodes images; auto: gpu where that is an NVIDIA GPU that decodes JPEGs, else pil."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Overrides of the model's own configuration.")
    trust_remote_code: bool = Field(
        False,
        description="Run the Python code that comes with the checkpoint: whoever wrote it can then do all that you "
        "can, on every node.",
    )
    compile: bool = Field(False, description="Compile the forward pass of extractions with torch.compile.")

    def left_open(self, kind: str) -> bool:
        """Whether something that decides features of "text", "image" or ready-made "features" is still `auto`."""
        return kind != "features" and (self.dtype == "auto" or (kind == "image" and self.decode == "auto"))


class ExtractionConfig(_Section):
    """In which pieces features are made, and where they are kept."""

    shard_rows: int = Field(4096, ge=1, description="Rows in one feature shard.")
    feature_dtype: Literal["float32", "float16"] = Field("float32", description="Type of the stored features.")
    cache: str | None = Field("~/.cache/asvp", description="Folder or URI of the feature cache; null: none.")
    cache_limit: str | Annotated[int, Field(ge=0)] | None = Field(
        None, description="Size at which least recently used entries go, e.g. 200GB."
    )


class SelectionConfig(_Section):
    """Which rows are bought."""

    strategy: str = Field("margin", description="Name of a strategy; `asvp strategies` lists them.")
    options: dict[str, Any] = Field(default_factory=dict, description="The strategy's own options.")
    cold_start: str = Field("random", description="Strategy of the first round, when nothing is labelled.")
    wrap: list[dict[str, Any]] = Field(
        default_factory=list, description="Wrappers around the strategy, outermost first."
    )
    sharded: bool | Auto = Field(
        "auto",
        description="Select where the shards lie, by an actor a node; auto: when other nodes hold over 1 GiB of them.",
    )


class ProxyConfig(_Section):
    """The small model that scores the pool."""

    hidden: list[Annotated[int, Field(ge=1)] | Auto] = Field(
        ["auto"], description="Hidden widths; auto: as many as one version has features; [] is a linear model."
    )
    epochs: int = Field(60, ge=1, description="Passes over the labelled rows.")
    lr: float = Field(0.1, gt=0, description="Learning rate (SGD, Nesterov momentum 0.9, cosine decay).")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty of all weights.")
    batch_size: int = Field(128, ge=1, description="Rows in a step.")
    class_weight: ClassWeight | None = Field(None, description="balanced: weigh classes by inverse frequency.")


class RefreshConfig(_Section):
    """When the encoder is fine-tuned and all features are made anew."""

    policy: Policy = Field("logme_ped", description="never | every | at | logme | logme_ped")
    threshold: float | None = Field(None, description="Of the indicator; null: the policy's measured default.")
    every: int | None = Field(None, ge=1, description="Rounds between refreshes (policy every).")
    at: list[Annotated[int, Field(ge=1)]] | None = Field(None, description="Label counts to refresh at (policy at).")
    features: Literal["both", "aligned"] = Field(
        "both", description="After a refresh: the pre-trained features beside the aligned ones, or these alone."
    )
    holdout: Annotated[float, Field(ge=0, le=0.5)] | Auto = Field(
        "auto", description="Share of the labels kept out of a refresh's fine-tune to see whether it helps; 0: none."
    )
    min_labels: int = Field(0, ge=0, description="No refresh with fewer labels.")
    min_growth: float = Field(
        3.0, ge=1, description="Policies logme and logme_ped: labels grow by this factor before the next refresh."
    )
    min_left: float = Field(
        1.0,
        ge=0,
        description="Policies logme and logme_ped: labels left to buy, at least so many times those bought.",
    )
    max_refreshes: int | None = Field(None, ge=0, description="No more refreshes than this.")

    @model_validator(mode="before")
    @classmethod
    def _single_count(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping) and isinstance(raw.get("at"), int):
            return {**raw, "at": [raw["at"]]}
        return raw

    @model_validator(mode="after")
    def _complete(self) -> RefreshConfig:
        if self.policy == "every" and self.every is None:
            raise ValueError("refresh.policy 'every' needs refresh.every, the rounds between refreshes")
        if self.policy == "at" and not self.at:
            raise ValueError("refresh.policy 'at' needs refresh.at, the label counts to refresh at")
        return self


EvaluateAt = Literal["last", "several", "every"] | list[Annotated[int, Field(ge=1)]]


class TrainingConfig(_Section):
    """How the encoder is fine-tuned, for a refresh and for the final model."""

    method: Method = Field(
        "auto", description="auto | ft | lp_ft | lp; auto: LP-FT before the first refresh, FT after."
    )
    epochs: int = Field(8, ge=1, description="Passes over the labelled rows.")
    lr: float = Field(2e-4, gt=0, description="Learning rate of the encoder (AdamW, linear decay).")
    head_lr: float = Field(2e-3, gt=0, description="Learning rate of the head.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay (AdamW).")
    batch_size: int = Field(32, ge=1, description="Rows in a step.")
    devices: Annotated[int, Field(ge=1)] | Auto = Field(
        1,
        description="Workers of one node that train a model together, each on a piece of every batch; auto: on whole "
        "GPUs as many as a node has, with 16 rows of a batch each at least; otherwise 1.",
    )
    checkpointing: bool = Field(
        False,
        description="Compute activations again for the gradient instead of keeping them: much less memory, about 1.4 "
        "times the time.",
    )
    class_weight: ClassWeight | None = Field(None, description="balanced: weigh classes by inverse frequency.")
    augment: bool = Field(True, description="Random resized crop and flip for images (never while the pool is scored).")
    evaluate_at: EvaluateAt = Field(
        "last",
        description="When a final model is trained: last | several (at a third, two thirds, five sixths and all of the "
        "budget; what sweeps do unless told otherwise) | every | label counts.",
    )
    keep: Keep = Field(
        "all",
        description="Final models that are saved: all | best (of a sweep, the trial with the highest accuracy) | none.",
    )


class CostConfig(_Section):
    """Prices, in dollars. Those of computing are a cloud's list prices: set your own."""

    per_label: float = Field(0.04, ge=0, description="Dollars a label.")
    gpu_hour: float = Field(
        2.50,
        ge=0,
        description="Dollars a GPU-hour. Clouds list 2 to 3 for one data-centre GPU on demand; set your own price.",
    )
    cpu_hour: float = Field(
        0.04,
        ge=0,
        description="Dollars a CPU-core-hour. Clouds list about 0.04 for a core of a general-purpose machine on "
        "demand; set your own price.",
    )


class WorkersConfig(_Section):
    """The pool of workers, the processes that hold an encoder: how many there are, and what each holds."""

    count: Annotated[int, Field(ge=1)] | Auto = Field(
        "auto",
        description="How many workers the pool has; auto: per_gpu on each GPU; without GPUs one a core, at most 64.",
    )
    cpus: Annotated[float, Field(gt=0)] | Auto = Field(
        "auto",
        description="CPU cores each holds, its threads; auto: an even share of its node's cores, without GPUs one.",
    )
    gpus: Annotated[float, Field(ge=0)] | Auto = Field(
        "auto",
        description="GPUs each holds, parts allowed; 0: work on the CPU; auto: 1 / per_gpu where there are GPUs.",
    )
    per_gpu: Annotated[int, Field(ge=1)] | Auto = Field(
        "auto",
        description="How many workers share a GPU; auto: as many as is measured to be fastest. Without GPUs it means "
        "nothing.",
    )

    @model_validator(mode="after")
    def _one_share_of_a_gpu(self) -> WorkersConfig:
        if self.gpus == "auto":
            return self
        if self.gpus > 1 and not self.gpus.is_integer():
            raise ValueError(f"workers.gpus {self.gpus:g} is more than one GPU and no whole number of them")
        if self.per_gpu != "auto" and not math.isclose(self.gpus * self.per_gpu, 1.0, rel_tol=_SHARE_ROUNDING):
            raise ValueError(
                f"workers.gpus {self.gpus:g} contradicts workers.per_gpu {self.per_gpu}, which gives each worker "
                f"{1 / self.per_gpu:g} of a GPU: give one of them"
            )
        return self


class ReportConfig(_Section):
    """What is kept for the page that shows a run."""

    rows: bool = Field(
        True,
        description="Keep some picks to look at (first words or a thumbnail, what the proxy thought) and a map of the "
        "pool; false for data that must not travel.",
    )


_SHARE_ROUNDING = 0.02
"""Who writes 0.33 GPUs for three workers a GPU means a third."""


class Config(_Section):
    """One arm with one seed."""

    seed: int = Field(0, ge=0, lt=2**32, description="Seed of everything random in the run.")
    mode: Mode = Field("asvp", description="svp: never refresh; asvp: by the policy; standard: every round.")
    data: DataConfig = DataConfig()
    encoder: EncoderConfig = EncoderConfig()
    extraction: ExtractionConfig = ExtractionConfig()
    budget: Annotated[list[int], BeforeValidator(parse_budget)] = Field(
        parse_budget("300+200x6"),
        description="Labels bought a round: 300+200x6, or a list.",
    )
    selection: SelectionConfig = SelectionConfig()
    proxy: ProxyConfig = ProxyConfig()
    refresh: RefreshConfig = RefreshConfig()
    training: TrainingConfig = TrainingConfig()
    cost: CostConfig = CostConfig()
    workers: WorkersConfig = WorkersConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _counts_are_reached(self) -> Config:
        counts = labels_by_round(self.budget)
        for key, wanted in (("refresh.at", self.refresh.at), ("training.evaluate_at", self.training.evaluate_at)):
            if isinstance(wanted, list):
                missed = [n for n in wanted if n not in counts]
                if missed:
                    raise ValueError(f"{key} {missed} is not reached by the budget, which stops at {counts} labels")
        return self

    def to_yaml(self) -> str:
        """The whole configuration as YAML, in the order of the fields."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
