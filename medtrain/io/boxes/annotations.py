"""What a file of boxes says, in one form whatever the format: images, and boxes of them, each with its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medtrain.core.errors import Problem
from medtrain.io.picture_files import as_named

Numbers = tuple[float, float, float, float]
Unit = Literal["xyxy", "xywh", "share"]

SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class ImageRow:
    """What a file says of an image; see `Annotations`."""

    path: Path | str
    name: str
    where: str
    size: tuple[int, int] | None = None
    image_id: Any = None
    split: str = ""
    patient: str = ""
    fold: str = ""
    site: str = ""


@dataclass(frozen=True)
class BoxRow:
    """What a file says of a box; see `Annotations`."""

    image: int
    label: str
    box: Sequence[float]
    where: str
    crowd: bool = False
    difficult: bool = False
    area: float | None = None
    box_id: Any = None
    outline: bool = False
    reader: str = ""


@dataclass
class Annotations:
    """Images and boxes as columns. Boxes are (x0, y0, x1, y1), as written but for a width and height added up.

    Attributes:
        file: where they came from.
        unit: what was written: corners or widths in pixels, or shares of the image (then `box` holds shares too).
        classes: in the order of the format; empty where it has none.
        category_id: of classes, as the file has them; of several files the test split's.
        path: of each image, absolute; name: as written; where: its place for messages.
        size: (height, width) as declared, None where not; image_id: the file's, None where it has none.
        split, patient, fold, site: '' where not said; readers: who looked at it, whether they drew or not.
        image: the image of each box, by position; label: its class; box_where: its place for messages.
        crowd: neither found nor missed; difficult: likewise, and a single object; area, box_id: as written, else None;
            outline: bounds a polygon or a mask; reader: who drew it, '' where not said.
        bad: problems by image; None where they belong to no image.
        warnings: of the whole.
    """

    file: Path
    unit: Unit
    classes: list[str] = field(default_factory=list)
    category_id: dict[str, Any] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    size: list[tuple[int, int] | None] = field(default_factory=list)
    image_id: list[Any] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    patient: list[str] = field(default_factory=list)
    fold: list[str] = field(default_factory=list)
    site: list[str] = field(default_factory=list)
    readers: list[tuple[str, ...]] = field(default_factory=list)
    image: list[int] = field(default_factory=list)
    label: list[str] = field(default_factory=list)
    box: list[Numbers] = field(default_factory=list)
    box_where: list[str] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)
    area: list[float | None] = field(default_factory=list)
    box_id: list[Any] = field(default_factory=list)
    outline: list[bool] = field(default_factory=list)
    reader: list[str] = field(default_factory=list)
    bad: list[tuple[int | None, Problem]] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.path)

    def add_image(self, row: ImageRow) -> int:
        """Add an image without boxes; returns its position."""
        self.path.append(str(row.path))
        self.name.append(row.name)
        self.where.append(row.where)
        self.size.append(row.size)
        self.image_id.append(row.image_id)
        self.split.append(row.split)
        self.patient.append(row.patient)
        self.fold.append(row.fold)
        self.site.append(row.site)
        self.readers.append(())
        return len(self.path) - 1

    def add_box(self, row: BoxRow) -> None:
        """Add a box; what is difficult is passed over as a crowd is."""
        x0, y0, x1, y1 = map(float, row.box)
        self.image.append(row.image)
        self.label.append(row.label)
        self.box.append((x0, y0, x1, y1))
        self.box_where.append(row.where)
        self.crowd.append(row.crowd or row.difficult)
        self.difficult.append(row.difficult)
        self.area.append(row.area)
        self.box_id.append(row.box_id)
        self.outline.append(row.outline)
        self.reader.append(row.reader)

    def blame(self, image: int | None, kind: str, where: str, detail: str) -> None:
        """Record an error of one image (None: of none that there is)."""
        self.bad.append((image, Problem(kind, where, detail)))


def split_of(name: str) -> str:
    """Read the split in a file's or folder's name ('instances_val2017', 'valid'): train, val, test or ''."""
    words = re.findall(r"[a-z]+", name.lower())
    splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else ""


def first_folder(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    """Find the first folder that holds one of the first few files."""
    return next((folder for folder in folders if any(as_named(folder, name).is_file() for name in names[:5])), None)
