"""One file of COCO's JSON, read into annotations that several files share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtrain.core.coco_ids import is_id
from medtrain.core.errors import Problem
from medtrain.io.boxes.annotations import Annotations, BoxRow, ImageRow, Numbers
from medtrain.io.boxes.outline import outline_box
from medtrain.io.picture_files import PictureFinder

PATIENT = ("patient", "patient_id", "subject", "subject_id")
READER = ("reader", "rad_id", "reader_id", "annotator", "rater")


class FileReader:
    """Reads one file.

    Args:
        read: takes what it says.
        file, content: the file, and the JSON in it.
    """

    def __init__(self, read: Annotations, file: Path, content: Mapping[str, Any]) -> None:
        self.read, self.file, self.content = read, file, content
        self.images: dict[Any, int] = {}
        self.labels: dict[Any, str] = {}
        self.outlined = 0

    def run(self, pictures: PictureFinder, split: str, base: Path) -> None:
        """Read all of it; images are called by their paths below `base`, since splits may use a name each."""
        for number, category in enumerate(self.content["categories"]):
            self._category(number, category)
        self._keep_category_ids(split)
        for number, image in enumerate(self.content["images"]):
            self._image(number, image, pictures, split, base)
        first = len(self.read.box_id)
        for number, annotation in enumerate(self.content["annotations"]):
            self._annotation(number, annotation)
        self._tell(self.read.box_id[first:])

    def _category(self, number: int, category: Any) -> None:
        where = f"{self.file.name} categories[{number}]"
        if not isinstance(category, dict) or not is_id(category.get("id")) or not category.get("name"):
            self.read.blame(None, "bad_category", where, "a category needs an id (number or text) and a name")
        elif category["id"] in self.labels:
            self.read.blame(None, "duplicate_id", where, f"the id {category['id']} stands for another category already")
        else:
            self.labels[category["id"]] = name = str(category["name"])
            if name not in self.read.classes:
                self.read.classes.append(name)

    def _keep_category_ids(self, split: str) -> None:
        """Keep the classes' ids; where files differ the test split's are kept, since results are compared with it."""
        own: dict[str, Any] = {}
        for number, name in self.labels.items():
            if own.setdefault(name, number) != number:
                self._warn(
                    "category_ids", f"{name!r} has the ids {own[name]} and {number}: one class, written as the first"
                )
        known = self.read.category_id
        other = [name for name, number in own.items() if known.get(name, number) != number]
        if other:
            shown = ", ".join(f"{name} {own[name]} and {known[name]}" for name in other[:5])
            self._warn(
                "category_ids", f"classes have other ids than in another file ({shown}): the test split's are written"
            )
        self.read.category_id = known | own if split == "test" else own | known

    def _image(self, number: int, image: Any, pictures: PictureFinder, split: str, base: Path) -> None:
        where = f"{self.file.name} images[{number}]"
        if not isinstance(image, dict) or not is_id(image.get("id")) or not image.get("file_name"):
            self.read.blame(None, "bad_image", where, "an image needs an id (number or text) and a file_name")
            return
        name, key = str(image["file_name"]), image["id"]
        height, width = image.get("height"), image.get("width")
        path = pictures.find(name)
        position = self.read.add_image(
            ImageRow(
                path,
                path.relative_to(base).as_posix() if path.is_relative_to(base) else name,
                f"{where} ({name})",
                size=(int(height), int(width)) if height and width else None,
                image_id=key,
                split=split,
                patient=next((str(image[word]) for word in PATIENT if image.get(word)), ""),
            )
        )
        if (first := self.images.setdefault(key, position)) != position:
            other = self.read.name[first]
            for row in (first, position):
                detail = f"the id {key} stands for {other} and for {name}, so nobody knows whose the boxes are"
                self.read.blame(row, "duplicate_id", self.read.where[row], detail)

    def _annotation(self, number: int, annotation: Any) -> None:
        where = f"{self.file.name} annotations[{number}]"
        if not isinstance(annotation, dict) or not is_id(annotation.get("image_id")):
            self.read.blame(None, "bad_box", where, "an annotation needs an image_id (number or text)")
            return
        image = self.images.get(annotation["image_id"])
        if image is None:
            detail = f"image_id {annotation['image_id']} is none of the images"
            self.read.blame(None, "no_image", where, detail)
            return
        where = f"{where} of {self.read.name[image]}"
        key = annotation.get("category_id")
        label = self.labels.get(key) if is_id(key) else None
        if label is None:
            self.read.blame(image, "bad_label", where, f"category_id {key} is none of {_shown(self.labels)}")
            return
        try:
            box, outline = self._box(annotation)
        except ValueError as error:
            self.read.blame(image, "bad_box", where, str(error))
            return
        area = annotation.get("area")
        self.read.add_box(
            BoxRow(
                image,
                label,
                box,
                where,
                crowd=bool(annotation.get("iscrowd")),
                area=float(area) if isinstance(area, int | float) and area > 0 else None,
                box_id=annotation.get("id"),
                outline=outline,
                reader=next((str(annotation[word]) for word in READER if annotation.get(word) not in (None, "")), ""),
            )
        )

    def _box(self, annotation: Mapping[str, Any]) -> tuple[Numbers, bool]:
        """Take the box, or where there is none that of the polygons or the mask; and whether it is such."""
        box, outline = annotation.get("bbox"), annotation.get("segmentation")
        if outline and box in (None, [], [0, 0, 0, 0]):
            self.outlined += 1
            return outline_box(outline), True
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, int | float) for value in box):
            raise ValueError(f"bbox is {box}, not [x, y, width, height]")
        x, y, width, height = map(float, box)
        return (x, y, x + width, y + height), False

    def _tell(self, ids: list[Any]) -> None:
        """Tell of boxes that were taken from outlines, and of ids that stand for several annotations."""
        if self.outlined:
            self._warn("no_bbox", f"{self.outlined:,} annotations have no bbox: the bounds of their outlines are taken")
        twice = sum(number - 1 for key, number in Counter(repr(key) for key in ids if key is not None).items())
        if twice:
            detail = f"{twice:,} annotations have an id that another one has; what medtrain writes numbers them anew"
            self._warn("duplicate_id", detail)

    def _warn(self, kind: str, detail: str) -> None:
        self.read.warnings.append(Problem(kind, self.file.name, detail, "warning"))


def _shown(labels: Mapping[Any, str]) -> str:
    return ", ".join(f"{key} ({name})" for key, name in list(labels.items())[:10]) or "no categories"
