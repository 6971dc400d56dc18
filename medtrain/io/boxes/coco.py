"""COCO's JSON: images, annotations with [x, y, width, height] in pixels, categories; one file or one a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError
from medtrain.io.boxes.annotations import Annotations, first_folder, split_of
from medtrain.io.boxes.coco_file import FileReader
from medtrain.io.files import Unreadable, read_json
from medtrain.io.picture_files import PictureFinder

PARTS = ("images", "annotations", "categories")
FOLDERS = ("images", "imgs", "img", "data", "JPEGImages")


def read_coco(root: Path, files: Sequence[Path] = (), images: Path | None = None) -> Annotations:
    """Read the annotations below `root`, or those of `files`.

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
    read = Annotations(root if several else next(iter(theirs)), "xywh")
    for file, content in theirs.items():
        split = (split_of(file.stem) or split_of(file.parent.name)) if several else ""
        pictures = PictureFinder(root, _folder(root, file, content, images, split))
        FileReader(read, file, content).run(pictures, split, root if several else pictures.folder)
    return read


def find_coco(root: Path) -> list[Path]:
    """Find the files below `root` that look like COCO's annotations, sorted."""
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
