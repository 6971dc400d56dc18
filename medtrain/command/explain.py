"""explain: pictures of what each prediction rests on, and a check that they depend on what was learned."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from medtrain.command import build
from medtrain.command.predict import refuse_bad
from medtrain.command.trained import Trained, open_run
from medtrain.config import record
from medtrain.core.errors import UsageError
from medtrain.data import source
from medtrain.data.settings import image_form
from medtrain.explain import gallery, half_area, overlay, peak, sanity_check
from medtrain.explain.maps import METHODS, methods
from medtrain.io.files import atomic_path, write_json, write_text
from medtrain.io.image import original_point, read_fitted, read_image
from medtrain.report.progress import bar
from medtrain.report.style import CSS

SHOWN = 512
"""Pixels of the shorter side of the film in a picture, at least."""

TITLES = {"attention": "attention;", "gradcam": "Grad-CAM for"}
SCALES = {"attention": "attention, relative to its maximum", "gradcam": "Grad-CAM, relative to its maximum"}


def main(cfg: DictConfig, folder: Path) -> None:
    """Write pictures, maps, explain.csv, sanity.json and index.html into `output`; exit code 1 if a file was bad."""
    if cfg.input is None or cfg.output is None:
        raise UsageError("explain needs run=DIR, input=PATH (a file, folder or table) and output=DIR2")
    output = Path(cfg.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"output={output} is a file; explain writes a folder")
    run = open_run(cfg.run)
    cfg.trainer.compile, cfg.eval.mc_dropout = False, 0
    task = run.task(cfg).eval().to(_device(cfg))
    if run.spec.dims != 2:
        raise UsageError(f"run={cfg.run}: explain takes runs on 2D images so far")
    named = methods(task.model, cfg.explain.method)
    wanted = _classes(cfg.explain.classes, run)
    data = source(cfg.data.name).for_inputs(build.plain(cfg.data), run.spec, cfg.input, bar("reading images"))
    rows, first, progress = [], None, bar("explaining", "images")
    names = _unique([_safe(case) for case in data.cases["case"]])
    for batch in data.predict_dataloader() if len(data.readable) else ():
        batch = {key: value.to(_device(cfg)) for key, value in batch.items()}
        first = first or batch
        for item in _explained(task, batch, data, run, named, wanted):
            rows.append(_written(item, data, cfg, run, names[item["row"]], output))
        progress(len({row["row"] for row in rows}), len(data.readable))
    checks = _check(cfg, task, first, named, run) if first is not None and cfg.explain.sanity else {}
    write_json(output / "sanity.json", checks)
    rows += [
        {"row": i, "case": data.cases["case"].iloc[i], "patient": data.cases["patient"].iloc[i], "error": why}
        for i, why in data.errors.items()
    ]
    table = pd.DataFrame(rows, columns=["row", *COLUMNS]).sort_values("row", kind="stable")[list(COLUMNS)]
    table = table.astype({"peak_x": "Int64", "peak_y": "Int64"})
    write_text(output / "explain.csv", table.to_csv(index=False))
    _page(output, table, checks, run)
    _say(output, table, checks)
    refuse_bad(data)


COLUMNS = (
    "case", "patient", "prediction", "class", "prob", "method",
    "peak_x", "peak_y", "half_area", "picture", "map", "error",
)  # fmt: skip


def _device(cfg: DictConfig) -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() and cfg.trainer.accelerator != "cpu" else "cpu")


def _classes(wanted: Any, run: Trained) -> list[str] | None:
    """The classes named, or None for the predicted one."""
    if wanted == "predicted":
        return None
    names = list(run.spec.classes) if wanted == "all" else [str(w) for w in build.plain(wanted)]
    unknown = [name for name in names if name not in run.spec.classes]
    if unknown:
        raise UsageError(f"explain.classes: {unknown[0]} is none of the run's {', '.join(run.spec.classes)}")
    return names


def _explained(
    task: Any, batch: dict[str, Tensor], data: Any, run: Trained, named: list[str], wanted: list[str] | None
) -> Iterator[dict[str, Any]]:
    """A map each image, method and class of a batch."""
    classes = list(run.spec.classes)
    with torch.no_grad():
        table = task.predictions([{k: v.cpu() for k, v in task.final_outputs(batch).items()}], data.cases, run.decision)
        x = task.inputs(batch)
    said = [_predicted(table.loc[row], classes) for row in batch["case"].tolist()]
    for method in named:
        shown = [names[:1] if method == "attention" else wanted or names for names in said]
        pairs = [(i, name) for i, names in enumerate(shown) for name in names]
        for start in range(0, len(pairs), len(x)):
            part = pairs[start : start + len(x)]
            at = torch.tensor([i for i, _ in part], device=x.device)
            number = torch.tensor([classes.index(name) for _, name in part], device=x.device)
            for (i, name), heat in zip(part, METHODS[method](task.model, x[at], number), strict=True):
                row = int(batch["case"][i])
                facts = {"row": row, "prediction": "|".join(_decided(table.loc[row], classes)), "class": name}
                yield facts | {"prob": table.loc[row, f"prob_{name}"], "method": method, "heat": heat.cpu().numpy()}


def _decided(row: pd.Series, classes: list[str]) -> list[str]:
    """The classes that the decision says yes to: of a multilabel problem any number."""
    if "prediction" in row:
        return [str(row["prediction"])]
    return [c for c in classes if str(row[f"prediction_{c}"]) == "1"]


def _predicted(row: pd.Series, classes: list[str]) -> list[str]:
    """The classes decided for, the most probable one where there is none."""
    return _decided(row, classes) or [max(classes, key=lambda c: float(row[f"prob_{c}"]))]


def _written(item: dict[str, Any], data: Any, cfg: DictConfig, run: Trained, name: str, output: Path) -> dict[str, Any]:
    """Write one map and its picture; its row of explain.csv."""
    case, heat = data.cases.iloc[item["row"]], item.pop("heat").astype(np.float32)
    form = image_form(build.plain(cfg.data), run.spec)
    stored = read_image(case["path"]).shape[:2]
    times = -(-SHOWN // min(form.size))
    size = (form.size[0] * times, form.size[1] * times) if min(form.size) < SHOWN else form.size
    film = read_fitted(case["path"], replace(form, size=size))
    of_class = "" if item["method"] == "attention" else f"_{_safe(item['class'])}"
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
    number = (logits[:, 0] > 0).long() if run.spec.label_kind == "binary" else logits.argmax(1)
    return {name: sanity_check(task.model, METHODS[name], x, number) for name in named}


def _say(output: Path, table: pd.DataFrame, checks: dict[str, Any]) -> None:
    """What was written, and how the check came out."""
    build.say(
        f"{table['picture'].notna().sum():,} pictures of {table['case'].nunique():,} images: {output / 'index.html'}"
    )
    for name, check in checks.items():
        if check["passed"] is None:
            build.say(f"weight randomisation, {name}: nothing to compare, the maps are flat")
        else:
            text = f"correlation with maps of random weights {check['spearman']['all']:.2f} (limit {check['limit']})"
            build.say(f"weight randomisation, {name}: {text}")
            if not check["passed"]:
                build.warn(f"the {name} maps hardly depend on what the network learned: don't read them as its reasons")


def _page(output: Path, table: pd.DataFrame, checks: dict[str, Any], run: Trained) -> None:
    fields = record.read(run.folder)
    lines = [f"Run {run.folder.name}: {fields.get('model')} on {fields.get('task')}."]
    lines += ["The network was trained on synthetic films."] * bool(fields.get("synthetic"))
    lines += [
        f"{name}: the maps {'hardly depend' if check['passed'] is False else 'depend'} on the learned weights "
        f"(correlation with maps of random weights {check['spearman']['all']}, limit {check['limit']})."
        for name, check in checks.items()
        if check["passed"] is not None
    ]
    lines.append("A map says where the network found what speaks for a class, not whether it is right.")
    drawn = table[table["picture"].notna()]
    captions = [f"{r['case']}: {r['method']}, {r['class']} {r['prob']:.3f}" for _, r in drawn.iterrows()]
    html = gallery("What the predictions rest on", lines, zip(captions, drawn["picture"], strict=True), CSS)
    write_text(output / "index.html", html)


def _safe(name: str) -> str:
    """Letters, digits, dots, dashes and underscores of a name, its ending left out."""
    stem = name.rpartition(".")[0] if re.search(r"\.\w{2,4}$", name) else name
    return re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._")[-80:] or "image"


def _unique(names: list[str]) -> list[str]:
    """Names made distinct by a number, upper and lower case counting as one."""
    taken: set[str] = set()
    found = []
    for name in names:
        number, new = 2, name
        while new.lower() in taken:
            number, new = number + 1, f"{name}_{number}"
        taken.add(new.lower())
        found.append(new)
    return found
