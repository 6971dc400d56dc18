"""explain for volumes: maps of all patches of a case put together, as NIfTI over its file and as three planes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medtrain.explain import cell, half_area, peak, stitched, three_planes
from medtrain.explain.maps import SCALES, TITLES
from medtrain.explain.names import safe_name, unique_names
from medtrain.io.files import atomic_path
from medtrain.io.nifti_map import grid_of_file, onto_grid, write_map
from medtrain.io.store.voxels import Stored
from medtrain.report.progress import bar
from medtrain.task.classification.classes import decision_in_words, in_words, number_of, predicted, wanted_classes
from medtrain.task.classification.methods import Methods, check, methods_of
from medtrain.task.classification.shares import shares
from medtrain.task.explanation import Explanation, Request

COLUMNS = (
    "case", "patient", "prediction", "class", "prob", "method", "peak_i", "peak_j", "peak_k",
    "peak_x_mm", "peak_y_mm", "peak_z_mm",
    "peak_cell_x_mm", "peak_cell_y_mm", "peak_cell_z_mm", "half_volume", "picture", "map", "error",
)  # fmt: skip

Maps = dict[tuple[str, str], list[tuple[int, np.ndarray]]]  # of (method, class): instance and map


def explain_volumes(task: Any, request: Request) -> Explanation:
    """Write a picture and a map for each volume, method and class."""
    explanation = Explanation(COLUMNS)
    if not len(request.data.readable):
        return explanation
    loader, methods = request.data.predict_dataloader(), methods_of(task, request, explanation)
    with torch.no_grad():
        outputs = [_on(task.final_outputs(_on(batch, request.device)), "cpu") for batch in loader]
    table = task.predictions(outputs, request.data.cases, request.decision)
    joined = {key: torch.cat([batch[key] for batch in outputs]) for key in ("case", "instance", "logits")}
    share = shares(joined, task.pool)
    names = unique_names([safe_name(case) for case in request.data.cases["case"]])
    progress, done = bar("explaining", "volumes"), 0
    for case, maps in _by_case(task, request, loader, table, methods, share):
        for (method, name), parts in maps.items():
            decision = decision_in_words(table.loc[case], task.spec.classes)
            map_ = CaseMap(method, name, parts, table.loc[case], decision, methods.block(method))
            explanation.rows.append(write_case_map(map_, request, loader.dataset, case, names[case]))
        progress(done := done + 1, len(request.data.readable))
    if request.sanity:
        few = {key: value[: request.sanity] for key, value in next(iter(loader)).items()}
        explanation.checks = check(task, _on(few, request.device), methods)
    return explanation


def _on(batch: dict[str, Tensor], device: Any) -> dict[str, Tensor]:
    return {key: value.to(device) for key, value in batch.items()}


def _by_case(
    task: Any,
    request: Request,
    loader: Any,
    table: pd.DataFrame,
    methods: Methods,
    share: dict[tuple[int, int], float],
) -> Iterator[tuple[int, Maps]]:
    """Yield each case with the maps of its patches, as soon as all of them are there."""
    classes = list(task.spec.classes)
    wanted, pending = wanted_classes(request.classes, classes), dict[int, Maps]()
    for loaded in loader:
        batch = _on(loaded, request.device)
        x, cases, instances = task.inputs(batch), loaded["case"].tolist(), loaded["instance"].tolist()
        for method in methods.names:
            pairs = []
            for i, case in enumerate(cases):
                chosen = predicted(table.loc[case], classes)
                pairs += [(i, name) for name in (chosen[:1] if method == "attention" else wanted or chosen)]
            step = 1 if "columns" in batch else len(x)  # what covers or repeats a row is all of one case then
            for start in range(0, len(pairs), step):
                part = pairs[start : start + step]
                rows = torch.tensor([i for i, _ in part], device=x.device)
                task.show(batch, rows)
                number = torch.tensor([classes.index(name) for _, name in part], device=x.device)
                heats = methods[method](task.model, x[rows], task.target.outputs_for(number)).float().cpu().numpy()
                for (i, name), heat in zip(part, heats, strict=True):
                    place = (cases[i], instances[i])
                    of_case = pending.setdefault(cases[i], {}).setdefault((method, name), [])
                    of_case.append((instances[i], heat * share.get(place, 1.0)))
        for case in [case for case in pending if case != cases[-1]]:
            yield case, pending.pop(case)
    yield from pending.items()


@dataclass(frozen=True)
class CaseMap:
    """Maps of a case's patches by one method for one class.

    Args:
        parts: of each patch its number and map.
        prediction: the row of predictions of the case.
        decision: the classes decided for, '' for none.
        block: elements of a patch's map that make one cell.
    """

    method: str
    name: str
    parts: list[tuple[int, np.ndarray]]
    prediction: pd.Series
    decision: str
    block: tuple[int, ...] = (1, 1, 1)


def write_case_map(map_: CaseMap, request: Request, patches: Any, row: int, file: str) -> dict[str, Any]:
    """Write one map and its picture; returns its row of explain.csv."""
    method, name, prob = map_.method, map_.name, number_of(map_.prediction, map_.name)
    position, case = patches.rows.index(row), request.data.cases.iloc[row]
    image: Stored = patches.cases[position].images[0]
    starts = [(patches.start(position, instance), heat) for instance, heat in map_.parts]
    heat = stitched(starts, patches.form.size, image.shape[1:])
    grid = grid_of_file(case["path"])
    file += f"_{method}" + ("" if method == "attention" else f"_{safe_name(name)}")
    write_map(request.output / "maps" / f"{file}.nii.gz", onto_grid(heat, image.affine, grid), grid)
    highest = peak(heat)
    share = highest or (0.5, 0.5, 0.5)
    voxel = [min(n - 1, int(part * n)) for part, n in zip(share, heat.shape, strict=True)]
    decision = map_.decision or "none of the classes"
    title = f"{case['case']}\n{TITLES[method]} {in_words(map_.prediction, name)}; decision: {decision}"
    figure = three_planes(_grey(image, patches.form.window), heat, voxel, image.spacing, title, SCALES[method])
    with atomic_path(request.output / "pictures" / f"{file}.png") as temporary, open(temporary, "wb") as stream:
        figure.savefig(stream, format="png")
    facts = {"row": row, "case": case["case"], "patient": case["patient"], "class": name, "method": method}
    facts |= {"prediction": map_.decision, "prob": prob}
    facts |= {"half_volume": half_area(heat), "error": ""}
    if highest is not None:
        mm = (image.affine @ [*voxel[::-1], 1.0])[:3]  # an affine takes W, H, D
        facts |= {f"peak_{axis}_mm": round(float(v), 2) for axis, v in zip("xyz", mm, strict=True)}
        shares = cell(map_.parts[0][1], map_.block)
        size = [share * n * step for share, n, step in zip(shares, patches.form.size, image.spacing, strict=True)]
        facts |= {f"peak_cell_{axis}_mm": round(float(v), 2) for axis, v in zip("zyx", size, strict=True)}
        facts |= {f"peak_{axis}": v for axis, v in zip("ijk", grid.voxel(mm), strict=True)}
    return facts | {"picture": f"pictures/{file}.png", "map": f"maps/{file}.nii.gz"}


def _grey(image: Stored, window: tuple[float, float] | None) -> np.ndarray:
    """Scale the first channel to 0..1, as the network sees it."""
    low, high = window or (image.low[0], image.high[0])
    values = image.mapped()[0] * np.float32(image.scale[0]) + np.float32(image.offset[0])
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
