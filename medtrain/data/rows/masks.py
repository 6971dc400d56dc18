"""Masks as labels: rows of which a mask says, voxel by voxel, what there is; and what its numbers are called."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.core.errors import Problem, UsageError
from medtrain.data.rows.columns import IGNORED
from medtrain.data.rows.manifest import Manifest, manifest_of, sorted_out
from medtrain.io.store.voxel_labels import MOST
from medtrain.io.table import RawTable, read_table
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget

BACKGROUND = "background"
MOST_SUMMED = 16  # regions that are not nested, whose numbers a label map sums in 16 bits


def read_masks(cfg: Mapping[str, Any], spec: DataSpec | None = None) -> Manifest:
    """Read the table of `cfg` as `mask_rows` does.

    Raises:
        UsageError: no table is named.
    """
    if not cfg.get("table"):
        raise UsageError("data.table is not set: give a CSV with a path and a mask column")
    return mask_rows(read_table(Path(str(cfg["table"])).expanduser()), cfg, spec)


def mask_rows(raw: RawTable, cfg: Mapping[str, Any], spec: DataSpec | None = None) -> Manifest:
    """Read a row a volume whose label is its mask; arguments and errors as of `manifest_of`.

    What masks hold is not known yet: without data.classes or data.label_map the target is None until they are read.

    Raises:
        UsageError: the table names no masks.
    """
    columns = {**(cfg.get("columns") or {}), "label": IGNORED}
    manifest = manifest_of(raw, {**cfg, "columns": columns, "classes": None, "label_map": None}, None, folders=True)
    if manifest.masks is None:
        raise UsageError(
            f"data.columns.mask: {raw.file.name} has no column of masks, from which a segmentation learns\n"
            f"its columns: {', '.join(map(str, raw.text.columns[:30]))}"
        )
    blank = [n for n, mask in enumerate(manifest.masks) if not mask]
    manifest.bad += [(n, Problem("missing", manifest.where[n], "no mask, which is its label")) for n in blank]
    manifest.target = target_of_masks(cfg, None, spec)
    manifest.targets = np.zeros((len(manifest), 0))
    return sorted_out(manifest)


def target_of_masks(
    cfg: Mapping[str, Any], values: Collection[int] | None = None, spec: DataSpec | None = None
) -> MaskTarget | None:
    """Make the target of classes, label_map, regions and ignore_label of the data node.

    Args:
        values: that masks hold, background too; None where they are not read yet.
        spec: of a trained model, whose target holds.

    Returns:
        the target; None where only the masks can tell.

    Raises:
        UsageError: keys that don't fit together.
    """
    if spec is not None:
        if not isinstance(spec.target, MaskTarget):
            raise UsageError(f"the model predicts {spec.target.kind}, no masks")
        return spec.target
    ignored = cfg.get("ignore_label")
    named = _named(cfg, ignored)
    if named is None:
        if values is None:
            return None
        named = {value: str(value) for value in sorted(values) if value not in (0, ignored)}
        if not named:
            raise UsageError("no mask marks anything (data.columns.mask), so there is nothing to learn")
    codes, names = tuple(named), tuple(named.values())
    usual = codes == tuple(range(1, len(codes) + 1))
    plain = MaskTarget(names, names, () if usual else codes, (), None if ignored is None else int(ignored))
    return _with_regions(plain, cfg.get("regions"), codes)


def _named(cfg: Mapping[str, Any], ignored: int | None) -> dict[int, str] | None:
    """Read the names of a mask's numbers: data.label_map {number: name}, or data.classes in order, from 1."""
    if cfg.get("label_map"):
        named = {_number(value, "label_map"): str(name) for value, name in dict(cfg["label_map"]).items()}
        named = dict(sorted((value, name) for value, name in named.items() if value))
    elif cfg.get("classes"):
        listed = [str(name) for name in cfg["classes"]]
        listed = listed[1:] if listed[0].lower() == BACKGROUND else listed
        named = {number: name for number, name in enumerate(listed, start=1) if number != ignored}
    else:
        return None
    if len(set(named.values())) < len(named):
        raise UsageError(
            f"data.classes, data.label_map: {list(named.values())} names two labels alike; what belongs together is a "
            "region: data.regions={whole: [1,2]}"
        )
    if ignored in named:
        raise UsageError(
            f"data.ignore_label={ignored} is {named[int(str(ignored))]!r} in data.label_map: it can't be both"
        )
    return named


def _with_regions(target: MaskTarget, regions: Mapping[str, Any] | None, codes: tuple[int, ...]) -> MaskTarget:
    if not regions:
        return target
    label_of = {code: label for label, code in enumerate(codes, start=1)}
    by_name = {name: label for label, name in enumerate(target.labels, start=1)}
    made: dict[str, tuple[int, ...]] = {}
    for name, members in regions.items():
        listed = members if isinstance(members, list | tuple) else [members]
        unknown = [m for m in listed if m not in label_of and str(m) not in by_name]
        if unknown or not listed:
            there = ", ".join(f"{code} ({n})" for code, n in zip(codes, target.labels, strict=True))
            raise UsageError(
                f"data.regions.{name}={members}: masks have no label {unknown or 'of it'}; they have {there}"
            )
        made[str(name)] = tuple(sorted({label_of[m] if m in label_of else by_name[str(m)] for m in listed}))
    target = MaskTarget(tuple(made), target.labels, target.codes, tuple(made.values()), target.ignore_label)
    if target.layout == "summed" and len(made) > MOST_SUMMED:
        raise UsageError(
            f"data.regions: {len(made)} regions, of which one is not within the one before: a label map holds "
            f"{MOST_SUMMED} such; name them from the outermost to the innermost, or learn fewer"
        )
    return target


def _number(value: Any, key: str) -> int:
    try:
        number = int(str(value))
        if 0 <= number <= MOST:
            return number
    except ValueError:
        pass
    raise UsageError(f"data.{key}: {value!r} is no label of a mask, a whole number from 0 to {MOST:,}")
