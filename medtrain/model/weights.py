"""Start from trained weights: torchvision's by name, or a file, also for other classes or channels.

Files come from many trainers, so wrappers and prefixes are removed (`placement`). What still doesn't fit is an error
rather than a network that is partly random without a word: only the head may differ (other classes), and the stem is
folded. What was loaded, and what of the file was not, is told with its number and names: `model.loaded`.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.extras import needs
from medtrain.model.numbers import refuse_numbers
from medtrain.model.placement import head_names, lacking, place
from medtrain.model.stem import first_conv, fold_channels

if TYPE_CHECKING:  # torchvision takes long to import, and not all networks need it
    from torchvision.models import WeightsEnum

log = logging.getLogger(__name__)

_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "teacher", "model", "net", "network", "module", "weights"),
    *("params", "encoder", "backbone", "student", "model_ema", "state_dict_ema"),
)
_OF_TRAINING = (
    "optimizer",
    "optimizers",
    "optimizer_states",
    "optimizer_state_dict",
    "scheduler",
    "lr_schedulers",
    "loops",
)
_PLAIN_NUMBERS: list[Any] = [  # NumPy's numbers, which trainers log beside the weights: they hold no code
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    *(np.dtype, *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool"))),
]
_LOAD_ERRORS = (OSError, RuntimeError, EOFError, ValueError, KeyError)


def load_weights(
    model: nn.Module,
    weights: str | None,
    *names: type[WeightsEnum],
    key: str = "model.weights",
    fit: Callable[[nn.Module, dict[str, Tensor]], Any] | None = None,
) -> None:
    """Load weights into a model in place.

    Args:
        model: the network; its head and its first convolution may differ from the weights'.
        weights: ``none`` or None, a name of `names` in any case, or a file (.pth, .pt, .ckpt, .bin, .safetensors)
            with a state dict, plain or within others; see `read_weights`.
        names: torchvision's enums for this network or its backbone, if there are any.
        key: of the configuration, for messages.
        fit: puts a state dict into the network, `warm_start` by default; see `medtrain.model.frozen` too.

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
        (fit or warm_start)(model, state)
    except MedtrainError as error:
        raise MedtrainError(f"{key}={weights}: {error}") from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a file without running any code from it; wrappers are removed, prefixes kept.

    It may lie under ``state_dict``, ``model_state_dict``, ``model`` and the like, also one within the other.

    Raises:
        MedtrainError: the file is damaged, needs code to be read, or holds no state dict.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals(_PLAIN_NUMBERS):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise MedtrainError(
            f"{path}: damaged, or holds more than tensors and plain values; reading that could run code, so save only"
            " the state dict: torch.save(model.state_dict(), FILE)"
        ) from error
    except ImportError as error:
        raise needs(f"{path}: reading it", "safetensors", error) from error
    except Exception as error:  # each format and version has exceptions of its own
        raise MedtrainError(f"{path}: cannot be read as weights ({_first_line(error)})") from error
    state = _tensors(_unwrapped(content))
    if not state:
        raise MedtrainError(
            f"{path}: holds no state dict (names and tensors), plain or under {', '.join(_WRAPPERS[:4])}"
        )
    return state


def warm_start(model: nn.Module, state_dict: Mapping[str, Tensor]) -> list[str]:
    """Load weights of the same body, in place; for a run with other classes or channels, too.

    A head of another width, or that the file lacks, is left as it is; the first convolution is folded to the model's
    number of channels; a file of a part, such as a detector's backbone, leaves the rest as it is. What was done is told
    in ``model.loaded``.

    Args:
        model: the network.
        state_dict: names and tensors, under any common prefix; see `placement`.

    Returns:
        The model's keys that were skipped (they keep their values).

    Raises:
        MedtrainError: nothing matches, shapes differ, tensors of the body are lacking or have no place, or their
            numbers can't be weights; the message counts them and names the first.
    """
    own, placed, name = model.state_dict(), place(model, state_dict), type(model).__name__
    refuse_numbers(name, placed.state, own)
    state = _fold_stem(model, placed.state)
    if not state:
        raise MedtrainError(
            f"no key matches this {name}: it has {first_of(list(own))}; given {first_of(list(state_dict))}"
        )
    unlike = [key for key, value in state.items() if value.shape != own[key].shape]
    heads = head_names(model)
    head = [key for key in unlike if key.startswith(heads) or _is_head(key, state, own)]
    wrong = [f"{k} {list(state[k].shape)} for {list(own[k].shape)}" for k in unlike if k not in head]
    if wrong:
        raise MedtrainError(f"weights of another network than this {name}: {first_of(wrong)}")
    if len(head) == len(state):
        raise MedtrainError(f"nothing but the head matches this {name}: {first_of(head)}")
    _refuse_another_body(name, len(own), len(state), placed.surplus, lacking(model, placed))
    if head:
        log.info("head of another width skipped: %s", first_of(head))
    model.load_state_dict({k: v for k, v in state.items() if k not in head}, strict=False)
    fresh = [k for k in own if k in head or (k not in state and not k.endswith("num_batches_tracked"))]
    model.loaded = _told(len(state) - len(head), fresh, placed.others)  # type: ignore[assignment]
    log.info("%s", model.loaded)
    return fresh


def _refuse_another_body(name: str, size: int, matching: int, surplus: Sequence[str], absent: Sequence[str]) -> None:
    """Refuse a file of another body, such as one with more layers (MedtrainError)."""
    faults = [f"{len(surplus)} of the file's have no place in it ({first_of(surplus)})"] * bool(surplus)
    faults += [f"{len(absent)} of its own are lacking ({first_of(absent)})"] * bool(absent)
    if faults:
        raise MedtrainError(
            f"weights of another network than this {name}: the file matches {matching} of its {size} tensors, "
            f"{', '.join(faults)}; take the model that the file is of"
        )


def _told(loaded: int, fresh: Sequence[str], others: Sequence[str]) -> str:
    """Say what was loaded and what was not."""
    parts = [f"{loaded} tensors loaded"]
    parts += [f"{len(fresh)} left fresh ({first_of(fresh)})"] * bool(fresh)
    parts += [f"{len(others)} of the file are not of this network ({first_of(others)})"] * bool(others)
    return "; ".join(parts)


def _unwrapped(content: Any) -> Any:
    """Open what a trainer has put around a state dict, however often."""
    for _ in range(5):
        wrapper = isinstance(content, Mapping) and next(
            (w for w in _WRAPPERS if isinstance(content.get(w), Mapping)), None
        )
        if not wrapper:
            break
        content = content[wrapper]
    return content


def _tensors(content: Any, depth: int = 3) -> dict[str, Tensor]:
    """Collect tensors by their names, with dots where they lie in each other; not those of an optimizer."""
    state: dict[str, Tensor] = {}
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, Tensor):
            state[str(name)] = value
        elif depth and isinstance(value, Mapping) and name not in _OF_TRAINING:
            state |= {f"{name}.{inner}": tensor for inner, tensor in _tensors(value, depth - 1).items()}
    return state


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


def first_of(items: Sequence[str], shown: int = 3) -> str:
    """List the first names, and how many there are."""
    return ", ".join(items[:shown]) + (f", ... ({len(items)} in all)" if len(items) > shown else "")


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
