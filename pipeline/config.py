"""Every option, once: pydantic models with types, bounds, defaults and help."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from pipeline.budget import parse_budget
from pipeline.errors import ConfigError

Auto = Literal["auto"]
Mode = Literal["svp", "asvp", "standard"]
Policy = Literal["never", "every", "at", "logme", "logme_ped"]
Method = Literal["auto", "ft", "lp_ft", "lp"]
ClassWeight = Literal["balanced"]


class _Section(BaseModel):
    """A part of the configuration: immutable, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(_Section):
    """Where the rows come from."""

    pool: str = Field("builtin:debian_sections", description="Rows to choose from: builtin:NAME, a file, folder or URI.")
    test: str | None = Field(
        "builtin:debian_sections", description="Rows for reporting only; null takes a stratified share of the pool."
    )
    test_share: float = Field(0.2, gt=0, lt=1, description="Share of the pool held out when `test` is null.")
    text: str = Field("text", description="Column with the text.")
    image: str | None = Field(None, description="Column with images: encoded bytes, or paths.")
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
    pooling: Literal["auto", "mean", "cls", "pooler"] = Field("mean", description="How a feature is made of the outputs.")
    max_length: int = Field(64, ge=2, description="Tokens kept of a text.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Type of the matrix products; auto: bfloat16 where the device is faster with it."
    )
    batch_size: int = Field(256, ge=1, description="Rows in one forward pass.")
    options: dict[str, Any] = Field(default_factory=dict, description="Overrides of the model's own configuration.")
    compile: bool = Field(False, description="Compile the forward pass with torch.compile.")


class ExtractionConfig(_Section):
    """Who extracts features, in which pieces, and where they are kept."""

    actors: Annotated[int, Field(ge=1)] | Auto = Field("auto", description="Extraction actors.")
    cpus_per_actor: Annotated[float, Field(gt=0)] | Auto = Field("auto", description="CPU cores an actor holds.")
    gpus_per_actor: Annotated[float, Field(ge=0)] | Auto = Field("auto", description="GPUs an actor holds.")
    shard_rows: int = Field(4096, ge=1, description="Rows in one feature shard.")
    feature_dtype: Literal["float32", "float16"] = Field("float32", description="Type of the stored features.")
    cache: str | None = Field("~/.cache/asvp", description="Folder or URI of the feature cache; null: none.")
    cache_limit: str | int | None = Field(None, description="Size at which least recently used entries go, e.g. 200GB.")


class SelectionConfig(_Section):
    """Which rows are bought."""

    strategy: str = Field("margin", description="Name of a strategy; `asvp strategies` lists them.")
    options: dict[str, Any] = Field(default_factory=dict, description="The strategy's own options.")
    cold_start: str = Field("random", description="Strategy of the first round, when nothing is labelled.")
    wrap: list[dict[str, Any]] = Field(default_factory=list, description="Wrappers around the strategy, outermost first.")
    sharded: bool | Auto = Field("auto", description="Select where the shards lie instead of in the driver.")


class ProxyConfig(_Section):
    """The small model that scores the pool."""

    hidden: list[Annotated[int, Field(ge=1)] | Auto] = Field(
        default_factory=lambda: ["auto"], description="Hidden widths; auto: as many as features; [] is a linear model."
    )
    epochs: int = Field(60, ge=1, description="Passes over the labelled rows.")
    lr: float = Field(0.1, gt=0, description="Learning rate (SGD, Nesterov momentum 0.9, cosine decay).")
    weight_decay: float = Field(0.0, ge=0)
    batch_size: int = Field(128, ge=1, description="Rows in a step.")
    class_weight: ClassWeight | None = Field(None, description="balanced: weigh classes by inverse frequency.")


class RefreshConfig(_Section):
    """When the encoder is fine-tuned and all features are made anew."""

    policy: Policy = Field("logme_ped", description="never | every | at | logme | logme_ped")
    threshold: float | None = Field(None, description="Of the indicator; null: the policy's measured default.")
    every: int | None = Field(None, ge=1, description="Rounds between refreshes (policy every).")
    at: list[Annotated[int, Field(ge=1)]] | None = Field(None, description="Label counts to refresh at (policy at).")
    min_labels: int = Field(0, ge=0, description="No refresh with fewer labels.")
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


EvaluateAt = Literal["last", "every"] | list[Annotated[int, Field(ge=1)]]


class TrainingConfig(_Section):
    """How the encoder is fine-tuned, for a refresh and for the final model."""

    method: Method = Field("auto", description="auto | ft | lp_ft | lp; auto: LP-FT before the first refresh, FT after.")
    epochs: int = Field(8, ge=1, description="Passes over the labelled rows.")
    lr: float = Field(2e-4, gt=0, description="Learning rate of the encoder (AdamW, linear decay).")
    head_lr: float = Field(2e-3, gt=0, description="Learning rate of the head.")
    weight_decay: float = Field(0.01, ge=0)
    batch_size: int = Field(32, ge=1, description="Rows in a step.")
    class_weight: ClassWeight | None = Field(None, description="balanced: weigh classes by inverse frequency.")
    augment: bool = Field(True, description="Random resized crop and flip for images (never while the pool is scored).")
    evaluate_at: EvaluateAt = Field("last", description="When the final model is trained: last | every | label counts.")


class CostConfig(_Section):
    """Prices, in dollars."""

    per_label: float = Field(0.04, ge=0, description="Dollars a label.")
    gpu_hour: float = Field(0.0, ge=0, description="Dollars a GPU-hour.")
    cpu_hour: float = Field(0.0, ge=0, description="Dollars a CPU-core-hour.")


class ResourcesConfig(_Section):
    """What a trial's own process holds, beside its extraction actors."""

    cpus_per_trial: Annotated[float, Field(ge=0)] | Auto = "auto"
    gpus_per_trial: Annotated[float, Field(ge=0)] | Auto = "auto"


class Config(_Section):
    """One arm with one seed."""

    seed: int = Field(0, ge=0, lt=2**32, description="Seed of everything random in the run.")
    mode: Mode = Field("asvp", description="svp: never refresh; asvp: by the policy; standard: every round.")
    data: DataConfig = Field(default_factory=DataConfig)
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    extraction: ExtractionConfig = Field(default_factory=ExtractionConfig)
    budget: Annotated[list[int], BeforeValidator(parse_budget)] = Field(
        default_factory=lambda: parse_budget("300+200x6"),
        description="Labels bought a round: 300+200x6, or a list.",
    )
    selection: SelectionConfig = Field(default_factory=SelectionConfig)
    proxy: ProxyConfig = Field(default_factory=ProxyConfig)
    refresh: RefreshConfig = Field(default_factory=RefreshConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    cost: CostConfig = Field(default_factory=CostConfig)
    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)

    @model_validator(mode="after")
    def _counts_are_reached(self) -> Config:
        counts = labels_by_round(self.budget)
        for key, wanted in (("refresh.at", self.refresh.at), ("training.evaluate_at", self.training.evaluate_at)):
            if isinstance(wanted, list):
                missed = [n for n in wanted if n not in counts]
                if missed:
                    raise ValueError(
                        f"{key} {missed} is not reached by the budget, which stops at {counts} labels"
                    )
        return self

    def to_yaml(self) -> str:
        """The whole configuration as YAML, in the order of the fields."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def labels_by_round(budget: Iterable[int]) -> list[int]:
    """Labels bought by the end of each round."""
    counts, total = [], 0
    for bought in budget:
        total += bought
        counts.append(total)
    return counts


def presets() -> dict[str, str]:
    """Names and texts of the presets that come with the package."""
    folder = files("configs")
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def load_config(path_or_name: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration from a YAML file or a preset and apply dotted overrides.

    Parameters
    ----------
    path_or_name : str or Path, optional
        A YAML file, or the name of a preset in configs/. None: the defaults.
    overrides : iterable of str
        `key=value` with a dotted key; the value is read as YAML.

    Raises
    ------
    ConfigError
        If the file is missing or is no YAML mapping, or a key or value is wrong.
    """
    raw = {} if path_or_name is None else read_mapping(str(path_or_name), presets(), what="config")
    return build_config(raw, overrides)


def build_config(raw: Mapping[str, Any], overrides: Iterable[str] = ()) -> Config:
    """Validate a mapping with overrides applied; errors as in `load_config`."""
    merged = merge(raw, *(parse_override(text) for text in overrides))
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise _config_error(error.errors()[0]) from None


def merge(base: Mapping[str, Any], *changes: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of `base` in which nested mappings take the values of `changes`."""
    merged = {key: merge(value) if isinstance(value, Mapping) else value for key, value in base.items()}
    for change in changes:
        for key, value in change.items():
            below = merged.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                merged[key] = merge(below, value)
            else:
                merged[key] = merge(value) if isinstance(value, Mapping) else value
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """Turn `a.b=1` into {"a": {"b": 1}}."""
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ConfigError("is not of the form key=value", key="-s", value=text, mend="Write for example -s data.limit=8000")
    try:
        parsed = read_scalar(value)
    except yaml.YAMLError:
        raise ConfigError("the value is no YAML", key=key, value=value, mend="Quote it, or write a list as [1, 2]") from None
    nested: Any = parsed
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    return typing.cast(dict[str, Any], nested)


def read_scalar(text: str) -> Any:
    """Read YAML, with 2e-4 a number too (plain YAML 1.1 wants 2.0e-4)."""
    return yaml.load(text, Loader=_Loader)


def read_mapping(path_or_name: str, known: Mapping[str, str], *, what: str) -> dict[str, Any]:
    """The YAML mapping of a file, or of one of the texts known by name.

    Raises
    ------
    ConfigError
        If there is neither, or it holds no mapping.
    """
    path = Path(path_or_name).expanduser()
    if path_or_name in known:
        text = known[path_or_name]
    elif path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}", key=what, value=path_or_name) from None
    else:
        near = difflib.get_close_matches(path_or_name, known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ConfigError(
            "is neither a file nor a preset", key=what, value=path_or_name, mend=f"{hint}Presets: {', '.join(known)}"
        )
    try:
        raw = read_scalar(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"is no YAML: {' '.join(str(error).split())}", key=what, value=path_or_name) from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError("holds no mapping of keys to values", key=what, value=path_or_name)
    return raw


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with the floats of YAML 1.2."""


_Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _config_error(error: ErrorDetails) -> ConfigError:
    """The first finding of pydantic as one message in the words of the configuration."""
    location = [part for part in error["loc"] if isinstance(part, str) and part in _all_names()] or [
        str(part) for part in error["loc"]
    ]
    if error["type"] == "extra_forbidden":
        path = [str(part) for part in error["loc"]]
        return _unknown_key(path, error["input"])
    key = ".".join(location) or "config"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error" and not error["loc"]:
        key, _, message = message.partition(" ")
    elif error["type"] == "value_error" and message.startswith("refresh."):
        key, _, message = message.partition(" ")
    field = _field_at(location)
    mend = f"It means: {field.description}" if field is not None and field.description else None
    value = None if error["type"] == "value_error" and isinstance(error["input"], (dict, BaseModel)) else error["input"]
    return ConfigError(message[:1].lower() + message[1:], key=key, value=value, mend=mend)


def _unknown_key(path: list[str], value: Any) -> ConfigError:
    section = _section_at(path[:-1])
    names = list(section.model_fields) if section is not None else []
    near = difflib.get_close_matches(path[-1], names, n=1)
    if near:
        mend = f"Did you mean {'.'.join([*path[:-1], near[0]])}?"
    else:
        homes = [
            f"{name}.{path[-1]}"
            for name in Config.model_fields
            if (inner := _section_at([name])) is not None and path[-1] in inner.model_fields
        ]
        mend = f"Did you mean {homes[0]}?" if homes else f"Known here: {', '.join(names)}"
    return ConfigError("is an unknown key", key=".".join(path), value=value, mend=mend)


def _section_at(path: Iterable[str]) -> type[BaseModel] | None:
    section: type[BaseModel] = Config
    for part in path:
        field = section.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return None
        section = field.annotation
    return section


def _field_at(path: list[str]) -> Any:
    section = _section_at(path[:-1]) if path else None
    return section.model_fields.get(path[-1]) if section is not None else None


def _all_names() -> set[str]:
    names = set(Config.model_fields)
    for name in Config.model_fields:
        section = _section_at([name])
        if section is not None:
            names |= set(section.model_fields)
    return names
