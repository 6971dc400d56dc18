"""Any network for any data: fill in what the data decide (classes, channels, dimensions), so no user types them.

Libraries name these arguments differently; the well-known names are looked up in the builder's signature, so that
torchvision's, timm's, MONAI's and a user's own networks need no wrapper.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from medtrain.core.errors import UsageError
from medtrain.core.foreign import call_named
from medtrain.model.stem import set_channels
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec

if TYPE_CHECKING:  # torchvision takes long to import, and not all networks need it
    from torchvision.models import WeightsEnum

_LOGITS = ("num_classes", "n_classes", "out_channels")
_CHANNELS = ("in_channels", "in_chans", "n_input_channels")
_DIMS = ("spatial_dims",)


def build_model(builder: Callable[..., nn.Module], arguments: Mapping[str, Any], spec: DataSpec) -> nn.Module:
    """Build a network for the data.

    Args:
        builder: a class or function that returns a network: ours, torchvision's, `timm.create_model`, MONAI's, any.
        arguments: what the user set; the rest is filled by `fill_from_spec`. For torchvision's networks ``weights``
            may also be a file, and classes and channels may differ from the weights' (see `load_weights`).
        spec: the data's shape and classes.

    Raises:
        UsageError, MedtrainError: see `load_weights` and `fit_channels`.
    """
    filled = fill_from_spec(builder, arguments, spec)
    names = _torchvision_weights(builder)
    weights = filled.pop("weights", None) if names else None
    model = call_named(builder, **filled)
    if not isinstance(model, nn.Module):
        raise UsageError(f"{_name(builder)} built a {type(model).__name__}, not a network (torch.nn.Module)")
    if not any(name in filled for name in ("spec", *_CHANNELS)):
        fit_channels(model, spec)
    if names and weights is not None:
        load_weights(model, str(weights), names)
    return model


def fill_from_spec(builder: Callable[..., Any], arguments: Mapping[str, Any], spec: DataSpec) -> dict[str, Any]:
    """Add to the user's arguments those that the data decide, where the user left them out.

    ``spec``; ``num_classes``, ``n_classes`` or ``out_channels``: the number of logits; ``in_channels``, ``in_chans``
    or ``n_input_channels``; ``spatial_dims``. Of several names for one thing the first that the builder knows is
    filled, and none if the user gave one of them.

    Args:
        builder: any callable; with ``**kwargs``, the signatures of its base classes, or of the class it is annotated
            to return, count too.
        arguments: what the user set.
        spec: the data's shape and classes.
    """
    known = _parameters(builder)
    filled = dict(arguments)
    for names, value in ((("spec",), spec), (_LOGITS, spec.n_logits), (_CHANNELS, spec.channels), (_DIMS, spec.dims)):
        name = next((name for name in names if name in known), None)
        if name and not any(name in arguments for name in names):
            filled[name] = value
    return filled


def fit_channels(model: nn.Module, spec: DataSpec) -> bool:
    """Adapt the first convolution to the data's channels, in place, keeping its weights (`fold_channels`).

    Returns:
        Whether it had to be adapted. Bags (no spatial dimensions) are left alone.

    Raises:
        UsageError: the first convolution cannot be adapted.
    """
    return spec.dims > 0 and set_channels(model, spec.channels)


def _parameters(builder: Callable[..., Any]) -> set[str]:
    """List the arguments that a builder takes, those behind ``**kwargs`` included as far as they show."""
    module = getattr(builder, "__module__", None) or ""
    if module.startswith("timm.") and getattr(builder, "__name__", "") == "create_model":
        return {"num_classes", "in_chans"}  # it hands on **kwargs, and says nn.Module for what it returns
    own = inspect.signature(builder).parameters
    names = set(own)
    if any(p.kind is p.VAR_KEYWORD for p in own.values()):
        for base in inspect.getmro(_built_class(builder)):
            if base not in (nn.Module, object) and "__init__" in vars(base):
                names |= set(inspect.signature(vars(base)["__init__"]).parameters)
    return names


def _built_class(builder: Callable[..., Any]) -> type:
    if isinstance(builder, type):
        return builder
    try:
        built = typing.get_type_hints(builder).get("return")
    except (NameError, TypeError):  # an annotation that only a type checker can follow
        built = None
    return built if isinstance(built, type) else object


def _torchvision_weights(builder: Callable[..., Any]) -> type[WeightsEnum] | None:
    """Look up the published weights of a torchvision function; None for other builders."""
    if not (getattr(builder, "__module__", None) or "").startswith("torchvision.models."):
        return None
    from torchvision.models import get_model_weights

    try:
        return get_model_weights(builder)
    except ValueError:  # a class, or a function without weights
        return None


def _name(builder: Callable[..., Any]) -> str:
    return getattr(builder, "__qualname__", None) or repr(builder)
