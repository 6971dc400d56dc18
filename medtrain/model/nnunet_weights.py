"""Weights of nnU-Net's published checkpoints: their names and order of channels, as `medtrain.model.unet_3d` has them.

Its plain convolutional U-Net (`PlainConvUNet` of the package dynamic-network-architectures) has the same layers. Each
is listed twice in its state dict, and again under the decoder; what comes up stands before what is skipped, here after.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medtrain.model.weights import warm_start

_LAYER = re.compile(
    r"(?:^|\.)(?:encoder\.stages\.(?P<down>\d+)\.0|decoder\.stages\.(?P<up>\d+))\.convs\.(?P<n>\d+)"
    r"\.(?P<part>conv|norm)\.(?P<tensor>weight|bias)$"
)
_OTHERS = re.compile(r"(?:^|\.)decoder\.(?P<kind>transpconvs|seg_layers)\.(?P<rest>\d+\.(?:weight|bias))$")
_NAMES = {"transpconvs": "ups", "seg_layers": "heads"}


def fit_nnunet(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Put a state dict into a U-Net as `warm_start` does; one with nnU-Net's names is translated before.

    Raises:
        MedtrainError: see `warm_start`: other strides, width or number of stages.
    """
    warm_start(network, translated(network, state))


def translated(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename nnU-Net's tensors to those of a `UNet3d`; a state dict without its names stays as it is.

    Args:
        network: tells where in a stage its convolutions and norms stand.
        state: of nnU-Net's network, under any prefix.
    """
    own = dict(network.named_modules())
    made: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if other := _OTHERS.search(name):
            made[f"{_NAMES[other['kind']]}.{other['rest']}"] = tensor
        elif layer := _LAYER.search(name):
            side, stage = ("encoder", layer["down"]) if layer["down"] else ("decoder", layer["up"])
            number, part = int(layer["n"]), layer["part"]
            first = side == "decoder" and number == 0 and part == "conv" and layer["tensor"] == "weight"
            place = _place(own.get(f"{side}.{stage}"), number, part)
            made[f"{side}.{stage}.{place}.{layer['tensor']}"] = _skip_first(tensor) if first else tensor
    return made or dict(state)


def _place(stage: nn.Module | None, number: int, part: str) -> str:
    """Name the so-manieth convolution or norm within a stage; one that it lacks keeps nnU-Net's name."""
    kinds = {"conv": nn.Conv3d, "norm": nn.InstanceNorm3d}
    places = [name for name, layer in stage.named_children() if isinstance(layer, kinds[part])] if stage else []
    return places[number] if number < len(places) else f"convs.{number}.{part}"


def _skip_first(weight_OIDHW: Tensor) -> Tensor:
    """Put the channels of the skip before those that come up: halves of the same size."""
    up, skip = weight_OIDHW.chunk(2, dim=1)
    return torch.cat([skip, up], 1)
