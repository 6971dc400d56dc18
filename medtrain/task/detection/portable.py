"""A detector as graphs up to suppression: pixels in, candidate boxes with scores out; of two stages two graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
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
    """The first stage with normalisation, in the precision that is asked for."""

    mean: Tensor
    std: Tensor

    def __init__(self, stage: nn.Module, task: Any, half: bool) -> None:
        super().__init__()
        self.stage, self.half_precision = stage, half
        self.register_buffer("mean", task.mean)
        self.register_buffer("std", task.std)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map (B, C, H, W) float32 in 0..1 to what `FIRST` names."""
        x = (pixels - self.mean) / self.std
        return tuple(self.stage(x.half() if self.half_precision else x))


def portable_boxes(task: Any, request: ExportRequest) -> Portable:
    """Make the export of a detector, or of an ensemble of them.

    Raises:
        UsageError: it looks at several views, or does not say what it proposes before suppression.
    """
    if task.views is not None:
        raise UsageError(f"eval.tta={task.views.count}: views of images with boxes can't be exported; eval.tta=1")
    spec, size = task.spec, (int(task.spec.size[0]), int(task.spec.size[1]))
    parts: dict[str, Part] = {}
    detectors, members = [], cast(list[Detector], members_of(task.model))
    for number, member in enumerate(members, start=1):
        stages = member.parted(spec.channels, size)
        if request.half:
            member.half()
        name = "model" if number == 1 else f"member_{number}"
        own = graphs_of(name, stages, task, request.half)
        parts |= own
        rules = [{"graph": graph, "suppression": asdict(stage.rule)} for graph, stage in zip(own, stages, strict=True)]
        detectors.append({"stages": rules})
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


def graphs_of(name: str, stages: list[Stage], task: Any, half: bool) -> dict[str, Part]:
    """Describe the graphs of one network, of which a second takes what the first gives."""
    spec = task.spec
    pixels = torch.linspace(0, 1, 2 * spec.channels * spec.size[0] * spec.size[1]).reshape(2, spec.channels, *spec.size)
    first = FirstStage(stages[0].network, task, half).eval()
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
