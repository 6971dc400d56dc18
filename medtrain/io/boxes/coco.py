"""COCO's JSON: images, annotations with [x, y, width, height] in pixels, categories; one file or one a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError, Problem
from medtrain.io.boxes.annotations import Annotations, first_folder, split_of
from medtrain.io.files import Unreadable, read_json

PARTS = ("images", "annotations", "categories")
FOLDERS = ("images", "imgs", "img", "data", "JPEGImages")
PATIENT = ("patient", "patient_id", "subject", "subject_id")


def read_coco(root: Path, files: Sequence[Path] = (), images: Path | None = None) -> Annotations:
    """The annotations below `root`, or those of `files`.

    Where no files are named, these are what looks like COCO's among ``*.json`` of root and of its folders annotations,
    train, val and test. Several files are splits, by the word in their names; one file says nothing of splits.

    Args:
        images: folder of the pictures; by default the first usual one that holds some of them.

    Raises:
        DataError: no such file, no JSON, or not COCO's.
    """
    contents = {file: _load(file) for file in files or find_coco(root)}
    theirs = {file: content for file, content in contents.items() if not _lacking(content)}
    if files or not theirs:
        _refuse_others(contents)
    several = len(theirs) > 1
    found = Annotations(root if several else next(iter(theirs)), "xywh")
    for file, content in theirs.items():
        split = (split_of(file.stem) or split_of(file.parent.name)) if several else ""
        folder = _folder(root, file, content, images, split)
        _Reading(found, file, content).run(folder, split, root if several else folder)
    _renumber(found)
    return found


def find_coco(root: Path) -> list[Path]:
    """Files below `root` that look like COCO's annotations, sorted."""
    places = [root, root / "annotations", *sorted(p for p in root.glob("*") if p.is_dir() and split_of(p.name))]
    files = [file for place in dict.fromkeys(places) for file in sorted(place.glob("*.json"))]
    files = files or sorted((root / "annotations").glob("*/*.json"))
    files = [file for file in files if file.name.startswith("instances_")] or files  # not captions, not keypoints
    if not files:
        raise DataError(
            f"data.root={root} holds no annotations: looked for *.json there and in annotations, train, val, test",
            advice="name the file with data.annotations=FILE",
        )
    return files


def _load(file: Path) -> Any:
    try:
        return read_json(file)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except Unreadable as error:
        raise DataError(str(error)) from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}") from None


def _lacking(content: Any) -> list[str]:
    return [part for part in PARTS if not isinstance(content, dict) or not isinstance(content.get(part), list)]


def _refuse_others(contents: Mapping[Path, Any]) -> None:
    for file, content in contents.items():
        if lacking := _lacking(content):
            raise DataError(
                f"{file} is not COCO's: it has no list {' or '.join(lacking)}",
                advice="data.annotations=FILE names the annotations, where other JSON files lie beside them",
            )


def _folder(root: Path, file: Path, content: Mapping[str, Any], images: Path | None, split: str) -> Path:
    if images is not None:
        return images
    names = [str(image.get("file_name")) for image in content["images"] if isinstance(image, dict)]
    own = [file.parent / "images" / file.stem, root / "images" / file.stem]
    of_split = [root / "images" / split, root / split, root / f"{split}2017"] if split else []
    usual = [file.parent, root, *(root / name for name in FOLDERS), *of_split, *own]
    return first_folder(usual, names) or root


class _Reading:
    """One file, into the annotations that all files share."""

    def __init__(self, found: Annotations, file: Path, content: Mapping[str, Any]) -> None:
        self.found, self.file, self.content = found, file, content
        self.images: dict[Any, int] = {}
        self.labels: dict[Any, str] = {}

    def run(self, folder: Path, split: str, base: Path) -> None:
        """Images lie in `folder` and are called by their paths below `base`: splits may use a name each."""
        for number, category in enumerate(self.content["categories"]):
            self._category(number, category)
        for number, image in enumerate(self.content["images"]):
            self._image(number, image, folder, split, base)
        for number, annotation in enumerate(self.content["annotations"]):
            self._annotation(number, annotation)

    def _category(self, number: int, category: Any) -> None:
        where = f"{self.file.name} categories[{number}]"
        if not isinstance(category, dict) or "id" not in category or not category.get("name"):
            self.found.blame(None, "bad_category", where, "a category needs an id and a name")
        elif category["id"] in self.labels:
            self.found.blame(
                None, "duplicate_id", where, f"the id {category['id']} stands for another category already"
            )
        else:
            self.labels[category["id"]] = name = str(category["name"])
            if name not in self.found.classes:
                self.found.classes.append(name)

    def _image(self, number: int, image: Any, folder: Path, split: str, base: Path) -> None:
        where = f"{self.file.name} images[{number}]"
        if not isinstance(image, dict) or "id" not in image or not image.get("file_name"):
            self.found.blame(None, "bad_image", where, "an image needs an id and a file_name")
            return
        name, key = str(image["file_name"]), image["id"]
        height, width = image.get("height"), image.get("width")
        path = folder / name
        at = self.found.add_image(
            path,
            path.relative_to(base).as_posix() if path.is_relative_to(base) else name,
            f"{where} ({name})",
            size=(int(height), int(width)) if height and width else None,
            image_id=key if isinstance(key, int) else None,
            split=split,
            patient=next((str(image[word]) for word in PATIENT if image.get(word)), ""),
        )
        if (first := self.images.setdefault(key, at)) != at:
            other = self.found.name[first]
            for row in (first, at):
                detail = f"the id {key} stands for {other} and for {name}, so nobody knows whose the boxes are"
                self.found.blame(row, "duplicate_id", self.found.where[row], detail)

    def _annotation(self, number: int, annotation: Any) -> None:
        where = f"{self.file.name} annotations[{number}]"
        if not isinstance(annotation, dict) or "image_id" not in annotation:
            self.found.blame(None, "bad_box", where, "an annotation needs an image_id")
            return
        image = self.images.get(annotation["image_id"])
        if image is None:
            detail = f"image_id {annotation['image_id']} is none of the images"
            self.found.blame(None, "no_image", where, detail)
            return
        where = f"{where} of {self.found.name[image]}"
        label = self.labels.get(annotation.get("category_id"))
        if label is None:
            detail = f"category_id {annotation.get('category_id')} is none of {_shown(self.labels)}"
            self.found.blame(image, "bad_label", where, detail)
            return
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, int | float) for value in box):
            self.found.blame(image, "bad_box", where, f"bbox is {box}, not [x, y, width, height]")
            return
        x, y, width, height = map(float, box)
        area, key = annotation.get("area"), annotation.get("id")
        self.found.add_box(
            image,
            label,
            (x, y, x + width, y + height),
            where,
            crowd=bool(annotation.get("iscrowd")),
            area=float(area) if isinstance(area, int | float) and area > 0 else None,
            box_id=key if isinstance(key, int) else None,
        )


def _shown(labels: Mapping[Any, str]) -> str:
    return ", ".join(f"{key} ({name})" for key, name in list(labels.items())[:10]) or "no categories"


def _renumber(found: Annotations) -> None:
    """Ids that stand for two things, as in the files of two splits, are replaced by positions; box ids are told."""
    if None in found.image_id or len(set(found.image_id)) < len(found.image_id):
        found.image_id = list(range(1, len(found.image_id) + 1))
    twice = len(found.box_id) - len(set(found.box_id))
    if None in found.box_id or twice:
        found.box_id = list(range(1, len(found.box_id) + 1))
        if found.file.is_file() and twice:
            detail = f"{twice} annotations have an id that another one has; they are numbered anew"
            found.warnings.append(Problem("duplicate_id", found.file.name, detail, "warning"))
