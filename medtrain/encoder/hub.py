"""Weights of a published encoder: a file, a folder, or the hub, whose licence and gate are told before a download."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.extras import extra

LOCAL = "local-dir:"  # as timm writes a folder
_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin", "pytorch_model.pt")


@dataclass(frozen=True)
class Origin:
    """Where an encoder's weights were published.

    Args:
        hub: the repository on the Hugging Face hub; blank where there is none.
        file: in it.
        licence: of the weights, as published.
        gated: must its terms be accepted there, under one's own name?
    """

    hub: str = ""
    file: str = "pytorch_model.bin"
    licence: str = "not stated"
    gated: bool = False


def local_file(weights: str, origin: Origin, key: str) -> str:
    """Give the path of a weights file: itself, or that in a folder; nothing is looked up elsewhere.

    A folder of several encoders' folders, named as on the hub, serves all of them.

    Raises:
        UsageError: a folder without such a file.
    """
    path = Path(weights.removeprefix(LOCAL)).expanduser()
    if not (path.is_dir() or weights.startswith(LOCAL)):
        return weights
    names = list(dict.fromkeys((origin.file, *_FILES)))
    folders = [path, *(path / name for name in (origin.hub, Path(origin.hub).name) if name)]
    here = next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)
    if here is None:
        below = f", nor has {folders[-1]}" * (len(folders) > 1)
        raise UsageError(f"{key}={weights}: the folder has none of {', '.join(names)}{below}; name the file itself")
    return str(here)


def download(origin: Origin, key: str, tell: Callable[[str], None]) -> str:
    """Fetch the file from the hub, or find it in the hub's cache; licence and gate are told first.

    Raises:
        UsageError: it isn't on the hub, or behind a gate and there is no token.
        MedtrainError: it cannot be had.
    """
    if not origin.hub:
        raise UsageError(
            f"{key}=pretrained: these weights are on no hub (licence: {origin.licence}); give their file: {key}=FILE"
        )
    library: Any = extra("huggingface_hub", "downloading weights")
    gate = ", behind a gate" if origin.gated else ""
    tell(f"{key}=pretrained: {origin.file} of {origin.hub}{gate}; licence: {origin.licence}")
    if (cached := library.try_to_load_from_cache(origin.hub, origin.file)) and isinstance(cached, str):
        return cached
    if origin.gated and not library.get_token():
        raise UsageError(
            f"{key}=pretrained: {origin.hub} is behind a gate (licence: {origin.licence}) and there is no token; "
            f"accept its terms on its page and set HF_TOKEN, or give a local file: {key}=FILE"
        )
    if os.environ.get("HF_HUB_OFFLINE"):
        raise MedtrainError(f"{key}=pretrained: HF_HUB_OFFLINE is set and the hub's cache lacks it; give {key}=FILE")
    try:
        return str(library.hf_hub_download(origin.hub, origin.file))
    except Exception as error:  # of the hub, the network, the disk
        first = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise MedtrainError(
            f"{key}=pretrained: {origin.hub} cannot be had ({first}); give a local file: {key}=FILE"
        ) from error
