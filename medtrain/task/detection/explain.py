"""explain for detection: the boxes that the decision shows, drawn over each film."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from medtrain.core.errors import UsageError
from medtrain.explain.names import safe_name, unique_names
from medtrain.io.files import atomic_path
from medtrain.report import on_film, over_film
from medtrain.report.box_pictures import SAID
from medtrain.report.progress import bar
from medtrain.task.explanation import Explanation, Request

COLUMNS = ("case", "patient", "class", "prob", "method", "x_min", "y_min", "x_max", "y_max", "picture", "error")
EDGES = ["x_min", "y_min", "x_max", "y_max"]


def explain_boxes(task: Any, request: Request) -> Explanation:
    """Draw a picture an image; a row a box, in pixels of the file, or one of class '' where none is shown.

    Raises:
        UsageError: maps are wanted.
    """
    if request.method != "all":
        raise UsageError(
            f"explain.method={request.method}: detection shows its boxes alone, which explain.method=all does"
        )
    data: Any = request.data
    task.truth = data.truth
    explanation = Explanation(COLUMNS)
    outputs = []
    for batch in data.predict_dataloader() if len(data.readable) else ():
        batch = {key: value.to(request.device) for key, value in batch.items()}
        with torch.no_grad():
            outputs.append({key: value.cpu() for key, value in task.final_outputs(batch).items()})
    if not outputs:
        return explanation
    shown = task.shown(outputs, data.cases, request.decision)
    names, progress = unique_names([safe_name(str(case)) for case in data.cases["case"]]), bar("drawing", "images")
    for done, number in enumerate(data.readable.tolist(), start=1):
        own = shown.loc[shown.index == number]
        file = f"pictures/{names[number]}_boxes.png"
        _draw(task.spec.classes, request, number, own, file)
        case = data.cases.iloc[number]
        usual = {"row": number, "case": case["case"], "patient": case["patient"], "method": "boxes", "picture": file}
        rows = [
            usual | {"class": box["class"], "prob": box["score"]} | {edge: box[edge] for edge in EDGES}
            for box in own.to_dict("records")
        ]
        explanation.rows += rows or [usual | {"class": "", "prob": 0.0}]
        progress(done, len(data.readable))
    return explanation


def _draw(classes: tuple[str, ...], request: Request, number: int, boxes: pd.DataFrame, file: str) -> None:
    """Draw the film as the network's memory has it, with its boxes."""
    data: Any = request.data
    one = len(classes) == 1
    texts = [
        f"{'' if one else name + ' '}{score:.2f}" for name, score in zip(boxes["class"], boxes["score"], strict=True)
    ]
    placed = on_film(boxes[EDGES].to_numpy(float), data.place_N4[number])
    drawing = over_film(data.cache[[number]][0], [(placed, texts, SAID)])
    with atomic_path(request.output / file) as temporary:
        drawing.save(temporary, format="PNG", optimize=True)
