"""A classifier of an encoder's features as two graphs: pixels to features, and these to the calibrated decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.data.batches.encoded import encode_channels
from medtrain.data.batches.patch_form import patch_form, spacing_of
from medtrain.data.settings import image_form
from medtrain.export.portable import ExportRequest, Part, Portable
from medtrain.task.classification.portable import WHITE, facts_of_form, keep_picture, odd_pictures
from medtrain.task.classification.portable_volumes import (
    A_VOLUME,
    facts_of_patches,
    keep_volume,
    odd_volumes,
    refuse_patches,
)
from medtrain.task.mil.portable import portable_bags


class PictureEncoder(nn.Module):
    """The encoder with scaling and its preprocessing."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor]:
        """Map (B, C, H, W) uint16 over its full range to features (B, D)."""
        return (encode_channels(self.encoder, pixels.to(torch.float32) / WHITE, colours=True),)


class SliceEncoder(nn.Module):
    """The encoder with its preprocessing, of slices whose channels are no colours."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, slices: Tensor) -> tuple[Tensor]:
        """Map (B, C, H, W) float32 in 0..1 to features (B, C * D), those of each channel side by side."""
        return (encode_channels(self.encoder, slices, colours=False),)


def portable_features(task: Any, request: ExportRequest) -> Portable:
    """Make the export of a classifier of features of pictures, or of the slices of volumes.

    Raises:
        UsageError: what its head adds, or reads, can't be exported.
    """
    if request.half:
        raise UsageError("export.precision=fp16: an encoder and its features are exported in 32 bits; fp32")
    head = portable_bags(task, request)
    if "reach" in head.facts["input"]:
        raise UsageError("export: features of pictures and slices have no neighbours; take another network")
    return (of_pictures if "image_size" in request.data else of_slices)(task, request, head)


def of_pictures(task: Any, request: ExportRequest, head: Portable) -> Portable:
    """Put the encoder of pictures before the head.

    Grey pictures among coloured ones have three equal channels, which give the features of the grey one: so pictures
    of any colours are read as coloured, unless ``data.channels`` wants them grey.
    """
    graphs: Mapping[str, int] = head.facts["input"]["graphs"]
    name = min(graphs, key=lambda graph: graphs[graph]) if graphs else "model"  # of bags of one
    form = image_form({**request.data, "channels": request.data.get("channels") or 3})
    shape = (2, form.channels, *form.size)
    pixels = torch.from_numpy(np.arange(int(np.prod(shape))) % 65536).to(torch.uint16).reshape(shape)
    encoder = Part(
        PictureEncoder(request.encoder),
        {"pixels": pixels},
        {"pixels": {0: "batch"}},
        {"features": "(B, D) float32"},
    )
    return replace(
        head,
        parts={"model": encoder, "head": head.parts[name]},
        program="encoded",
        reads="an image (PNG, JPEG, TIFF, BMP, DICOM)",
        writes="a CSV with a row an image",
        strange=odd_pictures,
        keep=keep_picture,
        facts={"input": facts_of_form(form)},
    )


def of_slices(task: Any, request: ExportRequest, head: Portable) -> Portable:
    """Put the encoder of slices before the head, which pools those of a volume.

    Raises:
        UsageError: patches lie where only masks say.
    """
    form, encoder = patch_form(request.data, None), SliceEncoder(request.encoder)
    refuse_patches(form)
    slices = torch.linspace(0, 1, 2 * int(np.prod(form.size[1:]))).reshape(2, 1, *form.size[1:])
    with torch.no_grad():
        channels = task.spec.channels // encoder.eval()(slices)[0].shape[1]
    part = Part(
        encoder,
        {"slices": slices.repeat(1, channels, 1, 1)},
        {"slices": {0: "slices"}},
        {"features": "(slices, features) float32"},
    )
    facts = facts_of_patches(form, spacing_of(request.data), channels)
    heads = {"head" if name == "model" else name: graph for name, graph in head.parts.items()}
    return replace(
        head,
        parts={"model": part} | heads,
        program="slices",
        reads=A_VOLUME,
        writes="a CSV with a row a volume",
        strange=odd_volumes,
        keep=keep_volume,
        facts={"input": facts | {"graphs": head.facts["input"]["graphs"]}},
    )
