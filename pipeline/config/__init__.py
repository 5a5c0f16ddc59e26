"""Every option, once, and how a configuration is read."""

from __future__ import annotations

from asvp.config.budget import evaluated_counts, labels_by_round
from asvp.config.load import build_config, load_config, presets, with_curves
from asvp.config.options import (
    Auto,
    ClassWeight,
    Config,
    CostConfig,
    DataConfig,
    EncoderConfig,
    ExtractionConfig,
    ProxyConfig,
    RefreshConfig,
    SelectionConfig,
    TrainingConfig,
    WorkersConfig,
)
from asvp.config.text import merge, parse_override, read_mapping, read_scalar

__all__ = [
    "Auto",
    "ClassWeight",
    "Config",
    "CostConfig",
    "DataConfig",
    "EncoderConfig",
    "ExtractionConfig",
    "ProxyConfig",
    "RefreshConfig",
    "SelectionConfig",
    "TrainingConfig",
    "WorkersConfig",
    "build_config",
    "evaluated_counts",
    "labels_by_round",
    "load_config",
    "merge",
    "parse_override",
    "presets",
    "read_mapping",
    "read_scalar",
    "with_curves",
]
