"""explain for detection: the boxes that the decision shows, drawn over each film."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from medtrain.command.explain import Asked, safe_name, unique_names
from medtrain.io.files import atomic_path
from medtrain.report import on_film, over_film
from medtrain.report.box_pictures import SAID
from medtrain.report.progress import bar

COLUMNS = ("case", "patient", "class", "prob", "method", "x_min", "y_min", "x_max", "y_max", "picture", "error")
EDGES = ["x_min", "y_min", "x_max", "y_max"]


def explain(asked: Asked) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A picture an image; a row a box, in pixels of the file, or one of class '' where none is shown."""
    task: Any = asked.task
    data: Any = asked.data
    task.truth = data.truth
    outputs = []
    for batch in data.predict_dataloader() if len(data.readable) else ():
        batch = {key: value.to(asked.device) for key, value in batch.items()}
        with torch.no_grad():
            outputs.append({key: value.cpu() for key, value in task.outputs(batch).items()})
    if not outputs:
        return [], {}
    shown = task.shown(outputs, data.cases, asked.run.decision)
    names, progress = unique_names([safe_name(str(case)) for case in data.cases["case"]]), bar("drawing", "images")
    rows: list[dict[str, Any]] = []
    for done, number in enumerate(data.readable.tolist(), start=1):
        own = shown.loc[shown.index == number]
        file = f"pictures/{names[number]}_boxes.png"
        _draw(asked, number, own, file)
        case = data.cases.iloc[number]
        usual = {"row": number, "case": case["case"], "patient": case["patient"], "method": "boxes", "picture": file}
        found = [
            usual | {"class": box["class"], "prob": box["score"]} | {edge: box[edge] for edge in EDGES}
            for box in own.to_dict("records")
        ]
        rows += found or [usual | {"class": "", "prob": 0.0}]
        progress(done, len(data.readable))
    return rows, {}


def _draw(asked: Asked, number: int, boxes: pd.DataFrame, file: str) -> None:
    """The film as the network's memory has it, with its boxes."""
    data: Any = asked.data
    one = len(asked.run.spec.classes) == 1
    texts = [
        f"{'' if one else name + ' '}{score:.2f}" for name, score in zip(boxes["class"], boxes["score"], strict=True)
    ]
    placed = on_film(boxes[EDGES].to_numpy(float), data.place_N4[number])
    drawing = over_film(data.cache[[number]][0], [(placed, texts, SAID)])
    with atomic_path(asked.output / file) as temporary:
        drawing.save(temporary, format="PNG", optimize=True)
