"""YOLO's layout: a data.yaml that names images by split; their label files are read by `yolo_labels`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError, Problem
from medtrain.io.boxes.annotations import SPLIT_WORDS, Annotations, ImageRow
from medtrain.io.boxes.yolo_labels import LabelFiles
from medtrain.io.files import Unreadable
from medtrain.io.picture_files import as_named, pictures_below
from medtrain.io.yaml_file import read_yaml


def read_yolo(root: Path, file: Path | None = None) -> Annotations:
    """Read the images that data.yaml names, with the boxes of their label files; an image without one has no boxes.

    How many those are is told of each folder. Images are called by their paths before links are followed.

    Args:
        file: the data.yaml; by default the one of `root`.

    Raises:
        DataError: no such file, no YAML, or it lacks names or images.
    """
    file = file or _find(root)
    content, root = _load(file), Path(os.path.abspath(root))
    read = Annotations(file, "share", classes=_names(content, file))
    if content.get("nc") not in (None, len(read.classes)):
        detail = f"nc is {content['nc']}, but names has {len(read.classes)} classes, which count"
        read.warnings.append(Problem("class_count", file.name, detail, "warning"))
    labels = LabelFiles(read, _keypoints(content, file))
    for word, split in SPLIT_WORDS.items():
        for entry in _entries(content.get(word)):
            for image in _images(file, content.get("path"), entry):
                name = image.relative_to(root).as_posix() if image.is_relative_to(root) else image.as_posix()
                labels.add(read.add_image(ImageRow(image, name, f"{split} {name}", split=split)))
    if not len(read):
        raise DataError(f"{file} names no images: it needs train, val and test, folders or lists of images")
    labels.finish()
    _tell_unnamed(read, root)
    return read


def _tell_unnamed(read: Annotations, root: Path) -> None:
    """Tell of images in folders called as splits are that data.yaml does not name."""
    known = {os.path.realpath(path) for path in read.path}
    for word, split in SPLIT_WORDS.items():
        for folder in (root / word / "images", root / "images" / word):
            files = list(pictures_below(folder)) if folder.is_dir() else []
            if number := sum(os.path.realpath(file) not in known for file in files):
                place = folder.relative_to(root).as_posix()
                detail = f"{number:,} images that {read.file.name} does not name: left out; "
                detail += f"'{split}: {place}' in it reads them"
                read.warnings.append(Problem("no_split", str(folder), detail, "warning"))


def _find(root: Path) -> Path:
    files = [root / name for name in ("data.yaml", "data.yml", "dataset.yaml")]
    usual = next((file for file in files if file.is_file()), None)
    others = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    if usual is None and len(others) != 1:
        raise DataError(f"data.root={root} holds no data.yaml", advice="name it with data.annotations=FILE")
    return usual or others[0]


def _load(file: Path) -> dict[str, Any]:
    try:
        content = read_yaml(file)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except Unreadable as error:
        raise DataError(str(error)) from None
    if not isinstance(content, dict) or not content.get("names"):
        raise DataError(f"{file} has no names: the classes, as a list or as {{0: name}}")
    return content


def _names(content: dict[str, Any], file: Path) -> list[str]:
    names = content["names"]
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(f"{file}: names have the numbers {sorted(names)}, not 0 to {len(names) - 1}")
        names = [names[number] for number in range(len(names))]
    return [str(name) for name in names]


def _keypoints(content: dict[str, Any], file: Path) -> int | None:
    """Count the numbers that follow a box where kpt_shape says that lines are poses: [points, 2 or 3 of each]."""
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    if not (isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and n > 0 for n in shape)):
        raise DataError(f"{file}: kpt_shape is {shape}, not [number of points, 2 or 3]")
    return int(shape[0] * shape[1])


def _entries(value: Any) -> list[str]:
    return [str(entry) for entry in (value if isinstance(value, list) else [value]) if entry]


def _images(file: Path, base: Any, entry: str) -> Iterator[Path]:
    """Yield the images of a folder, or of a list of images, absolute and as they are named."""
    folder = file.parent
    entry = entry.replace("\\", "/")
    # Roboflow writes '../train/images' beside a data.yaml that stands above train; elsewhere may be another data set.
    bare = Path(*[part for part in Path(entry).parts if part != ".."])
    tried = [folder / str(base) / entry] * bool(base) + [folder / bare, folder / entry]
    place = next((path for path in tried if path.exists()), None)
    if place is None:
        raise DataError(f"{file} names {entry}, which is not there; tried {', '.join(map(str, dict.fromkeys(tried)))}")
    if place.is_dir():
        yield from pictures_below(_tidy(place))
        return
    for line in place.read_text(encoding="utf-8-sig").splitlines():
        if line.strip():
            yield _tidy(as_named(place.parent, line.strip()))


def _tidy(path: Path) -> Path:
    """Make a path absolute without '..', unless a link before a '..' leads elsewhere; links stay."""
    tidy = Path(os.path.abspath(path))
    return tidy if not path.exists() or (tidy.exists() and tidy.samefile(path)) else path.absolute()
