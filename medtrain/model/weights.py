"""Start from trained weights: torchvision's by name, or a file, also for other classes or channels.

Files come from many trainers, so wrappers and prefixes are removed; what still doesn't fit is an error rather than a
network that is partly random without a word. Only the head may differ (other classes), and the stem is folded.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.model.head import Head
from medtrain.model.stem import first_conv, fold_channels

log = logging.getLogger(__name__)

_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
_WRAPPERS = ("state_dict", "model", "net")
_PREFIXES = ("module.", "model.", "_orig_mod.", "features.")
_OLD_NAMES = (  # of torchvision's published files, and what the networks say today
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"(fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"(rpn\.head\.conv)\.(weight|bias)$"), r"\1.0.0.\2"),
)
_LOAD_ERRORS = (OSError, RuntimeError, EOFError, ValueError, KeyError)


def load_weights(model: nn.Module, weights: str | None, *names: type[WeightsEnum], key: str = "model.weights") -> None:
    """Load weights into a model in place.

    Args:
        model: the network; its head and its first convolution may differ from the weights'.
        weights: ``none`` or None, a name of `names` in any case, or a file (.pth, .pt, .ckpt, .bin, .safetensors)
            with a state dict, plain or under ``state_dict`` (Lightning) or ``model``.
        names: torchvision's enums for this network or its backbone, if there are any.
        key: of the configuration, for messages.

    Raises:
        UsageError: no such name or file.
        MedtrainError: the file cannot be had or read, or doesn't belong to this network.
    """
    if weights is None or weights.lower() in ("none", ""):
        return
    member = next((entry for enum in names if (entry := _member(weights, enum))), None)
    if member is not None:
        state = _download(member)
    elif Path(weights).expanduser().is_file():
        state = read_weights(Path(weights).expanduser())
    else:
        known = ", ".join(["none", *dict.fromkeys(name for enum in names for name in enum.__members__)])
        kind = "there is no such file" if Path(weights).suffix.lower() in _SUFFIXES else "no such name"
        raise UsageError(f"{key}={weights}: {kind}; give one of {known}, or a file ({', '.join(_SUFFIXES)})")
    try:
        warm_start(model, state)
    except MedtrainError as error:
        raise MedtrainError(f"{key}={weights}: {error}") from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a file without running any code from it; wrappers are removed, prefixes kept.

    Raises:
        MedtrainError: the file is damaged, needs code to be read, or holds no state dict.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise MedtrainError(
            f"{path}: damaged, or holds more than tensors and plain values; reading that could run code, so save only"
            " the state dict: torch.save(model.state_dict(), FILE)"
        ) from error
    except ImportError as error:
        raise MedtrainError(f"{path}: reading it takes the package safetensors (pip install safetensors)") from error
    except Exception as error:  # each format and version has exceptions of its own
        raise MedtrainError(f"{path}: cannot be read as weights ({_first_line(error)})") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    state = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not state:
        raise MedtrainError(f"{path}: holds no state dict (names and tensors), plain or under {', '.join(_WRAPPERS)}")
    return state


def warm_start(model: nn.Module, state_dict: Mapping[str, Tensor]) -> list[str]:
    """Load all that fits, in place; for a run with other classes or channels, too.

    A head of another width is left as it is; the first convolution is folded to the model's number of channels. A
    part that the state dict lacks is left as it is, with a warning.

    Args:
        model: the network.
        state_dict: names and tensors; prefixes ``module.``, ``model.`` and ``_orig_mod.`` are removed where needed.

    Returns:
        The model's keys that were skipped (they keep their values).

    Raises:
        MedtrainError: other shapes differ, or nothing matches; the message names the first keys.
    """
    own = model.state_dict()
    inner, heads = (tuple(getattr(model, name, ())) for name in ("inner", "heads"))
    state = {_own_name(key, own, inner): value for key, value in state_dict.items()}
    state = _fold_stem(model, {key: value for key, value in state.items() if key in own})
    if not state:
        raise MedtrainError(
            f"no key matches this {type(model).__name__}: it has {_first(list(own))}; given {_first(list(state_dict))}"
        )
    unlike = [key for key, value in state.items() if value.shape != own[key].shape]
    layers = {name for name, module in model.named_modules() if isinstance(module, Head)}
    head = [
        key for key in unlike if key.startswith(heads) or key.rpartition(".")[0] in layers or _is_head(key, state, own)
    ]
    wrong = [f"{k} {list(state[k].shape)} for {list(own[k].shape)}" for k in unlike if k not in head]
    if wrong:
        raise MedtrainError(f"weights of another network than this {type(model).__name__}: {_first(wrong)}")
    if len(head) == len(state):
        raise MedtrainError(f"nothing but the head matches this {type(model).__name__}: {_first(head)}")
    model.load_state_dict({k: v for k, v in state.items() if k not in head}, strict=False)
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    if head:
        log.info("head of another width skipped: %s", _first(head))
    if missing:
        log.warning("%d of %d tensors aren't in the weights and stay: %s", len(missing), len(own), _first(missing))
    return [k for k in own if k in head or k in missing]


def _member(weights: str, names: type[WeightsEnum]) -> WeightsEnum | None:
    """Look up torchvision's entry: ``DEFAULT``, ``imagenet1k_v1``, ``ResNet18_Weights.DEFAULT``."""
    return names.__members__.get(weights.removeprefix(f"{names.__name__}.").upper())


def _download(member: WeightsEnum) -> dict[str, Tensor]:
    expected = Path(torch.hub.get_dir()) / "checkpoints" / member.url.rsplit("/", 1)[-1]
    try:
        return dict(member.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True))
    except (*_LOAD_ERRORS, pickle.UnpicklingError) as error:
        raise MedtrainError(
            f"weights={member.name}: cannot be loaded from {member.url} ({_first_line(error)}).\n"
            f"Put that file at {expected}, or give a local file: weights=FILE"
        ) from error


def _own_name(key: str, own: Mapping[str, Tensor], inner: Sequence[str] = ()) -> str:
    """Find the model's name for a key of a file: without prefixes, in the present spelling, in the part it is in."""
    while True:
        spelt = [key, *(old.sub(now, key) for old, now in _OLD_NAMES)]
        match = next((part + name for name in spelt for part in ("", *inner) if part + name in own), None)
        prefix = next((p for p in _PREFIXES if key.startswith(p)), None)
        if match is not None or prefix is None:
            return match or key
        key = key.removeprefix(prefix)


def _fold_stem(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    first = first_conv(model)
    if first is None:
        return state
    key, own = f"{first[0]}.weight".lstrip("."), first[1].weight
    given = state.get(key)
    if given is None or first[1].groups != 1 or given.ndim != own.ndim or given.shape[1] == own.shape[1]:
        return state
    log.info("first convolution %s: %d -> %d input channels", first[0], given.shape[1], own.shape[1])
    return {**state, key: fold_channels(given, own.shape[1])}


def _is_head(key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Tell whether a key that doesn't fit is of a layer of logits: as wide as the last layer, only the width off."""
    given, wanted = state[key], own[key]
    width = own[list(own)[-1]].shape[:1]
    return given.ndim == wanted.ndim and given.shape[1:] == wanted.shape[1:] and wanted.shape[:1] == width


def _first(items: Sequence[str], shown: int = 3) -> str:
    return ", ".join(items[:shown]) + (f", ... ({len(items)} in all)" if len(items) > shown else "")


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
