"""YOLO's label files: lines ``class x y width height`` in shares of the image, found from the images' names.

A line of a class and three points or more is a polygon, whose bounding box counts; a pose is a box and points.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from medtrain.core.errors import Problem
from medtrain.io.boxes.annotations import Annotations, BoxRow
from medtrain.io.image_form import SUFFIXES
from medtrain.io.picture_files import files_below

PICTURES = ("images", "imgs", "img", "jpegimages")  # folders beside one called labels
NAMES = ("classes.txt", "predefined_classes.txt")  # of LabelImg and LabelMe, beside the labels
SLACK = 1e-3  # of an image's side, by which a pose's points may leave its box
DETAIL = "a box has 4, a polygon 6 or more in pairs"


@dataclass(frozen=True)
class _Line:
    """A line whose class is known: image, class, numbers after it, and its place."""

    image: int
    label: str
    numbers: tuple[float, ...]
    where: str


class LabelFiles:
    """The label files of images that are added one by one; `finish` reads the lines and tells what is amiss.

    Args:
        read: takes the boxes.
        keypoints: numbers that follow each box, where lines are poses; None where nothing says so.
    """

    def __init__(self, read: Annotations, keypoints: int | None = None) -> None:
        self.read, self.keypoints = read, keypoints
        self.lines: list[_Line] = []
        self.users: dict[Path, list[int]] = defaultdict(list)
        self.missing: Counter[Path] = Counter()
        self.images: Counter[Path] = Counter()
        self.folders: dict[Path, Path] = {}  # where labels are looked for: of which folder of images

    def add(self, image: int) -> None:
        """Read the labels of an image of `read`."""
        path = Path(self.read.path[image])
        self.images[path.parent] += 1
        self._remember_folders(path)
        files = [file for place in label_places(path) for file in _written(place) if file.is_file()]
        beside = {path.parent, path.resolve().parent}  # where other texts may lie, too
        files = [file for file in files if file.parent not in beside or _is_labels(file)] or files[:1]
        if not files:
            self.missing[path.parent] += 1
            return
        if len({file.read_bytes() for file in files}) > 1:
            detail = f"it has several label files that differ: {', '.join(map(str, files))}; leave one"
            self.read.blame(image, "several_labels", self.read.where[image], detail)
        for file in files:
            self.users[file].append(image)
        self._read(image, files[0])

    def _remember_folders(self, path: Path) -> None:
        """Remember where labels lie; a linked folder has all of its labels, single linked images only their own."""
        linked = path.parent.resolve()
        for folder in (path.parent, linked) if path.resolve().parent == linked else (path.parent,):
            self.folders.update({place.parent: folder for place in _places(folder / path.name)})

    def _read(self, image: int, file: Path) -> None:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            detail = f"its labels {file.name} cannot be read: {error}"
            self.read.blame(image, "unreadable", self.read.where[image], detail)
            return
        for number, line in enumerate(lines, start=1):
            if line.strip():
                self._line(image, line.split(), f"{file.parent.name}/{file.name} line {number}")

    def _line(self, image: int, words: list[str], where: str) -> None:
        classes = self.read.classes
        try:
            label, *numbers = (float(word) for word in words)
        except ValueError:
            detail = f"{' '.join(words)[:60]!r} is not: class x y width height"
            self.read.blame(image, "bad_box", where, detail)
            return
        if not label.is_integer() or not 0 <= label < len(classes):
            detail = f"class {words[0]} is none of 0 to {len(classes) - 1} ({', '.join(classes[:10])})"
            self.read.blame(image, "bad_label", where, detail)
            return
        self.lines.append(_Line(image, classes[int(label)], tuple(numbers), where))

    def finish(self) -> None:
        """Add the boxes of all lines; tell of images without labels, of shared label files and of leftovers."""
        poses = self.keypoints is None and _look_like_poses([line.numbers for line in self.lines])
        if poses:
            detail = (
                "the lines look like poses, a box and points within it, and are read so: "
                "kpt_shape: [points, 2 or 3] in data.yaml says it; polygons need no such line"
            )
            self.read.warnings.append(Problem("pose_lines", self.read.file.name, detail, "warning"))
        for line in self.lines:
            self._box(line, poses)
        self._tell_missing()
        self._blame_shared()
        self._blame_leftovers()

    def _box(self, line: _Line, poses: bool) -> None:
        numbers = line.numbers
        if self.keypoints is not None and len(numbers) not in (4, 4 + self.keypoints):
            detail = f"{len(numbers)} numbers after the class: kpt_shape wants 4 and {self.keypoints}"
            self.read.blame(line.image, "bad_box", line.where, detail)
        elif len(numbers) == 4 or poses or self.keypoints is not None:
            x, y, width, height = numbers[:4]
            corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            self.read.add_box(BoxRow(line.image, line.label, corners, line.where))
        elif len(numbers) >= 6 and len(numbers) % 2 == 0:
            xs, ys = numbers[::2], numbers[1::2]
            self.read.add_box(
                BoxRow(line.image, line.label, (min(xs), min(ys), max(xs), max(ys)), line.where, outline=True)
            )
        else:
            detail = f"{len(numbers)} numbers after the class: {DETAIL}"
            self.read.blame(line.image, "bad_box", line.where, detail)

    def _tell_missing(self) -> None:
        for folder, number in self.missing.items():
            detail = (
                f"{number:,} of {self.images[folder]:,} images have no label file, so they count as showing nothing; "
                f"looked in {', '.join(str(place.parent) for place in label_places(folder / 'x.png'))}"
            )
            self.read.warnings.append(Problem("no_labels", str(folder), detail, "warning"))

    def _blame_shared(self) -> None:
        for file, images in self.users.items():
            names = sorted({self.read.path[image] for image in images})
            if len(names) > 1:
                detail = f"its labels {file} are also those of {{}}: give each image its own name, or leave one"
                for image in images:
                    others = ", ".join(Path(name).name for name in names if name != self.read.path[image])
                    self.read.blame(image, "shared_labels", self.read.where[image], detail.format(others))

    def _blame_leftovers(self) -> None:
        """Blame label files without an image, which is lost or was renamed; tell of images that are not named."""
        empty, unnamed = Counter[Path](), Counter[Path]()
        files = {file: folder for folder in self.folders if folder.is_dir() for file in files_below(folder)}
        known = {path.resolve() for path in self.users}
        for file, folder in files.items():
            if file.suffix.lower() != ".txt" or file.resolve() in known or file.name.lower() in NAMES:
                continue
            stem = self.folders[folder] / file.relative_to(folder).with_suffix("")
            if any(stem.with_name(stem.name + suffix).is_file() for suffix in SUFFIXES):
                unnamed[folder] += 1
            elif not _is_labels(file):
                empty[folder] += not file.stat().st_size
            else:
                where = "/".join((file.parent.parent.name, file.parent.name, file.name))
                detail = f"no image {file.stem} ({', '.join(SUFFIXES[:3])}, ...) belongs to it"
                self.read.blame(None, "no_image", where, detail)
        for counter, detail in ((empty, "empty label files belong to no image"), (unnamed, "label files are of images "
                                "that data.yaml does not name: left out")):  # fmt: skip
            self.read.warnings += [
                Problem("no_image", str(folder), f"{number:,} {detail}", "warning")
                for folder, number in counter.items()
                if number
            ]


def label_places(image: Path) -> list[Path]:
    """List where the labels of an image may lie, the likeliest first: before links are followed, and after."""
    return list(dict.fromkeys((*_places(image), *_places(image.resolve()))))


def _places(image: Path) -> list[Path]:
    """List both places: the last folder called images becomes labels; or beside the image."""
    beside = image.with_suffix(".txt")
    parts = list(beside.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i].lower() in PICTURES:
            base = Path(*parts[:i])
            return [Path(base, _labels_in(base), *parts[i + 1 :]), beside]
    return [beside]


@cache
def _labels_in(base: Path) -> str:
    """Name the folder of labels in `base`: labels, or as it is written there (Labels)."""
    if not (base / "labels").is_dir() and base.is_dir():
        return next((entry.name for entry in sorted(base.iterdir()) if entry.name.lower() == "labels"), "labels")
    return "labels"


def _written(place: Path) -> list[Path]:
    """List how a label file may be written: .txt, else .TXT."""
    return [place] if place.is_file() else [place.with_suffix(".TXT")]


def _is_labels(file: Path) -> bool:
    """Tell whether a text holds labels: its first line is numbers, 5 at least."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
        words = next((line.split() for line in lines if line.strip()), [])
        return len(words) >= 5 and all(math.isfinite(float(word)) for word in words)
    except (OSError, ValueError):
        return False


def _look_like_poses(rows: Sequence[tuple[float, ...]]) -> bool:
    """Tell whether the lines longer than a box are boxes followed by points: as many in each, all within the box.

    Points are pairs, or pairs with 0, 1 or 2 for how visible they are; 0, 0 stands for a point that nobody sees.
    """
    longer = [row for row in rows if len(row) > 4]
    if not longer or len({len(row) for row in longer}) > 1:
        return False
    return any(all(_within(row, step) for row in longer) for step in (3, 2) if (len(longer[0]) - 4) % step == 0)


def _within(row: Sequence[float], step: int) -> bool:
    x, y, width, height = row[:4]
    points = [row[i : i + step] for i in range(4, len(row), step)]
    return all(
        (step == 2 or point[2] in (0, 1, 2))
        and (
            (point[0] == 0 and point[1] == 0)
            or (abs(point[0] - x) <= width / 2 + SLACK and abs(point[1] - y) <= height / 2 + SLACK)
        )
        for point in points
    )
