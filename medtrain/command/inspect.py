"""inspect: the data's doctor. All that is wrong with the data at once, numbers on the rest, and pictures to look at."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from medtrain.command import build
from medtrain.command.opening import imbalance_of
from medtrain.command.recorded import recorded
from medtrain.command.train import check_validation
from medtrain.core.errors import DataError, MedtrainError, Problem
from medtrain.inspection import Finding, Inspection, inspect_data
from medtrain.io.files import atomic_path, write_json
from medtrain.report import imbalance_table
from medtrain.report.box_facts import box_tables
from medtrain.report.column_facts import column_table
from medtrain.report.contact_sheet import COLOURS, Tile, contact_sheet
from medtrain.report.findings import findings_table
from medtrain.report.mask_facts import mask_table
from medtrain.report.precision import precision_table, precision_to_expect
from medtrain.report.progress import bar

COLUMNS = 6
CLASSES = 12  # of the contact sheet
OF_A_KIND = 6  # suspicious pictures of one kind
SHEET, SUSPICIOUS = "contact_sheet.png", "suspicious.png"


def main(cfg: DictConfig, folder: Path) -> None:
    """Inspect the data into `folder`.

    Raises:
        MedtrainError: at the end, where there are errors.
    """
    with recorded(cfg, folder) as record:
        started = time.perf_counter()
        data = build.data(cfg, as_read=True)
        inspection = inspect_data(data, cfg.inspect.near_duplicates, lambda title: bar(title, data.noun))
        seconds = time.perf_counter() - started
        inspection.add(no_validation(cfg, inspection))
        outcome = summary(inspection, seconds) | {"synthetic": data.synthetic, "unit": data.noun}
        write_json(folder / "inspect.json", outcome)
        sheets = draw(inspection, folder, "SYNTHETIC data: " * data.synthetic)
        if record:
            record.update(data=cfg.data.name, synthetic=data.synthetic)
            record.finish("finished")
    tell(inspection, outcome)
    build.say(f"{folder / 'inspect.json'}{''.join(f', {name}' for name in sheets)}")
    errors = Counter(f.problem.kind for f in inspection.findings if f.problem.severity == "error")
    if errors:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in errors.items())
        raise MedtrainError(f"{errors.total():,} errors in the data ({kinds}): {folder / 'inspect.json'} lists them")


def no_validation(cfg: DictConfig, inspection: Inspection) -> list[Finding]:
    """Find what training says of the validation split, where it would refuse it."""
    if inspection.spec is None or "val" not in inspection.cases["split"].to_numpy():
        return []
    try:
        check_validation(cfg, inspection)
    except DataError as error:
        return [Finding(Problem("no_validation", "val", str(error)))]
    return []


def summary(inspection: Inspection, seconds: float) -> dict[str, Any]:
    """Make what inspect.json holds."""
    used = inspection.cases.iloc[inspection.used]
    of_patient = used["patient"].value_counts()
    pictures = len(inspection.cases)
    splits = {
        name: {"images": len(part), "patients": int(part["patient"].nunique())}
        for name, part in ((name, used[used["split"] == name]) for name in inspection.splits)
    }
    imbalance = imbalance_of(_labelled(inspection)) if len(used) else {}
    return {
        "problems": [
            {"severity": p.severity, "kind": p.kind, "where": p.where, "detail": p.detail}
            for p in (finding.problem for finding in inspection.findings)
        ],
        "counts": {
            "images": pictures,
            "used": len(used),
            "patients": len(of_patient),
            "images_per_patient": {
                name: float(getattr(of_patient, name)()) if len(used) else None for name in ("min", "median", "max")
            },
            "problems": dict(Counter(finding.problem.severity for finding in inspection.findings)),
        },
        "label_kind": inspection.spec.target.kind if inspection.spec else None,
        "classes": list(inspection.spec.classes) if inspection.spec else [],
        "splits": splits,
        "imbalance": imbalance,
        "precision": precision_to_expect(inspection.spec, imbalance, splits) if inspection.spec else {},
        "images": inspection.images,
        **({"covariates": inspection.columns} if inspection.columns else {}),
        "decoded": inspection.decoded,
        "seconds": round(seconds, 2),
        "images_per_s": round(pictures / seconds, 1),
    }


def _labelled(inspection: Inspection) -> Inspection:
    """Select the rows that stand in a split, without the findings."""
    return Inspection(
        spec=inspection.spec, cases=inspection.cases.iloc[inspection.used], targets=inspection.targets[inspection.used]
    )


def tell(inspection: Inspection, outcome: dict[str, Any]) -> None:
    """Print the tables on the terminal."""
    if inspection.spec and outcome["imbalance"]:
        build.say(imbalance_table(inspection.spec, outcome["imbalance"], outcome["unit"]))
    if inspection.columns:
        build.say(column_table(inspection.columns))
    if outcome["precision"]:
        build.say(precision_table(outcome["precision"]))
    counts, images = outcome["counts"], outcome["images"]
    marked, noun = "SYNTHETIC data: " if outcome["synthetic"] else "", outcome["unit"]
    build.say(
        f"{marked}{counts['used']:,} of {counts['images']:,} {noun} can be used, of {counts['patients']:,} patients"
    )
    if "size" in images:
        small, large = ("x".join(map(str, images["size"][name])) for name in ("smallest", "largest"))
        kinds = [f"{n:,} {name}" for name, n in images["format"].items()]
        bits = " bit" * ("unit" not in images)
        kinds += [f"{n:,} of {name}{bits}" for name, n in images["bits"].items()]
        build.say(f"{small} to {large} {images.get('unit', 'pixels')}; {', '.join(kinds)}")
    for table in box_tables(images["boxes"]) if "boxes" in images else ():
        build.say(table)
    if "spacing_mm" in images:
        tell_volumes(images)
    if "marked" in images:
        build.say(mask_table(images["marked"]))
    build.say(f"{outcome['seconds']:.1f} s, {outcome['images_per_s']:,.0f} {noun}/s; {outcome['decoded']:,} decoded")
    if inspection.findings:
        build.say(findings_table([finding.problem for finding in inspection.findings]))
    else:
        build.say("no problems found")


def tell_volumes(facts: dict[str, Any]) -> None:
    """Print what is said of volumes beyond what is said of pictures."""
    for key, what in (("spacing_mm", "spacing"), ("extent_mm", "extent")):
        low, middle, high = (
            " x ".join(f"{v:g}" for v in facts[key][name]) for name in ("smallest", "median", "largest")
        )
        build.say(f"{what}: {low} to {high} mm (median {middle}), along the files' own axes")
    turned = ", ".join(f"{n:,} {name}" for name, n in facts["orientation"].items())
    build.say(f"orientations: {turned}; {facts['masks']:,} masks; {facts['cache_bytes'] / 1e6:,.1f} MB in the cache")


def draw(inspection: Inspection, folder: Path, marked: str) -> list[str]:
    """Write the sheets of pictures, their titles after `marked`; returns their names."""
    sheets = []
    if bands := examples(inspection):
        sheets.append((SHEET, f"a sample of each class ({CLASSES} at most) and split", bands))
    if suspicious := of_each_kind(inspection):
        sheets.append((SUSPICIOUS, f"what looks wrong: at most {OF_A_KIND} pictures of a kind", suspicious))
    for name, title, bands in sheets:
        with atomic_path(folder / name) as temporary:
            contact_sheet(marked + title, bands, COLUMNS).save(temporary, "PNG")
    return [name for name, _, _ in sheets]


def examples(inspection: Inspection) -> list[tuple[str, list[Tile]]]:
    """Choose a band for each class and split: pictures at even distances in the order of the table."""
    if inspection.spec is None or not len(inspection.used):
        return []
    rows, split = inspection.used, inspection.cases["split"].to_numpy()[inspection.used]
    has_NC = inspection.spec.target.indicators(inspection.targets[rows]) == 1
    of_class = dict(zip(inspection.spec.classes[:CLASSES], has_NC.T, strict=False))
    if inspection.spec.target.several:
        of_class["none of the classes"] = ~has_NC.any(1)
    bands = []
    for name, has in of_class.items():
        for part in inspection.splits:
            of_both = rows[has & (split == part)]
            chosen = of_both[
                np.unique(np.linspace(0, len(of_both) - 1, min(COLUMNS, len(of_both))).round().astype(int))
            ]
            tiles = [
                Tile(inspection.picture(row), [str(inspection.cases["case"].iloc[row])]) for row in chosen.tolist()
            ]
            if tiles:
                bands.append((f"{name}, {part}: {len(of_both):,}", tiles))
    return bands


def of_each_kind(inspection: Inspection) -> list[tuple[str, list[Tile]]]:
    """Choose pictures that have problems, some of each kind; of those that belong together two, best of two splits."""
    case, split = (inspection.cases[name].tolist() for name in ("case", "split"))
    shown, tiles = Counter[str](), []
    for finding in inspection.findings:
        problem, rows = finding.problem, finding.rows
        if shown[problem.kind] >= OF_A_KIND:
            continue
        others = sorted(rows[1:], key=lambda row: split[row] == split[rows[0]])
        for row in (*rows[:1], *others[:1]):
            if (picture := inspection.picture(row)) is not None:
                lines = [problem.kind, f"{case[row]} ({split[row] or 'not used'})", problem.detail]
                tiles.append(Tile(picture, lines, COLOURS[problem.severity]))
                shown[problem.kind] += 1
    return [("", tiles)] if tiles else []
