"""predict format=: the boxes that the decision shows, for tools in which people correct them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medtrain.data.base import Data
from medtrain.explain.names import safe_name, unique_names
from medtrain.io.boxes.export import FILES, FOLDERS, Marked
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
    count = sum(len(image.boxes) for image in images)
    below = len(task.detections(outputs)[0].score_N) - count if outputs else 0
    return f"format={form}: {count:,} boxes at or above the threshold; {below:,} below it are left out"
