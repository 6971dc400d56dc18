"""explain for volumes: maps of all patches of a case put together, as NIfTI over its file and as three planes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medtrain.command.explain import Asked, safe_name, unique_names
from medtrain.command.explain.classes import decided, predicted, wanted_classes
from medtrain.explain import half_area, peak, sanity_check, stitched, three_planes
from medtrain.explain.maps import METHODS, methods
from medtrain.io.files import atomic_path
from medtrain.io.nifti_map import grid_of_file, onto_grid, write_map
from medtrain.io.volume_file import Stored
from medtrain.model import class_logits
from medtrain.report.progress import bar

TITLES = {"attention": "attention;", "gradcam": "Grad-CAM for"}
SCALES = {"attention": "attention, relative to its maximum", "gradcam": "Grad-CAM, relative to its maximum"}
COLUMNS = (
    "case", "patient", "prediction", "class", "prob", "method", "peak_i", "peak_j", "peak_k",
    "peak_x_mm", "peak_y_mm", "peak_z_mm", "half_volume", "picture", "map", "error",
)  # fmt: skip

Maps = dict[tuple[str, str], list[tuple[int, np.ndarray]]]  # of (method, class): instance and map


def explain(asked: Asked) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Write a picture and a map for each volume, method and class."""
    task: Any = asked.task
    if not len(asked.data.readable):
        return [], {}
    loader, named = asked.data.predict_dataloader(), methods(task.model, asked.cfg.explain.method)
    with torch.no_grad():
        outputs = [_on(task.final_outputs(_on(batch, asked.device)), "cpu") for batch in loader]
    table = task.predictions(outputs, asked.data.cases, asked.run.decision)
    shares = _shares(outputs) if task.pool == "attention" else {}
    names = unique_names([safe_name(case) for case in asked.data.cases["case"]])
    rows: list[dict[str, Any]] = []
    progress, done = bar("explaining", "volumes"), 0
    for case, maps in _by_case(asked, loader, table, named, shares):
        for (method, name), parts in maps.items():
            rows.append(_written(asked, loader.dataset, table.loc[case], case, method, name, parts, names[case]))
        progress(done := done + 1, len(asked.data.readable))
    first = _on(next(iter(loader)), asked.device)
    return rows, _check(asked, first, named) if asked.cfg.explain.sanity else {}


def _on(batch: dict[str, Tensor], device: Any) -> dict[str, Tensor]:
    return {key: value.to(device) for key, value in batch.items()}


def _shares(outputs: list[dict[str, Tensor]]) -> dict[tuple[int, int], float]:
    """How much each patch counts in its case by the pool attention, 1 on average."""
    joined = {key: torch.cat([batch[key] for batch in outputs]) for key in ("case", "instance", "logits")}
    scores_NS = joined["logits"][..., -1].flatten(1) if joined["logits"].ndim == 3 else joined["logits"][:, -1:]
    found: dict[tuple[int, int], float] = {}
    for case in joined["case"].unique():
        here = joined["case"] == case
        weights = scores_NS[here].softmax(0).mean(1) * int(here.sum())
        found |= {(int(case), int(i)): float(w) for i, w in zip(joined["instance"][here], weights, strict=True)}
    return found


def _by_case(
    asked: Asked, loader: Any, table: pd.DataFrame, named: list[str], shares: dict[tuple[int, int], float]
) -> Iterator[tuple[int, Maps]]:
    """Each case with the maps of its patches, as soon as all of them are there."""
    classes, task = list(asked.run.spec.classes), asked.task
    wanted, pending = wanted_classes(asked.cfg.explain.classes, asked.run), dict[int, Maps]()
    for loaded in loader:
        batch = _on(loaded, asked.device)
        x, cases, instances = task.inputs(batch), loaded["case"].tolist(), loaded["instance"].tolist()  # type: ignore[operator]
        for method in named:
            pairs = []
            for i, case in enumerate(cases):
                chosen = predicted(table.loc[case], classes)
                pairs += [(i, name) for name in (chosen[:1] if method == "attention" else wanted or chosen)]
            for start in range(0, len(pairs), len(x)):
                part = pairs[start : start + len(x)]
                at = torch.tensor([i for i, _ in part], device=x.device)
                number = torch.tensor([classes.index(name) for _, name in part], device=x.device)
                heats = METHODS[method](task.model, x[at], number).float().cpu().numpy()
                for (i, name), heat in zip(part, heats, strict=True):
                    place = (cases[i], instances[i])
                    of_case = pending.setdefault(cases[i], {}).setdefault((method, name), [])
                    of_case.append((instances[i], heat * shares.get(place, 1.0)))
        for case in [case for case in pending if case != cases[-1]]:
            yield case, pending.pop(case)
    yield from pending.items()


def _written(
    asked: Asked, patches: Any, said: pd.Series, row: int, method: str, name: str, parts: Any, file: str
) -> dict[str, Any]:
    """Write one map and its picture; its row of explain.csv."""
    position, case = patches.rows.index(row), asked.data.cases.iloc[row]
    image: Stored = patches.cases[position].images[0]
    starts = [(patches.start(position, instance), heat) for instance, heat in parts]
    heat = stitched(starts, patches.form.size, image.shape[1:])
    grid = grid_of_file(case["path"])
    file += f"_{method}" + ("" if method == "attention" else f"_{safe_name(name)}")
    write_map(asked.output / "maps" / f"{file}.nii.gz", onto_grid(heat, image.affine, grid), grid)
    found = peak(heat)
    share = found or (0.5, 0.5, 0.5)
    at = [min(n - 1, int(part * n)) for part, n in zip(share, heat.shape, strict=True)]
    decision = "|".join(decided(said, list(asked.run.spec.classes))) or "none of the classes"
    title = f"{case['case']}\n{TITLES[method]} {name} (probability {said[f'prob_{name}']:.3f}); decision: {decision}"
    figure = three_planes(_grey(image, patches.form.window), heat, at, image.spacing, title, SCALES[method])
    with atomic_path(asked.output / "pictures" / f"{file}.png") as temporary, open(temporary, "wb") as stream:
        figure.savefig(stream, format="png")
    facts = {"row": row, "case": case["case"], "patient": case["patient"], "class": name, "method": method}
    facts |= {"prediction": "" if decision.startswith("none of") else decision, "prob": said[f"prob_{name}"]}
    facts |= {"half_volume": half_area(heat), "error": ""}
    if found is not None:
        mm = (image.affine @ [*at[::-1], 1.0])[:3]
        facts |= {f"peak_{axis}_mm": round(float(v), 2) for axis, v in zip("xyz", mm, strict=True)}
        facts |= {f"peak_{axis}": v for axis, v in zip("ijk", grid.voxel(mm), strict=True)}
    return facts | {"picture": f"pictures/{file}.png", "map": f"maps/{file}.nii.gz"}


def _grey(image: Stored, window: tuple[float, float] | None) -> np.ndarray:
    """The first channel from 0 to 1, as the network sees it."""
    low, high = window or (image.low[0], image.high[0])
    values = image.mapped()[0] * np.float32(image.scale[0]) + np.float32(image.offset[0])
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def _check(asked: Asked, batch: dict[str, Tensor], named: list[str]) -> dict[str, Any]:
    """The test of randomised weights on the first patches, for the class that is most probable."""
    task: Any = asked.task
    few = {key: value[: asked.cfg.explain.sanity] for key, value in batch.items()}
    with torch.no_grad():
        x = task.inputs(few)
        logits = class_logits(task.model, x)
        logits = logits.mean(1) if logits.ndim == 3 else logits  # of an ensemble's members
    number = task.target.likely(logits)
    return {name: sanity_check(task.model, METHODS[name], x, number) for name in named}
