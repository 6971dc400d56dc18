"""The files in which predictions of masks come: label maps, probabilities, DICOM segmentations, a table of volumes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medtrain.core.errors import UsageError
from medtrain.core.extras import extra
from medtrain.core.sliding import Voxels
from medtrain.core.words import first_few
from medtrain.data.base import Data
from medtrain.explain.names import names_of_maps, safe_name, unique_names
from medtrain.export.parity_masks import ties_of
from medtrain.io.dicom_seg import PURPOSE, write_dicom_seg
from medtrain.io.files import write_text
from medtrain.io.own_grid import folder_of_maps, to_own, write_on_own
from medtrain.io.volume import Triple
from medtrain.io.volume_source import is_series

LABELS, PROBABILITIES, DICOM = "csv", "probabilities", "dicom_seg"
FORMATS = {
    LABELS: "label maps in NIfTI",
    PROBABILITIES: "these, and a map of probabilities a class",
    DICOM: "DICOM segmentations",
}
"""What `format=` may be, and what then lies beside the table of volumes."""


def check_form(form: str) -> None:
    """Refuse a format that there is none of (UsageError)."""
    if form not in FORMATS:
        known = ", ".join(f"{name} ({what})" for name, what in FORMATS.items())
        raise UsageError(f"format={form}: predictions of masks are {known}")
    if form == DICOM:
        extra("highdicom", PURPOSE)


def check_inputs(form: str, data: Any) -> None:
    """Refuse inputs of which there is no prediction in this format, all at once (UsageError)."""
    if form != DICOM:
        return
    names = data.cases["case"]
    others = [str(names.iloc[row]) for row in data.readable.tolist() if not is_series(data.image_file(row))]
    if others:
        raise UsageError(
            f"format=dicom_seg: a DICOM segmentation refers to the slices of a DICOM series, and {len(others)} of "
            f"{len(data.readable)} inputs are none: {first_few(others)}\nleave format= out for label maps in NIfTI, "
            "which lie on the voxels of any input"
        )


def write_maps(
    form: str, file: Path, data: Any, row: int, classes: Sequence[str], decided: Any, probs: tuple[Voxels, Triple]
) -> Path:
    """Write what there is of a case beside the table; returns the file of its label map or segmentation.

    Args:
        file: .nii.gz; maps of probabilities lie in a folder beside it (`folder_of`).
        decided: label map and masks, as of `medtrain.io.own_grid.decided`.
        probs: (K, D, H, W) and their spacing.
    """
    image, path = data.own_case(row).images[0], data.image_file(row)
    file.parent.mkdir(parents=True, exist_ok=True)
    if form == DICOM:
        made = file.with_name(f"{row}.dcm")
        write_dicom_seg(decided[1], classes, image, path, made)
        return made
    write_on_own(decided[0], image, path, file)
    if form == PROBABILITIES:
        folder_of(file).mkdir(exist_ok=True)
        probs_KDHW, spacing = probs
        for name, channel in zip(_file_names(classes), probs_KDHW[-len(classes) :], strict=True):
            write_on_own(to_own(channel, spacing, image), image, path, folder_of(file) / f"{name}.nii.gz")
    return file


def folder_of(label_map: Path) -> Path:
    """Name the folder of maps of probabilities that lies beside a label map before it is moved."""
    return label_map.with_name(f"{label_map.name}.probabilities")


def _file_names(classes: Sequence[str]) -> list[str]:
    return unique_names([safe_name(name) for name in classes])


def save_masks(output: Path, rows: Mapping[int, Mapping[str, Any]], inputs: Data, classes: Sequence[str]) -> None:
    """Write a table of volumes, a row an input, and beside it folders of what was written of each.

    Args:
        rows: by the number of the case what `write_maps` wrote, ``file`` [its path], and ``volume`` (1, C) in ml.
    """
    folder = folder_of_maps(output)
    folder.mkdir(parents=True, exist_ok=True)
    names = names_of_maps(map(str, inputs.cases["case"]))
    lines = []
    for number, case in enumerate(inputs.cases["case"].tolist()):
        line: dict[str, Any] = {"case": case, "mask": "", "error": inputs.errors.get(number, "")}
        if number in rows:
            written = Path(rows[number]["file"][0])
            line["mask"] = f"{folder.name}/{_move(written, folder / names[number], output).name}"
            volumes = rows[number]["volume"][0].tolist()
            line |= {f"volume_ml_{name}": ml for name, ml in zip(classes, volumes, strict=True)}
        lines.append(line)
    write_text(output, pd.DataFrame(lines).to_csv(index=False))


def _move(written: Path, place: Path, output: Path) -> Path:
    """Move what was written of a case to where people look for it; returns the place of its mask."""
    stem = place.name.removesuffix(".nii.gz")
    if written.suffix == ".dcm":
        place = place.with_name(f"{stem}.dcm")
    shutil.move(written, place)
    if ties_of(written).is_file():
        shutil.move(ties_of(written), ties_of(place))
    if folder_of(written).is_dir():
        into = output.with_name(f"{output.stem}_{PROBABILITIES}")
        into.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder_of(written).iterdir()):
            shutil.move(file, into / f"{stem}_{file.name}")
        folder_of(written).rmdir()
    return place
