"""Boxes from a CSV with a row a box: RSNA's, VinDr's and NIH's columns, and anyone's whose columns are named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import UsageError
from medtrain.core.progress import Progress
from medtrain.data.rows.boxes import box_rows
from medtrain.data.rows.columns import USUAL, find_columns
from medtrain.data.rows.manifest import Manifest
from medtrain.data.rows.paths import table_root, usual_form
from medtrain.data.source import ROOT, TABLE, Source
from medtrain.io.boxes import Annotations
from medtrain.io.boxes.annotations import BoxRow, ImageRow
from medtrain.io.cells import is_unknown, without_decimals
from medtrain.io.picture_files import PictureFinder
from medtrain.io.table import RawTable, read_table
from medtrain.target import DataSpec

CORNERS = ("x_min", "y_min", "x_max", "y_max")
SIDES = ("width", "height")
ROLES = {
    **USUAL,
    "label": ("class_name", *USUAL["label"], "finding label", "finding", "finding_categories", "name", "category"),
    "patient": (*USUAL["patient"], "study_id"),  # VinDr-Mammo's, a study a patient
    "x_min": ("x_min", "xmin", "x1", "x0", "left", "x", "bbox [x"),  # NIH's header is 'Bbox [x,y,w,h]'
    "y_min": ("y_min", "ymin", "y1", "y0", "top", "y"),
    "x_max": ("x_max", "xmax", "x2", "right"),
    "y_max": ("y_max", "ymax", "y2", "bottom"),
    "width": ("width", "w", "box_width"),
    "height": ("height", "h", "h]", "box_height"),
    "reader": ("reader", "rad_id", "reader_id", "rater", "annotator"),
}
NOTHING = ("", "0", "no finding", "nofinding", "none", "normal", "negative")
LESION = "lesion"
SEVERAL = "\0"  # between the classes of a box
PARTS = ("patient", "split", "fold", "site")  # of an image, in every row that names it


@Source(TABLE, ROOT, batches="boxes")
def box_table(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row an image; arguments as of `medtrain.data.source.reader`."""
    return box_rows(read_box_table(cfg), cfg, spec)


def read_box_table(cfg: Mapping[str, Any]) -> Annotations:
    """Read the table of the data node: data.table, root, path_format, columns.

    A row without numbers, or one called 'No finding' or 0, names an image without boxes. Labels that are all 0 and 1,
    or no label column, make one class, 'lesion'.

    Raises:
        UsageError: no table, or columns are missing.
    """
    if not cfg.get("table"):
        raise UsageError("data.table is not set: give a CSV with a row a box")
    raw = read_table(Path(str(cfg["table"])).expanduser())
    columns: dict[str, Any] = find_columns(raw, cfg.get("columns") or {}, ("path", "x_min", "y_min"), roles=ROLES)
    corners = columns["x_max"] is not None and columns["y_max"] is not None
    second = CORNERS[2:] if corners else SIDES
    if not corners and None in (columns["width"], columns["height"]):
        raise UsageError(
            f"{raw.file.name} has neither columns x_max and y_max nor width and height: name them in data.columns\n"
            f"its columns: {', '.join(map(str, raw.text.columns[:30]))}"
        )
    return _Reading(raw, columns, cfg, corners, [columns[role] for role in (*CORNERS[:2], *second)]).run()


class _Reading:
    """Read one table, row by row."""

    def __init__(
        self, raw: RawTable, columns: dict[str, Any], cfg: Mapping[str, Any], corners: bool, numbers: list[str]
    ) -> None:
        self.raw, self.columns = raw, columns
        self.read = Annotations(raw.file, "xyxy" if corners else "xywh")
        self.text_R4 = raw.text[numbers].map(lambda cell: "" if is_unknown(cell) else cell)
        self.value_R4: NDArray[np.float64] = self.text_R4.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
        self.label_text_R = [] if columns["label"] is None else list(raw.column(columns["label"]))
        self.label_R = self._labels()
        self.root = table_root(cfg, raw.file.parent)
        self.pictures = PictureFinder(self.root, self.root)
        self.form = cfg.get("path_format")

    def _labels(self) -> list[str]:
        """Name the class of each row, '' where it says that there is nothing."""
        if self.columns["label"] is None:
            return [LESION] * len(self.raw.text)
        labels = [without_decimals(text) for text in self.raw.column(self.columns["label"])]
        if set(labels) <= {"0", "1", ""}:
            return [LESION if label == "1" else "" for label in labels]
        return [
            SEVERAL.join(name for name in _names(label) if name.lower() not in NOTHING and not is_unknown(name))
            for label in labels
        ]

    def run(self) -> Annotations:
        places, names = self.raw.places(), self.raw.column(self.columns["path"])
        self.form = self.form or usual_form(self.root, names)
        parts: dict[str, list[str]] = {role: self._column(role) for role in PARTS}
        self.reader_R = self._column("reader")
        self.nothing: dict[tuple[int, str], str] = {}  # by image and reader: where a row says that there is nothing
        images: dict[str, int] = {}
        for row, name in enumerate(names):
            own: dict[str, Any] = {role: column[row] for role, column in parts.items()}
            if not name:
                self.read.blame(None, "missing", places[row], "the image is not named")
                continue
            if name not in images:
                path = self.root / self.form.replace("{}", name) if self.form else self.pictures.find(name)
                images[name] = self.read.add_image(ImageRow(path, name, places[row], **own))
            image = images[name]
            if (reader := self.reader_R[row]) and reader not in self.read.readers[image]:
                self.read.readers[image] += (reader,)
            for role, text in own.items():
                first = getattr(self.read, role)[image]
                if text != first:
                    detail = f"{role} is {text!r}, but {first!r} in {self.read.where[image]} for the same image"
                    self.read.blame(image, f"bad_{role}", places[row], detail)
            self._box(row, image, places[row])
        self._blame_contradictions()
        return self.read

    def _blame_contradictions(self) -> None:
        """Blame rows that say there is nothing in an image where the same reader draws a box."""
        drawn = dict(zip(zip(self.read.image, self.read.reader, strict=True), self.read.box_where, strict=True))
        for (image, reader), where in self.nothing.items():
            if box := drawn.get((image, reader)):
                self.read.blame(image, "bad_label", where, f"it says that there is nothing, but {box} has a box")

    def _column(self, role: str) -> list[str]:
        column = self.columns[role]
        return self.raw.known_names(column) if column is not None else [""] * len(self.raw.text)

    def _box(self, row: int, image: int, where: str) -> None:
        value, label = self.value_R4[row], self.label_R[row]
        written = self.text_R4.iloc[row].tolist()
        blank = not any(written)
        if blank or not label:
            if blank and not label and self.columns["label"] is not None and self.label_text_R[row]:
                self.nothing[image, self.reader_R[row]] = where
            if blank and label and self.columns["label"] is not None:
                self.read.blame(image, "bad_box", where, f"it is called {label!r}, but has no box")
            if not blank and not label and np.nanmax(value, initial=0) > 1:  # VinDr writes 0, 0, 1, 1 for nothing
                self.read.blame(image, "bad_label", where, f"it has a box {written}, but is called nothing")
            return
        if not np.isfinite(value).all():
            self.read.blame(image, "bad_box", where, f"{written} are not four numbers")
            return
        x, y, right, bottom = value.tolist()
        if self.read.unit == "xywh":
            right, bottom = x + right, y + bottom
        for name in label.split(SEVERAL):
            self.read.add_box(BoxRow(image, name, (x, y, right, bottom), where, reader=self.reader_R[row]))


def _names(label: str) -> list[str]:
    """Read the classes of a box: one, or a list as Python writes it, ['Mass', 'Skin Retraction'], as VinDr-Mammo's."""
    listed = re.fullmatch(r"\[\s*(['\"].*['\"])\s*\]", label)
    return re.split(r"['\"]\s*,\s*['\"]", listed[1][1:-1]) if listed else [label]
