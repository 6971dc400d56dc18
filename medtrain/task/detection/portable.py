"""A detector as graphs up to suppression: pixels in, candidate boxes with scores out; of two stages two graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import Tensor, nn

from medtrain.augment.views import BoxView, resized
from medtrain.data.batches.box_places import box_form
from medtrain.export.parity_boxes import compare_boxes
from medtrain.export.portable import ExportRequest, Part, Portable
from medtrain.model import Detector, Stage, members_of
from medtrain.task.classification.portable import keep_picture, odd_pictures

FIRST = {
    "boxes": "(B, K, 4) float32 candidates: left, top, right, bottom in pixels of the input",
    "scores": "(B, K) float32, 0..1",
    "labels": "(B, K) int64, the number of the class",
}
OF_TWO = {
    "labels": "(B, K) int64, the level that proposes it, within which proposals suppress each other",
    "maps": "(B, W, places) float32, what the second graph looks at",
}
SECOND = {
    "boxes": "(N, C, 4) float32, one for each proposal and class",
    "scores": "(N, C) float32, 0..1",
}


class FirstStage(nn.Module):
    """The first stage with normalisation, in the precision that is asked for; before it a view, if one is wanted."""

    mean: Tensor
    std: Tensor

    def __init__(self, stage: nn.Module, task: Any, half: bool, view: nn.Module | None = None) -> None:
        super().__init__()
        self.stage, self.half_precision, self.view = stage, half, view
        self.register_buffer("mean", task.mean)
        self.register_buffer("std", task.std)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map (B, C, H, W) float32 in 0..1 to what `FIRST` names."""
        x = ((pixels if self.view is None else self.view(pixels)) - self.mean) / self.std
        return tuple(self.stage(x.half() if self.half_precision else x))


class ViewOf(nn.Module):
    """A view of images of one size as a matrix for each axis, which any runtime multiplies alike."""

    rows: Tensor
    columns: Tensor

    def __init__(self, view: BoxView, size: tuple[int, int]) -> None:
        super().__init__()
        (height, width), (h, w) = size, view.size
        rows_hH = resized(torch.eye(height)[None, None], (h, height))[0, 0]
        columns_wW = resized(torch.eye(width)[None, None], (w, width))[0, 0]
        self.register_buffer("rows", rows_hH.flip(0) if view.upend else rows_hH)
        self.register_buffer("columns", (columns_wW.flip(0) if view.mirror else columns_wW).T.contiguous())

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (B, C, H, W) in 0..1 to the view (B, C, h, w)."""
        return (self.rows @ (pixels @ self.columns)).clamp(0, 1)


def portable_boxes(task: Any, request: ExportRequest) -> Portable:
    """Make the export of a detector, or of an ensemble of them.

    Raises:
        UsageError: it does not say what it proposes before suppression.
    """
    spec, size = task.spec, (int(task.spec.size[0]), int(task.spec.size[1]))
    parts: dict[str, Part] = {}
    detectors, members = [], cast(list[Detector], members_of(task.model))
    for number, member in enumerate(members, start=1):
        further = [] if task.views is None else list(task.views.further(*size))
        staged = [member.parted(spec.channels, seen) for seen in (size, *(view.size for view in further))]
        if request.half:
            member.half()
        name = "model" if number == 1 else f"member_{number}"
        seen_by: list[dict[str, Any]] = []
        for count, (stages, view) in enumerate(zip(staged, (None, *further), strict=True), start=1):
            own = graphs_of(name if count == 1 else f"{name}_view_{count}", stages, task, request.half, view)
            parts |= own
            rules = zip(own, stages, strict=True)
            seen_by.append({"stages": [{"graph": graph, "suppression": asdict(of.rule)} for graph, of in rules]})
            if view is not None:
                seen_by[-1]["place"] = view.place(*size)
        detectors.append(seen_by[0] | ({"views": seen_by[1:]} if further else {}))
    target: Any = spec.target
    form, data = box_form(request.data, spec), request.data
    seen: Mapping[str, Any] = {"size": list(form.size), "channels": form.channels, "fit": form.fit}
    cut = {key: data.get(key) for key in ("tile", "tile_overlap", "tile_whole")}
    category_ids = list(target.category_ids or range(1, len(spec.classes) + 1))
    more = {"window": form.window, "merge": task.merge, "category_ids": category_ids, "detectors": detectors}
    return Portable(
        parts,
        "boxes",
        reads="an image (PNG, JPEG, TIFF, BMP, DICOM)",
        writes="COCO results in JSON, and beside them FILE.images.csv with a row an image",
        suffix=".json",
        strange=odd_pictures,
        keep=keep_picture,
        compare=compare_boxes,
        facts={"input": dict(seen) | cut | more},
    )


def graphs_of(name: str, stages: list[Stage], task: Any, half: bool, view: BoxView | None = None) -> dict[str, Part]:
    """Describe the graphs of one network, of which a second takes what the first gives.

    Args:
        view: that they see of images; None for the image itself.
    """
    spec = task.spec
    pixels = torch.linspace(0, 1, 2 * spec.channels * spec.size[0] * spec.size[1]).reshape(2, spec.channels, *spec.size)
    own = None if view is None else ViewOf(view, (int(spec.size[0]), int(spec.size[1])))
    first = FirstStage(stages[0].network, task, half, own).eval()
    inputs, batch = {"pixels": pixels}, {"pixels": {0: "batch"}}
    if len(stages) == 1:
        return {name: Part(first, inputs, batch, FIRST)}
    with torch.no_grad():
        boxes_BK4, _, _, maps = first(pixels)
    proposals = boxes_BK4[:, :2].flatten(0, 1)
    second = Part(
        stages[1].network.eval(),
        {"proposals": proposals, "image": torch.tensor([0, 0, 1, 1]), "maps": maps},
        {"proposals": {0: "proposals"}, "image": {0: "proposals"}, "maps": {0: "batch"}},
        SECOND,
    )
    return {name: Part(first, inputs, batch, FIRST | OF_TWO), f"{name}_boxes": second}
