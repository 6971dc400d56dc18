"""explain for images: attention maps, Grad-CAM and occlusion over the film."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medtrain.data.settings import image_form
from medtrain.explain import cell, half_area, overlay, peak
from medtrain.explain.maps import SCALES, TITLES
from medtrain.explain.names import safe_name, unique_names
from medtrain.io.files import atomic_path
from medtrain.io.image import original_point, placement, read_fitted, read_image
from medtrain.report.progress import bar
from medtrain.task.classification.classes import decision_in_words, in_words, number_of, predicted, wanted_classes
from medtrain.task.classification.images_of_cases import OF_IMAGES, OfCases, of_cases
from medtrain.task.classification.methods import Methods, check, methods_of
from medtrain.task.explanation import Explanation, Request, image_in_words

SHOWN = 512
"""Pixels of the shorter side of the film in a picture, at least."""

COLUMNS = (
    "case", "patient", "prediction", "class", "prob", "method",
    "peak_x", "peak_y", "peak_cell_w", "peak_cell_h", "half_area", "picture", "map", "error",
)  # fmt: skip


def explain_images(task: Any, request: Request) -> Explanation:
    """Write a picture and a map for each image, method and class."""
    explanation, data = Explanation(COLUMNS), request.data
    known = None if data.grouping is None else of_cases(task, request)
    if known is not None:
        explanation = Explanation((*COLUMNS[:-1], *OF_IMAGES, "error"), notes=[known.note])
    methods = methods_of(task, request, explanation)
    wanted = wanted_classes(request.classes, task.spec.classes)
    rows = explanation.rows
    first, progress = None, bar("explaining", "images")
    names = unique_names([safe_name(case) for case in data.cases["case"]])
    for batch in data.predict_dataloader() if len(data.readable) else ():
        batch = {key: value.to(request.device) for key, value in batch.items()}
        first = first or batch
        for item in _explained(task, batch, request, methods, wanted, known):
            block = methods.block(item["method"])
            rows.append(_written(item, task, request, names[item["row"]], block))
        progress(len({row["row"] for row in rows}), len(data.readable))
    if first is not None and request.sanity:
        explanation.checks = check(task, {key: value[: request.sanity] for key, value in first.items()}, methods)
    return explanation


def _explained(
    task: Any,
    batch: dict[str, Tensor],
    request: Request,
    methods: Methods,
    wanted: list[str] | None,
    known: OfCases | None,
) -> Iterator[dict[str, Any]]:
    """Compute a map for each image, method and class of a batch.

    Args:
        known: what is said of cases of several images.
    """
    classes = list(task.spec.classes)
    with torch.no_grad():
        if known is None:
            outputs = [{key: value.cpu() for key, value in task.final_outputs(batch).items()}]
            table = task.predictions(outputs, request.data.cases, request.decision)
        else:
            table = known.table
        x = task.inputs(batch)
    decisions = [predicted(table.loc[row], classes) for row in batch["case"].tolist()]
    for method in methods.names:
        shown = [names[:1] if method == "attention" else wanted or names for names in decisions]
        pairs = [(i, name) for i, names in enumerate(shown) for name in names]
        step = 1 if "columns" in batch else len(x)  # what covers or repeats a row is all of one case then
        for start in range(0, len(pairs), step):
            part = pairs[start : start + step]
            rows = torch.tensor([i for i, _ in part], device=x.device)
            task.show(batch, rows)
            number = torch.tensor([classes.index(name) for _, name in part], device=x.device)
            for (i, name), heat in zip(
                part, methods[method](task.model, x[rows], task.target.outputs_for(number)), strict=True
            ):
                row = int(batch["case"][i])
                facts = {"row": row, "prediction": decision_in_words(table.loc[row], classes), "class": name}
                facts |= {"words": in_words(table.loc[row], name), "prob": number_of(table.loc[row], name)}
                facts |= {} if known is None else known.facts(row, int(batch["instance"][i]), name)
                yield facts | {"method": method, "heat": heat.cpu().numpy()}


def _written(item: dict[str, Any], task: Any, request: Request, name: str, block: tuple[int, ...]) -> dict[str, Any]:
    """Write one map and its picture; returns its row of explain.csv.

    Args:
        block: elements of the map that make one cell.
    """
    case, heat = request.data.cases.iloc[item["row"]], item.pop("heat").astype(np.float32)
    form, path = image_form(request.form, task.spec), item.get("image", case["path"])
    stored = read_image(path).shape[:2]
    times = -(-SHOWN // min(form.size))
    size = (form.size[0] * times, form.size[1] * times) if min(form.size) < SHOWN else form.size
    film = read_fitted(path, replace(form, size=size))
    if "image" in item:
        name += f"_{item.pop('instance') + 1}"
    of_class = "" if item["method"] == "attention" else f"_{safe_name(item['class'])}"
    file = f"{name}_{item['method']}{of_class}"
    what = item.pop("words")
    decision = item["prediction"] or "none of the classes"
    title = f"{case['case']}{image_in_words(item)}\n{TITLES[item['method']]} {what}; decision: {decision}"
    figure = overlay(film, heat, title, SCALES[item["method"]])
    for folder, suffix in (("pictures", "png"), ("maps", "npy")):
        with atomic_path(request.output / folder / f"{file}.{suffix}") as temporary, open(temporary, "wb") as stream:
            figure.savefig(stream, format="png") if suffix == "png" else np.save(stream, heat)
    row = item | {"case": case["case"], "patient": case["patient"], "half_area": half_area(heat), "error": ""}
    if (highest := peak(heat, block)) is not None:
        point = (highest[0] * form.size[0], highest[1] * form.size[1])
        row["peak_y"], row["peak_x"] = (round(v) for v in original_point(point, stored, form))
        wide, high = placement(stored, form)[:2]
        row["peak_cell_h"] = round(cell(heat, block)[0] * form.size[0] / high, 1)
        row["peak_cell_w"] = round(cell(heat, block)[1] * form.size[1] / wide, 1)
    return row | {"picture": f"pictures/{file}.png", "map": f"maps/{file}.npy"}
