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
from medtrain.data.settings import image_form
from medtrain.export.portable import ExportRequest, Part, Portable
from medtrain.task.classification.portable import WHITE, facts_of_form, keep_picture, odd_pictures
from medtrain.task.mil.portable import portable_bags


class PictureEncoder(nn.Module):
    """The encoder with scaling and its preprocessing."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor]:
        """Map (B, C, H, W) uint16 over its full range to features (B, D)."""
        return (encode_channels(self.encoder, pixels.to(torch.float32) / WHITE, colours=True),)


def portable_pictures(task: Any, request: ExportRequest) -> Portable:
    """Make the export of a classifier of pictures' features.

    Grey pictures among coloured ones have three equal channels, which give the features of the grey one: so pictures
    of any colours are read as coloured, unless ``data.channels`` wants them grey.

    Raises:
        UsageError: it learns from slices of volumes, or what its head adds can't be exported.
    """
    if request.encoder is None or "image_size" not in request.data:
        raise UsageError("export: of an encoder's features those of pictures can be exported, and not yet of volumes")
    if request.half:
        raise UsageError("export.precision=fp16: an encoder and its features are exported in 32 bits; fp32")
    head = portable_bags(task, request)
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
