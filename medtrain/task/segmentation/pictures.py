"""Cases of a segmentation as pictures: outlines of masks over three planes, for the report and for explain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medtrain.core.errors import UsageError
from medtrain.data.batches.masks import MaskData
from medtrain.explain.contours import Outline, contours_in_planes
from medtrain.explain.names import safe_name, unique_names
from medtrain.io.files import atomic_path
from medtrain.io.own_grid import masks_ml
from medtrain.io.store.voxels import Stored
from medtrain.io.volume import VolumeError
from medtrain.io.volume_source import read_volume
from medtrain.report.mask_pictures import write_mask_pictures
from medtrain.report.progress import bar
from medtrain.target.mask import MaskTarget
from medtrain.task.explanation import Explanation, Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("case", "patient", "class", "prob", "method", "volume_ml", "picture", "error")
METHOD = "contours"  # the one way in which a segmentation shows what a prediction rests on: where it sees what
Mask = NDArray[np.bool_]


def draw_cases(folder: Path, data: MaskData, target: MaskTarget, most: int) -> None:
    """Write pictures of a judged folder, worst, median and best, from its table and its label maps."""
    file = folder / "test_predictions.csv"
    if not file.is_file():
        return
    table = pd.read_csv(file, dtype={"case": str, "mask": str}, keep_default_na=False, na_values=[""])
    row_of = {str(case): row for row, case in enumerate(data.cases["case"])}
    map_of = dict(zip(table["case"], table["mask"], strict=True))

    def draw(case: str, title: str) -> Figure | None:
        try:
            label_DHW = read_volume(folder / map_of[case]).x_CDHW[0]
        except VolumeError:
            return None
        row = row_of[case]
        label = data.own_truth(row)
        truth = None if label is None else target.classes_in(label)
        return picture_of(data, row, classes_of_file(label_DHW, target), truth, title)

    write_mask_pictures(folder, table, target.classes, draw, most)


def classes_of_file(label_DHW: NDArray[Any], target: MaskTarget) -> list[Mask]:
    """Give the voxels of each class, of a label map as it was written (`medtrain.io.own_grid.decided`)."""
    if target.layout == "summed":
        return [(label_DHW.astype(np.int64) >> place) % 2 == 1 for place in range(len(target.regions))]
    if target.layout == "nested":
        return [label_DHW >= number for number in range(1, len(target.regions) + 1)]
    return [label_DHW == code for code in target.file_codes]


def picture_of(data: MaskData, row: int, predicted: Sequence[Mask], truth: Sequence[Mask] | None, title: str) -> Figure:
    """Draw a row of `data.cases` on its file's own grid."""
    image = data.own_case(row).images[0]
    true = truth if truth is not None else [None] * len(predicted)
    outlines = [Outline(*parts) for parts in zip(data.spec.classes, predicted, true, strict=True)]
    return contours_in_planes(_grey(image, data), outlines, image.spacing, title)


def _grey(image: Stored, data: MaskData) -> NDArray[np.float32]:
    """Bring the first channel to 0 to 1, between the ends of the plan or the volume's own percentiles."""
    low, high = data.spec.intensity[0][:2] if data.spec.intensity else (image.low[0], image.high[0])
    values = image.mapped()[0] * np.float32(image.scale[0]) + np.float32(image.offset[0])
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def explain_masks(task: Any, request: Request) -> Explanation:
    """Write for each volume a picture of what was predicted; of each class its volume and its highest probability.

    Args:
        task: the segmentation (`probabilities`, `mirrored`, `on_own`).

    Raises:
        UsageError: another method is asked for.
    """
    if request.method not in ("all", METHOD):
        raise UsageError(
            f"explain.method={request.method}: a segmentation shows outlines of what it sees, no maps: all"
        )
    explanation, data = Explanation(COLUMNS), request.data
    assert isinstance(data, MaskData)
    task.truth = data.truth
    names = unique_names([safe_name(case) for case in data.cases["case"]])
    progress = bar("explaining", "volumes")
    (request.output / "pictures").mkdir(parents=True, exist_ok=True)
    loader: Any = data.predict_dataloader() if len(data.readable) else ()
    for done, batch in enumerate(loader, start=1):
        row = int(batch["case"][0])
        image = data.own_case(row).images[0]
        with torch.no_grad():
            probs, spacing = task.probabilities(row, task.mirrored)
        masks = task.on_own(probs, spacing, image)[1]
        case, patient = data.cases["case"].iloc[row], data.cases["patient"].iloc[row]
        file = f"pictures/{names[row]}.png"
        with atomic_path(request.output / file) as temporary:
            picture_of(data, row, masks, None, str(case)).savefig(temporary, format="png")
        highest = probs.max((1, 2, 3)).tolist()[-len(masks) :]  # without background, where there is one
        for name, ml, prob in zip(data.spec.classes, masks_ml(masks, image.spacing), highest, strict=True):
            own = {"row": row, "case": case, "patient": patient, "class": name, "prob": prob, "volume_ml": ml}
            explanation.rows.append(own | {"method": METHOD, "picture": file, "error": ""})
        progress(done, len(data.readable))
    return explanation
