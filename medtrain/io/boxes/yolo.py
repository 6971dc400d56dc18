"""YOLO's layout: a data.yaml, and beside each image a text of lines ``class x y width height`` in shares of the image.

A line of a class and three points or more is a polygon; its bounding box counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError, Problem
from medtrain.io.boxes.annotations import SPLIT_WORDS, Annotations
from medtrain.io.files import Unreadable
from medtrain.io.image import SUFFIXES, is_picture
from medtrain.io.yaml_file import read_yaml


def read_yolo(root: Path, file: Path | None = None) -> Annotations:
    """The images that data.yaml names, with the boxes of their label files; an image without one has no boxes.

    Args:
        file: the data.yaml; by default the one of `root`.

    Raises:
        DataError: no such file, no YAML, or it lacks names or images.
    """
    file = file or _find(root)
    content, root = _load(file), root.resolve()
    found = Annotations(file, "share", classes=_names(content, file))
    for word, split in SPLIT_WORDS.items():
        for entry in _entries(content.get(word)):
            for image in _images(file, content.get("path"), entry):
                name = image.relative_to(root).as_posix() if image.is_relative_to(root) else image.as_posix()
                at = found.add_image(image, name, f"{split} {name}", split=split)
                _read_labels(found, at, image)
    _orphans(found)
    if not len(found):
        raise DataError(f"{file} names no images: it needs train, val and test, folders or lists of images")
    return found


def _find(root: Path) -> Path:
    files = [root / name for name in ("data.yaml", "data.yml", "dataset.yaml")]
    found = next((file for file in files if file.is_file()), None)
    others = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    if found is None and len(others) != 1:
        raise DataError(f"data.root={root} holds no data.yaml", advice="name it with data.annotations=FILE")
    return found or others[0]


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


def _entries(value: Any) -> list[str]:
    return [str(entry) for entry in (value if isinstance(value, list) else [value]) if entry]


def _images(file: Path, base: Any, entry: str) -> Iterator[Path]:
    """The images of a folder, or of a list of images."""
    folder = file.parent
    # Roboflow writes '../train/images' beside a data.yaml that stands above train; elsewhere may be another data set.
    bare = Path(*[part for part in Path(entry).parts if part != ".."])
    tried = [folder / str(base) / entry] * bool(base) + [folder / bare, folder / entry]
    place = next((path for path in tried if path.exists()), None)
    if place is None:
        raise DataError(f"{file} names {entry}, which is not there; tried {', '.join(map(str, dict.fromkeys(tried)))}")
    if place.is_dir():
        yield from (path.resolve() for path in sorted(place.rglob("*")) if is_picture(path))
        return
    for line in place.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield (place.parent / line.strip()).resolve()


def _labels_of(image: Path) -> Path:
    """Where labels of an image lie: the last folder called images becomes labels; else beside it."""
    parts = list(image.with_suffix(".txt").parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts)


def _read_labels(found: Annotations, at: int, image: Path) -> None:
    file = _labels_of(image)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        found.blame(at, "unreadable", found.where[at], f"its labels {file.name} cannot be read: {error}")
        return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            _line(found, at, line.split(), f"{file.parent.name}/{file.name} line {number}")


def _line(found: Annotations, at: int, words: list[str], where: str) -> None:
    try:
        label, numbers = int(float(words[0])), [float(word) for word in words[1:]]
    except ValueError:
        found.blame(at, "bad_box", where, f"{' '.join(words)[:60]!r} is not: class x y width height")
        return
    if not 0 <= label < len(found.classes):
        detail = f"class {label} is none of 0 to {len(found.classes) - 1} ({', '.join(found.classes[:10])})"
        found.blame(at, "bad_label", where, detail)
    elif len(numbers) == 4:
        x, y, width, height = numbers
        found.add_box(at, found.classes[label], (x - width / 2, y - height / 2, x + width / 2, y + height / 2), where)
    elif len(numbers) >= 6 and len(numbers) % 2 == 0:
        xs, ys = numbers[::2], numbers[1::2]
        found.add_box(at, found.classes[label], (min(xs), min(ys), max(xs), max(ys)), where)
    else:
        detail = f"{len(numbers)} numbers after the class: a box has 4, a polygon 6 or more in pairs"
        found.blame(at, "bad_box", where, detail)


def _orphans(found: Annotations) -> None:
    """Label files without an image: the image is lost, or was renamed."""
    known = {_labels_of(Path(path)) for path in found.path}
    for folder in dict.fromkeys(file.parent for file in known):
        for file in sorted(folder.glob("*.txt")) if folder.name == "labels" else ():
            if file not in known and file.stat().st_size and file.name != "classes.txt":  # of LabelImg
                where = f"{folder.parent.name}/labels/{file.name}"
                detail = f"no image {file.stem} ({', '.join(SUFFIXES[:3])}, ...) belongs to it"
                found.bad.append((None, Problem("no_image", where, detail)))
