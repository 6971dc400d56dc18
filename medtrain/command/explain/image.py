"""explain for images: attention maps and Grad-CAM over the film."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from medtrain.command import build
from medtrain.command.explain import Asked, safe_name, unique_names
from medtrain.command.explain.classes import decided, predicted, wanted_classes
from medtrain.command.trained import Trained
from medtrain.data.settings import image_form
from medtrain.explain import half_area, overlay, peak, sanity_check
from medtrain.explain.maps import METHODS, methods
from medtrain.io.files import atomic_path
from medtrain.io.image import original_point, read_fitted, read_image
from medtrain.report.progress import bar

SHOWN = 512
"""Pixels of the shorter side of the film in a picture, at least."""

TITLES = {"attention": "attention;", "gradcam": "Grad-CAM for"}
SCALES = {"attention": "attention, relative to its maximum", "gradcam": "Grad-CAM, relative to its maximum"}


COLUMNS = (
    "case", "patient", "prediction", "class", "prob", "method",
    "peak_x", "peak_y", "half_area", "picture", "map", "error",
)  # fmt: skip


def explain(asked: Asked) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Write a picture and a map for each image, method and class."""
    cfg, run, task, data = asked.cfg, asked.run, asked.task, asked.data
    named = methods(task.model, cfg.explain.method)
    wanted = wanted_classes(cfg.explain.classes, run)
    rows: list[dict[str, Any]] = []
    first, progress = None, bar("explaining", "images")
    names = unique_names([safe_name(case) for case in data.cases["case"]])
    for batch in data.predict_dataloader() if len(data.readable) else ():
        batch = {key: value.to(asked.device) for key, value in batch.items()}
        first = first or batch
        for item in _explained(task, batch, data, run, named, wanted):
            rows.append(_written(item, data, cfg, run, names[item["row"]], asked.output))
        progress(len({row["row"] for row in rows}), len(data.readable))
    checks = _check(cfg, task, first, named, run) if first is not None and cfg.explain.sanity else {}
    return rows, checks


def _explained(
    task: Any, batch: dict[str, Tensor], data: Any, run: Trained, named: list[str], wanted: list[str] | None
) -> Iterator[dict[str, Any]]:
    """A map each image, method and class of a batch."""
    classes = list(run.spec.classes)
    with torch.no_grad():
        table = task.predictions([{k: v.cpu() for k, v in task.final_outputs(batch).items()}], data.cases, run.decision)
        x = task.inputs(batch)
    said = [predicted(table.loc[row], classes) for row in batch["case"].tolist()]
    for method in named:
        shown = [names[:1] if method == "attention" else wanted or names for names in said]
        pairs = [(i, name) for i, names in enumerate(shown) for name in names]
        for start in range(0, len(pairs), len(x)):
            part = pairs[start : start + len(x)]
            at = torch.tensor([i for i, _ in part], device=x.device)
            number = torch.tensor([classes.index(name) for _, name in part], device=x.device)
            for (i, name), heat in zip(part, METHODS[method](task.model, x[at], number), strict=True):
                row = int(batch["case"][i])
                facts = {"row": row, "prediction": "|".join(decided(table.loc[row], classes)), "class": name}
                yield facts | {"prob": table.loc[row, f"prob_{name}"], "method": method, "heat": heat.cpu().numpy()}


def _written(item: dict[str, Any], data: Any, cfg: DictConfig, run: Trained, name: str, output: Path) -> dict[str, Any]:
    """Write one map and its picture; its row of explain.csv."""
    case, heat = data.cases.iloc[item["row"]], item.pop("heat").astype(np.float32)
    form = image_form(build.plain(cfg.data), run.spec)
    stored = read_image(case["path"]).shape[:2]
    times = -(-SHOWN // min(form.size))
    size = (form.size[0] * times, form.size[1] * times) if min(form.size) < SHOWN else form.size
    film = read_fitted(case["path"], replace(form, size=size))
    of_class = "" if item["method"] == "attention" else f"_{safe_name(item['class'])}"
    file = f"{name}_{item['method']}{of_class}"
    what = f"{item['class']} (probability {item['prob']:.3f})"
    said = item["prediction"] or "none of the classes"
    title = f"{case['case']}\n{TITLES[item['method']]} {what}; decision: {said}"
    figure = overlay(film, heat, title, SCALES[item["method"]])
    for folder, suffix in (("pictures", "png"), ("maps", "npy")):
        with atomic_path(output / folder / f"{file}.{suffix}") as temporary, open(temporary, "wb") as stream:
            figure.savefig(stream, format="png") if suffix == "png" else np.save(stream, heat)
    row = item | {"case": case["case"], "patient": case["patient"], "half_area": half_area(heat), "error": ""}
    if (found := peak(heat)) is not None:
        at = (found[0] * form.size[0], found[1] * form.size[1])
        row["peak_y"], row["peak_x"] = (round(v) for v in original_point(at, stored, form))
    return row | {"picture": f"pictures/{file}.png", "map": f"maps/{file}.npy"}


def _check(cfg: DictConfig, task: Any, batch: dict[str, Tensor], named: list[str], run: Trained) -> dict[str, Any]:
    """The test of randomised weights on the first images, for the class that is most probable."""
    few = {key: value[: cfg.explain.sanity] for key, value in batch.items()}
    with torch.no_grad():
        x = task.inputs(few)
        logits = task.model(x)
        logits = logits.mean(1) if logits.ndim == 3 else logits  # of an ensemble's members
    number = task.target.likely(logits)
    return {name: sanity_check(task.model, METHODS[name], x, number) for name in named}
