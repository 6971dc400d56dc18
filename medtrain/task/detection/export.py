"""What predict writes beside COCO results: the boxes that are shown for tools in which people correct them
(format=), and a table of all inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from medtrain.data.base import Data
from medtrain.explain.names import safe_name, unique_names
from medtrain.io.boxes.export import FILES, FOLDERS, Marked
from medtrain.io.files import beside, write_text
from medtrain.target import Decision


def export_boxes(
    task: Any, form: str, output: Path, outputs: list[dict[str, Any]], inputs: Data, decision: Decision
) -> str:
    """Write the shown boxes of all inputs that could be read, in pixels of the files; says what was left out."""
    cases, classes = inputs.cases, task.spec.classes
    shown = task.shown(outputs, cases, decision) if outputs else None
    stems = unique_names([safe_name(str(case)) for case in cases["case"]])
    images = []
    for number in inputs.readable.tolist():
        own = [] if shown is None else shown.loc[shown.index == number].to_dict("records")
        boxes = [(row["class"], (row["x_min"], row["y_min"], row["x_max"], row["y_max"]), row["score"]) for row in own]
        height, width = task.truth.size_N2[number].tolist()
        case = cases.iloc[number]
        images.append(Marked(str(case["case"]), stems[number], Path(case["path"]), (height, width), boxes))
    (FOLDERS | FILES)[form](output, images, classes)
    numbers = zip(inputs.readable.tolist(), images, strict=True)
    write_images(output, [task.truth.image_ids[number] for number, image in numbers for _ in image.boxes], inputs)
    count = sum(len(image.boxes) for image in images)
    below = len(task.detections(outputs)[0].score_N) - count if outputs else 0
    return f"format={form}: {count:,} boxes at or above the threshold; {below:,} below it are left out"


def write_images(output: Path, image_of_boxes: Iterable[Any], inputs: Data) -> None:
    """List every input beside the output: image_id, case, width and height in pixels, number of boxes, error.

    Args:
        image_of_boxes: the id of the image of each box that was written.
    """
    truth: Any = inputs.truth
    boxes = Counter(image_of_boxes)
    rows = zip(truth.image_ids, inputs.cases["case"].astype(str), truth.size_N2.tolist(), strict=True)
    table = pd.DataFrame(
        [
            {"image_id": number, "case": case}
            | ({"width": "", "height": ""} if i in inputs.errors else {"width": width, "height": height})
            | {"boxes": boxes[number], "error": inputs.errors.get(i, "")}
            for i, (number, case, (height, width)) in enumerate(rows)
        ]
    )
    write_text(beside(output, "images", ".json"), table.to_csv(index=False))
