"""Code that comes with a checkpoint: it is run only where the configuration says that it is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from asvp.config import EncoderConfig
from asvp.errors import EncoderError
from asvp.files import parse_json

HOW_IT_IS_TRUSTED = "code that comes with a checkpoint is run only with encoder.trust_remote_code: true"
_NAMING = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")


def code_files(folder: Path, config: EncoderConfig) -> list[Path]:
    """The Python files of a trusted checkpoint, which decide its features; none of others."""
    return sorted(folder.rglob("*.py")) if config.trust_remote_code else []


def check_code(folder: Path, config: EncoderConfig) -> None:
    """Raise an EncoderError for a trusted checkpoint whose code lies elsewhere: nobody has looked at that."""
    if not config.trust_remote_code:
        return
    for name in _NAMING:
        for reference in _references(folder / name):
            if "--" in reference:
                raise EncoderError(
                    f"its {name} names code of another repository, {reference}",
                    key="encoder.model",
                    value=config.model,
                    mend="Copy that code into the checkpoint's folder, and name it there without a repository",
                )


def own_model_class(
    model_config: PreTrainedConfig, folder: Path, config: EncoderConfig
) -> type[PreTrainedModel] | None:
    """The class that a trusted checkpoint brings for its bare model; None where transformers' own serves."""
    reference = (getattr(model_config, "auto_map", None) or {}).get("AutoModel")
    if not config.trust_remote_code or not isinstance(reference, str):
        return None
    found = cast(type[PreTrainedModel], get_class_from_dynamic_module(reference, str(folder), local_files_only=True))
    # So that what is saved has the code beside it, and can be loaded again.
    found.register_for_auto_class("AutoModel")  # type: ignore[no-untyped-call]
    return found


def _references(path: Path) -> list[str]:
    """What the `auto_map` of a file names; nothing where the file is missing or damaged, as others will say."""
    try:
        named: Any = parse_json(path.read_text(encoding="utf-8"))["auto_map"]
        values = named.values() if isinstance(named, dict) else [named]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    listed = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return [one for one in listed if isinstance(one, str)]
